"""The conformance suite for notifiers.

No guarantee depends on a notifier alone, since readers poll without wake-ups (G6); it makes them
fast. The cases check, in this order, that wake-ups arrive, with the chunks they carry or without,
that a change of health is followed by a resync, and that listeners and notifiers end cleanly.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest
import pytest_asyncio

from monostream_ai.errors import MonostreamError
from monostream_ai.interfaces import Notifier
from monostream_ai.testing.store_cases.acts import STREAM_IDS
from monostream_ai.types import MAX_VERSION, WakeUp

PATIENCE = 10.0
"""Seconds after which an expected wake-up counts as lost."""

CARRIED = {
    "plain": '{"type":"text-delta","id":"t","delta":"hello"}',
    "numbers-and-dots": "0.1.2.17:" * 20,
    "quotes": "\"'\\\n\t%s:x;--",
    "outside-the-first-plane": "\U0001f600\u2028é" * 50,
    "one": "?",
}
"""Texts that a wake-up may carry, by the names of their cases."""


class RecordingListener:
    """Records the calls of a notifier, and lets a test wait for them."""

    def __init__(self, notifier: Notifier) -> None:
        self.wake_ups: list[WakeUp] = []
        self.resyncs = 0
        self.errors: list[tuple[str, BaseException]] = []
        self.stop: Callable[[], Awaitable[None]]
        self._notifier = notifier
        self._news = asyncio.Event()

    def __repr__(self) -> str:
        return (
            f"<RecordingListener {len(self.wake_ups)} wake-ups, {self.resyncs} resyncs, "
            f"{len(self.errors)} errors>"
        )

    def on_wake_up(self, wake_up: WakeUp) -> None:
        self.wake_ups.append(wake_up)
        self._news.set()

    def on_resync(self) -> None:
        self.resyncs += 1
        self._news.set()

    def on_error(self, source: str, error: BaseException) -> None:
        self.errors.append((source, error))
        self._news.set()

    async def start(self) -> RecordingListener:
        self.stop = await self._notifier.listen(self, self.on_error)
        return self

    async def until(self, condition: Callable[[], bool]) -> None:
        """Wait until the condition holds; it is checked again after each call of the notifier.

        Raises:
            TimeoutError: The condition did not hold within 10 seconds.
        """
        async with asyncio.timeout(PATIENCE):
            while not condition():
                # No call can come between the check and this line, since neither awaits.
                self._news.clear()
                await self._news.wait()

    def newest(self, stream_id: str) -> WakeUp | None:
        return max(
            (wake_up for wake_up in self.wake_ups if wake_up.stream_id == stream_id), default=None
        )

    def carried(self, wake_up: WakeUp) -> list[str]:
        """Return the texts that came with this wake-up, once for each time that it came."""
        return [each.carried for each in self.wake_ups if each[:3] == wake_up[:3]]


class NotifierConformance:
    """Checks every promise of `Notifier`, for a subclass with fixtures `notifier` and `peer`.

        class TestMyNotifier(NotifierConformance):
            @pytest_asyncio.fixture
            async def notifier(self, broker):
                notifier = MyNotifier(broker)
                yield notifier
                await notifier.aclose()

    `peer` is a second notifier on the same channel, as another process would have one. Both must be
    new. For a notifier that watches for commits instead of carrying wake-ups, set
    `carries_wake_ups = False` and override `commit_something`.
    """

    pytestmark = pytest.mark.asyncio

    carries_wake_ups = True
    """Whether wake-ups arrive as sent. If not, `on_resync` must follow each commit of the peer."""

    becomes_healthy = True
    """Whether `healthy` becomes True once the notifier listens."""

    @pytest.fixture
    def notifier(self) -> Notifier:
        raise pytest.UsageError(f"{type(self).__name__} needs the fixtures 'notifier' and 'peer'")

    @pytest.fixture
    def peer(self) -> Notifier:
        raise pytest.UsageError(f"{type(self).__name__} needs the fixtures 'notifier' and 'peer'")

    async def commit_something(self) -> None:
        """Commit to the storage that both notifiers watch; does nothing by default."""

    @pytest_asyncio.fixture(autouse=True)
    async def _listeners_leave(self, notifier: Notifier, peer: Notifier) -> AsyncIterator[None]:
        self._listeners: list[RecordingListener] = []
        yield
        for listener in self._listeners:
            await listener.stop()

    async def listening(self, notifier: Notifier) -> RecordingListener:
        """Listen to a notifier, wait until it is healthy, and stop listening after the test."""
        listener = await RecordingListener(notifier).start()
        self._listeners.append(listener)
        if self.becomes_healthy:
            await listener.until(lambda: notifier.healthy)
        return listener

    async def send(self, sender: Notifier, *wake_ups: WakeUp) -> None:
        await self.commit_something()
        await sender.notify(wake_ups)

    async def heard(self, listener: RecordingListener, wake_up: WakeUp, resyncs: int) -> None:
        """Wait for this wake-up or a newer one of its stream, or else for one more resync."""
        if self.carries_wake_ups:
            await listener.until(
                lambda: (
                    (listener.newest(wake_up.stream_id) or wake_up._replace(version=-1))[:3]
                    >= wake_up[:3]
                )
            )
        else:
            await listener.until(lambda: listener.resyncs > resyncs)

    async def test_a_wake_up_reaches_the_other_process(
        self, notifier: Notifier, peer: Notifier
    ) -> None:
        listener = await self.listening(notifier)
        before = listener.resyncs
        await self.send(peer, WakeUp("s", 3, 17))
        await self.heard(listener, WakeUp("s", 3, 17), before)

    async def test_wake_ups_go_both_ways(self, notifier: Notifier, peer: Notifier) -> None:
        here, there = await self.listening(notifier), await self.listening(peer)
        before = here.resyncs, there.resyncs
        await self.send(peer, WakeUp("to here", 0, 0))
        await self.heard(here, WakeUp("to here", 0, 0), before[0])
        await self.send(notifier, WakeUp("to there", 0, 0))
        await self.heard(there, WakeUp("to there", 0, 0), before[1])

    async def test_two_listeners_of_one_process_both_hear(
        self, notifier: Notifier, peer: Notifier
    ) -> None:
        first, second = await self.listening(notifier), await self.listening(peer)
        before = first.resyncs, second.resyncs
        await self.send(peer, WakeUp("s", 0, 1))
        await self.heard(first, WakeUp("s", 0, 1), before[0])
        await self.send(notifier, WakeUp("s", 0, 2))
        await self.heard(second, WakeUp("s", 0, 2), before[1])

    @pytest.mark.parametrize("stream_id", list(STREAM_IDS.values()), ids=list(STREAM_IDS))
    async def test_any_stream_id_travels(
        self, notifier: Notifier, peer: Notifier, stream_id: str
    ) -> None:
        listener = await self.listening(notifier)
        before = listener.resyncs
        wake_up = WakeUp(stream_id, MAX_VERSION, MAX_VERSION)
        await self.send(peer, wake_up)
        await self.heard(listener, wake_up, before)

    async def test_a_version_that_holds_nothing_yet_is_announced(
        self, notifier: Notifier, peer: Notifier
    ) -> None:
        listener = await self.listening(notifier)
        before = listener.resyncs
        await self.send(peer, WakeUp("s", 0, -1))
        await self.heard(listener, WakeUp("s", 0, -1), before)

    async def test_many_wake_ups_for_many_streams_travel_at_once(
        self, notifier: Notifier, peer: Notifier
    ) -> None:
        listener = await self.listening(notifier)
        before = listener.resyncs
        wake_ups = [WakeUp(f"s{number}", 1, number) for number in range(300)]
        await self.send(peer, *wake_ups)
        for wake_up in wake_ups:
            await self.heard(listener, wake_up, before)

    async def test_of_many_wake_ups_for_a_stream_the_newest_arrives(
        self, notifier: Notifier, peer: Notifier
    ) -> None:
        listener = await self.listening(notifier)
        before = listener.resyncs
        for number in range(50):
            await self.send(peer, WakeUp("s", 0, number))
        await self.heard(listener, WakeUp("s", 0, 49), before)

    @pytest.mark.parametrize("carried", list(CARRIED.values()), ids=list(CARRIED))
    async def test_carried_chunks_arrive_as_they_were_sent_or_not_at_all(
        self, notifier: Notifier, peer: Notifier, carried: str
    ) -> None:
        listener, _ = await self.listening(notifier), await self.listening(peer)
        before = listener.resyncs
        wake_up = WakeUp("s", 3, 17, carried)
        await self.send(peer, wake_up)
        await self.heard(listener, wake_up, before)
        fits = self.carries_wake_ups and peer.most_carried >= len(carried.encode())
        assert set(listener.carried(wake_up)) <= ({carried} if fits else {carried, ""})

    async def test_a_wake_up_arrives_whatever_it_carries(
        self, notifier: Notifier, peer: Notifier
    ) -> None:
        listener, _ = await self.listening(notifier), await self.listening(peer)
        before = listener.resyncs
        for number, size in enumerate((peer.most_carried, peer.most_carried + 1, 1_000_000)):
            wake_up = WakeUp("s", 0, number, "x" * size)
            await self.send(peer, wake_up)
            await self.heard(listener, wake_up, before)
            assert set(listener.carried(wake_up)) <= {"x" * size, ""}

    async def test_chunks_of_many_streams_travel_at_once(
        self, notifier: Notifier, peer: Notifier
    ) -> None:
        listener, _ = await self.listening(notifier), await self.listening(peer)
        before = listener.resyncs
        wake_ups = [WakeUp(f"s{number}", 1, number, f"{number}é" * 300) for number in range(40)]
        # Some carry nothing, and must not be given what their neighbours carry.
        wake_ups[::3] = [wake_up._replace(carried="") for wake_up in wake_ups[::3]]
        await self.send(peer, *wake_ups)
        for wake_up in wake_ups:
            await self.heard(listener, wake_up, before)
            assert set(listener.carried(wake_up)) <= {wake_up.carried, ""}

    async def test_a_notifier_knows_who_hears_it_or_says_no(
        self, notifier: Notifier, peer: Notifier
    ) -> None:
        await self.listening(notifier)
        assert await notifier.is_confidential() in (True, False)
        assert peer.most_carried >= 0

    async def test_nothing_to_notify_is_fine(self, notifier: Notifier, peer: Notifier) -> None:
        listener = await self.listening(notifier)
        await notifier.notify([])
        assert listener.wake_ups == []

    async def test_a_process_that_only_notifies_needs_no_listener(
        self, notifier: Notifier, peer: Notifier
    ) -> None:
        await peer.notify([WakeUp("s", 0, 0)])

    async def test_health_that_changes_is_followed_by_a_resync(
        self, notifier: Notifier, peer: Notifier
    ) -> None:
        healthy_before = notifier.healthy
        listener = await self.listening(notifier)
        if notifier.healthy and not healthy_before:
            await listener.until(lambda: listener.resyncs > 0)

    async def test_a_listener_that_left_hears_nothing_and_the_others_do(
        self, notifier: Notifier, peer: Notifier
    ) -> None:
        leaver, stayer = await self.listening(notifier), await self.listening(notifier)
        await leaver.stop()
        await leaver.stop()
        wake_ups, resyncs, before = len(leaver.wake_ups), leaver.resyncs, stayer.resyncs
        await self.send(peer, WakeUp("s", 0, 0))
        await self.heard(stayer, WakeUp("s", 0, 0), before)
        assert (len(leaver.wake_ups), leaver.resyncs) == (wake_ups, resyncs)

    async def test_closing_twice_is_safe(self, notifier: Notifier, peer: Notifier) -> None:
        await (await self.listening(notifier)).stop()
        await notifier.aclose()
        await notifier.aclose()

    async def test_closing_an_unused_notifier_is_safe(
        self, notifier: Notifier, peer: Notifier
    ) -> None:
        await notifier.aclose()

    async def test_leaving_before_the_connection_is_there_is_safe(
        self, notifier: Notifier, peer: Notifier
    ) -> None:
        for turns in range(8):
            listener = await RecordingListener(notifier).start()
            for _ in range(turns):
                await asyncio.sleep(0)
            await listener.stop()
        resyncs = listener.resyncs
        witness = await self.listening(peer)
        before = witness.resyncs
        await self.send(peer, WakeUp("s", 0, 0))
        await self.heard(witness, WakeUp("s", 0, 0), before)
        assert (listener.wake_ups, listener.resyncs) == ([], resyncs)

    async def test_notifying_after_close_is_harmless_or_a_named_error(
        self, notifier: Notifier, peer: Notifier
    ) -> None:
        await (await self.listening(notifier)).stop()
        await notifier.aclose()
        try:
            await notifier.notify([WakeUp("s", 0, 0)])
        except MonostreamError:
            pass

    async def test_a_closed_notifier_leaves_no_task(
        self, notifier: Notifier, peer: Notifier
    ) -> None:
        before = asyncio.all_tasks()
        listener = await self.listening(notifier)
        await notifier.notify([WakeUp("s", 0, 0)])
        await listener.stop()
        await notifier.aclose()
        left = {task for task in asyncio.all_tasks() - before if not task.done()}
        if left:
            _, left = await asyncio.wait(left, timeout=PATIENCE)
        assert left == set()
