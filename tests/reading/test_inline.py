"""Chunks that wake-ups carry: which of them a reader takes, and for which it reads the store."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager

import pytest

from fuzz.virtual_time import VirtualTimeLoop
from monostream_ai import DurableStreamService, create_service
from monostream_ai._inline import ASK_EVERY, Carriage, Inline, Parcel, opened
from monostream_ai.errors import InvalidWord, PublisherLost
from monostream_ai.interfaces import Notifier
from monostream_ai.notifiers.forwarding import ForwardingNotifier
from monostream_ai.notifiers.memory import MemoryNotifier
from monostream_ai.stores.memory import MemoryStore
from monostream_ai.types import Append, Lease, WakeUp
from tests.chunks import FINISH, PROTOCOL, Chunk, text, texts
from tests.hooked_store import Gate, HookedStore

Service = DurableStreamService[Chunk]
Change = Callable[[WakeUp], Sequence[WakeUp]]

PATIENCE = 5.0
COUNT = 20


class Changing(ForwardingNotifier):
    """Delivers other wake-ups instead of those that are sent, and claims to be healthy."""

    def __init__(self, inner: Notifier, change: Change) -> None:
        super().__init__(inner)
        self.change = change
        self.carried = 0
        """Wake-ups that were sent with chunks."""

    async def notify(self, wake_ups: Sequence[WakeUp]) -> None:
        self.carried += sum(bool(wake_up.carried) for wake_up in wake_ups)
        await super().notify([each for wake_up in wake_ups for each in self.change(wake_up)])


class Unknown(ForwardingNotifier):
    """Does not know who hears it."""

    async def is_confidential(self) -> bool:
        return False


def unchanged(wake_up: WakeUp) -> Sequence[WakeUp]:
    return [wake_up]


class Pair:
    """A service that writes, and one of another process that reads."""

    def __init__(self, change: Change, inline: Inline) -> None:
        memory, notifier = MemoryStore(), MemoryNotifier()
        self.store = HookedStore(memory)
        self.notifier = Changing(notifier, change)
        self.writer: Service = DurableStreamService(
            memory, self.notifier, PROTOCOL, inline="always"
        )
        self.reader: Service = DurableStreamService(
            self.store, Unknown(notifier), PROTOCOL, poll_interval=600.0, lease=600.0, inline=inline
        )


@asynccontextmanager
async def pair(change: Change = unchanged, *, inline: Inline = "always") -> AsyncIterator[Pair]:
    services = Pair(change, inline)
    async with services.writer, services.reader:
        # Both listen from here on.
        await services.reader.ready()
        await services.writer.ready()
        yield services


async def read_along(services: Pair) -> int:
    """Write chunks one by one, each once the reader has the one before; check them, and return how
    many reads there were between the first and the last.
    """
    subscription = services.reader.subscribe("s", timeout=PATIENCE)
    async with services.writer.publisher("s") as pub:
        await pub.write(text(0))
        assert await anext(subscription) == text(0)
        reads = services.store.calls["read"]
        for number in range(1, COUNT):
            await pub.write(text(number))
            assert await anext(subscription) == text(number)
        reads = services.store.calls["read"] - reads
    assert [chunk async for chunk in subscription] == [FINISH]
    return reads


async def test_chunks_that_continue_those_of_the_reader_need_no_read() -> None:
    async with pair() as services:
        assert await read_along(services) == 0


async def test_doubled_wake_ups_need_no_read_either() -> None:
    async with pair(lambda wake_up: [wake_up, wake_up]) as services:
        assert await read_along(services) == 0


@pytest.mark.parametrize("inline", ["never", "auto"])
async def test_a_reader_that_takes_no_chunks_reads_them(inline: Inline) -> None:
    async with pair(inline=inline) as services:
        assert await read_along(services) >= COUNT - 1


def tampered(wake_up: WakeUp) -> Sequence[WakeUp]:
    return [wake_up._replace(carried=wake_up.carried.replace("text", "tixt"))]


def packed(lease: Lease, first: int, *payloads: str) -> str:
    parcel = Parcel(lease, first)
    assert parcel.add(Append(lease, first, payloads, closes=False), 9999)
    return parcel.sealed()


def sealed_by_another(wake_up: WakeUp) -> Sequence[WakeUp]:
    lease = Lease("s", wake_up.version, "0" * 32)
    return [wake_up._replace(carried=packed(lease, wake_up.id, '{"type":"text","n":-1}'))]


def of_another_stream(wake_up: WakeUp) -> Sequence[WakeUp]:
    return [wake_up, wake_up._replace(stream_id="other")]


def shortened(wake_up: WakeUp) -> Sequence[WakeUp]:
    return [wake_up._replace(carried=wake_up.carried[:-1])]


def garbage(wake_up: WakeUp) -> Sequence[WakeUp]:
    return [wake_up._replace(carried=carried) for carried in ("x", "é" * 40, "0" * 32, "\ud800")]


class OfTheOneBefore:
    """Tells of each commit with the chunks of the one before it."""

    carried = ""

    def __call__(self, wake_up: WakeUp) -> Sequence[WakeUp]:
        older, self.carried = self.carried, wake_up.carried
        return [wake_up._replace(carried=older)]


@pytest.mark.parametrize(
    "change", [tampered, sealed_by_another, shortened, garbage, OfTheOneBefore()]
)
async def test_chunks_that_are_not_what_they_seem_are_read(change: Change) -> None:
    async with pair(change) as services:
        assert await read_along(services) >= COUNT - 1
        assert services.notifier.carried >= COUNT - 1


async def test_chunks_sealed_for_one_stream_count_for_no_other() -> None:
    async with pair(of_another_stream) as services:
        other = services.reader.subscribe("other", timeout=PATIENCE)
        async with services.writer.publisher("other") as pub:
            await pub.write(text(100))
            assert await anext(other) == text(100)
            await read_along(services)
            await pub.write(text(101))
            assert await anext(other) == text(101)


async def test_chunks_behind_a_lost_wake_up_are_read() -> None:
    lost = [5, 6, 11]
    async with pair(lambda wake_up: [] if wake_up.id in lost else [wake_up]) as services:
        subscription = services.reader.subscribe("s", timeout=PATIENCE)
        async with services.writer.publisher("s") as pub:
            await pub.write(text(0))
            assert await anext(subscription) == text(0)
            unread = []
            for number in range(1, COUNT):
                await pub.write(text(number))
                unread.append(text(number))
                if number not in lost:
                    assert [await anext(subscription) for _ in unread] == unread
                    unread.clear()


async def test_a_read_that_began_before_the_chunks_came_is_no_contradiction() -> None:
    async with pair() as services:
        subscription = services.reader.subscribe("s", timeout=PATIENCE)
        async with services.writer.publisher("s") as pub:
            await pub.write(text(0))
            assert await anext(subscription) == text(0)
            gate = services.store.after["read"] = Gate()
            await services.notifier.inner.notify([WakeUp("s", 0, 99)])
            await gate.reached.wait()
            await pub.write(*texts(3, 1))
            assert [await anext(subscription) for _ in range(3)] == texts(3, 1)
            gate.open()
            await pub.write(text(4))
            assert await anext(subscription) == text(4)
        assert [chunk async for chunk in subscription] == [FINISH]


async def test_the_end_is_read_from_the_store() -> None:
    async with pair() as services:
        subscription = services.reader.subscribe("s", timeout=PATIENCE)
        async with services.writer.publisher("s") as pub:
            await pub.write(text(0))
            assert await anext(subscription) == text(0)
            await pub.write(text(1))
            assert await anext(subscription) == text(1)
            reads = services.store.calls["read"]
        assert [chunk async for chunk in subscription] == [FINISH]
        assert services.store.calls["read"] > reads


async def test_chunks_of_a_successor_are_taken_once_a_read_has_shown_it() -> None:
    async with pair() as services:
        subscription = services.reader.subscribe("s", timeout=PATIENCE)
        pub = await services.writer.publisher("s").open()
        await pub.write(text(0))
        assert await anext(subscription) == text(0)
        await pub.release()
        with pytest.raises(PublisherLost):
            await anext(subscription)
        subscription = services.reader.subscribe("s", after=subscription.cursor, timeout=PATIENCE)
        async with services.writer.successor("s", 0) as successor:
            await successor.write(text(1))
            assert await anext(subscription) == text(1)
            reads = services.store.calls["read"]
            for number in range(2, COUNT):
                await successor.write(text(number))
                assert await anext(subscription) == text(number)
            assert services.store.calls["read"] == reads


async def test_chunks_of_a_deleted_stream_do_not_go_on_in_the_next_of_its_name() -> None:
    kept: list[WakeUp] = []

    def keep(wake_up: WakeUp) -> Sequence[WakeUp]:
        kept.append(wake_up)
        return [wake_up]

    async with pair(keep) as services:
        async with services.writer.publisher("s") as pub:
            await pub.write(text(0))
            await pub.write(text(1))
        await services.writer.delete("s")
        subscription = services.reader.subscribe("s", timeout=PATIENCE)
        async with services.writer.publisher("s") as pub:
            await pub.write(text(100))
            assert await anext(subscription) == text(100)
            # Of the deleted stream, also under the number of the version that followed it.
            for wake_up in [*kept]:
                await services.notifier.inner.notify([wake_up, wake_up._replace(version=1)])
            await pub.write(text(101))
            assert await anext(subscription) == text(101)


async def test_chunks_come_past_a_store_that_does_not_answer() -> None:
    async with pair() as services:
        subscription = services.reader.subscribe("s", timeout=PATIENCE)
        async with services.writer.publisher("s") as pub:
            await pub.write(text(0))
            assert await anext(subscription) == text(0)
            gate = services.store.before["read"] = Gate()
            await pub.write(text(1))
            assert await anext(subscription) == text(1)
            gate.open()


async def test_a_big_commit_is_announced_without_its_chunks() -> None:
    big = {"type": "text", "n": "x" * 70_000}
    async with pair() as services:
        subscription = services.reader.subscribe("s", timeout=PATIENCE)
        async with services.writer.publisher("s") as pub:
            await pub.write(text(0))
            assert await anext(subscription) == text(0)
            sent = services.notifier.carried
            await pub.write(big)
            assert await anext(subscription) == big
            assert services.notifier.carried == sent


def test_the_notifier_is_asked_each_minute_and_no_answer_means_no_chunks() -> None:
    answers: list[bool | Exception] = [False, True, OSError("no answer"), True]
    asked: list[float] = []

    class Answering(ForwardingNotifier):
        async def is_confidential(self) -> bool:
            asked.append(asyncio.get_running_loop().time())
            answer = answers[min(len(asked), len(answers)) - 1]
            if isinstance(answer, Exception):
                raise answer
            return answer

        @property
        def most_carried(self) -> int:
            return 1000

    async def watch() -> None:
        notifier = Answering(MemoryNotifier())
        errors: list[str] = []
        carriage = Carriage(notifier, "auto", lambda source, error: errors.append(source))
        assert carriage.room() == 0
        await carriage.start()
        for number, room in enumerate([0, 1000, 0, 1000], start=1):
            while len(asked) < number:
                await asyncio.sleep(1.0)
            await asyncio.sleep(1.0)
            assert carriage.room() == room
        assert errors == ["inline"]
        await carriage.aclose()
        assert carriage.room() == 0

    VirtualTimeLoop().run_until_complete(watch())
    pauses = [after - before for before, after in itertools.pairwise(asked)]
    assert all(0.9 * ASK_EVERY <= pause <= 1.1 * ASK_EVERY + 1.0 for pause in pauses)


@pytest.mark.parametrize("inline", ["", "yes", None, True])
def test_another_word_is_refused(inline: Inline) -> None:
    with pytest.raises(InvalidWord, match="inline"):
        create_service("memory://", inline=inline)


def test_a_wake_up_shows_no_chunk() -> None:
    wake_up = WakeUp("s", 0, 0, packed(Lease("s", 0, "token"), 0, '"secret"'))
    assert opened(wake_up, "token") == (0, ['"secret"'])
    assert "secret" not in repr(wake_up)
    assert "token" not in wake_up.carried
