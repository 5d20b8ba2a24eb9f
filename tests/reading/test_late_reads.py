"""Reads that are late, that contradict delivered chunks, or that no wake-up asked for."""

from __future__ import annotations

import asyncio
import copy
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from typing import Any

import pytest

from monostream_ai import DurableStreamService
from monostream_ai._reading import tail
from monostream_ai.errors import ChunksMissing, StreamStopped
from monostream_ai.interfaces import BackgroundErrors, Listener, Store
from monostream_ai.notifiers.forwarding import ForwardingNotifier
from monostream_ai.notifiers.memory import MemoryNotifier
from monostream_ai.stores.forwarding import ForwardingStore
from monostream_ai.stores.memory import MemoryStore
from monostream_ai.types import Page, Position, WakeUp
from monostream_ai.ui_messages import UIMessageProtocol
from tests.chunks import FINISH, PROTOCOL, Chunk, text, texts
from tests.guarantees.test_g2_order import Deaf
from tests.hooked_store import Gate, HookedStore

Service = DurableStreamService[Chunk]

PATIENCE = 3.0
RARELY = 600.0


def make(store: Store) -> Service:
    """Make a service that trusts a notifier which delivers nothing, so that it polls rarely."""
    return DurableStreamService(store, Deaf(MemoryNotifier()), PROTOCOL, poll_interval=RARELY)


async def test_a_read_that_overlaps_a_local_commit_adds_only_what_is_new() -> None:
    store = HookedStore(MemoryStore())
    service = make(store)
    pub = await service.publisher("s").open()
    await pub.write(text(0))
    first = service.subscribe("s", timeout=PATIENCE)
    assert await anext(first) == text(0)
    # The read that a second reader asks for starts behind chunk 0 and sees what landed meanwhile.
    store.before["read"] = read = Gate()
    second = asyncio.ensure_future(anext(service.subscribe("s", timeout=PATIENCE)))
    await read.reached.wait()
    await pub.write(text(1))
    store.after["append"] = answer = Gate()
    writing = asyncio.create_task(pub.write(text(2)))
    await answer.reached.wait()
    del store.before["read"], store.after["append"]
    read.open()
    assert [await anext(first), await anext(first)] == texts(2, start=1)
    answer.open()
    assert await writing == 2
    await pub.close()
    assert [chunk async for chunk in first] == [FINISH]
    assert await second == text(0)
    await service.aclose()


class Vague(ForwardingNotifier):
    """Says that something has happened, and not what."""

    async def listen(
        self, listener: Listener, on_error: BackgroundErrors
    ) -> Callable[[], Awaitable[None]]:
        return await super().listen(_Vaguely(listener), on_error)


class _Vaguely:
    def __init__(self, listener: Listener) -> None:
        self._listener = listener

    def on_wake_up(self, wake_up: WakeUp) -> None:
        self._listener.on_resync()

    def on_resync(self) -> None:
        self._listener.on_resync()


async def test_a_resync_is_a_look_at_every_stream_and_every_lease() -> None:
    store, notifier = MemoryStore(), MemoryNotifier()
    writer, reader = (
        DurableStreamService(store, Vague(notifier), PROTOCOL, poll_interval=RARELY, lease=RARELY)
        for _ in range(2)
    )
    async with writer, reader:
        subscription = reader.subscribe("s", timeout=PATIENCE)
        with pytest.raises(StreamStopped):
            async with writer.publisher("s") as pub, asyncio.timeout(PATIENCE):
                for number in range(3):
                    await pub.write(text(number))
                    assert await anext(subscription) == text(number)
                await reader.stop("s")
                await asyncio.Event().wait()


class Forgetful(ForwardingStore):
    """A store that fell back to an older state, as a replica that took over without the last
    commits.
    """

    forgot = False

    async def read(
        self, positions: Sequence[Position], *, max_rows: int, max_bytes: int
    ) -> list[Page]:
        pages = await super().read(positions, max_rows=max_rows, max_bytes=max_bytes)
        if not self.forgot:
            return pages
        return [
            replace(page, head=page.head and replace(page.head, next_id=1), payloads=[])
            for page in pages
        ]


async def test_a_store_that_lost_delivered_chunks_is_a_named_error(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(tail, "DOUBT", 0.3)
    store = Forgetful(MemoryStore())
    async with make(store) as service:
        pub = await service.publisher("s").open()
        await pub.write(*texts(3))
        readers = [service.subscribe("s", timeout=PATIENCE) for _ in range(2)]
        assert [await anext(readers[0]) for _ in range(3)] == texts(3)
        store.forgot = True
        # Somebody who joins lets the store be read.
        for reader in reversed(readers):
            with pytest.raises(ChunksMissing):
                await anext(reader)


async def test_a_publisher_whose_store_lost_its_chunks_gets_a_named_error() -> None:
    inner = MemoryStore()
    store = ForwardingStore(inner)
    async with make(store) as service:
        pub = await service.publisher("s").open()
        await pub.write(text(0))
        replica = copy.deepcopy(inner)
        await pub.write(text(1))
        # The replica takes over with the chunks that had reached it.
        store.inner = replica
        with pytest.raises(ChunksMissing):
            await pub.write(text(2))
        assert await service.chunks("s") == texts(1)


class OnceMute(ForwardingNotifier):
    """Cannot send the first batch of wake-ups."""

    sent = 0

    async def notify(self, wake_ups: Sequence[WakeUp]) -> None:
        self.sent += 1
        if self.sent == 1:
            raise OSError("the broker is away")
        await super().notify(wake_ups)


async def test_wake_ups_that_could_not_be_sent_cost_only_themselves() -> None:
    store, notifier = MemoryStore(), MemoryNotifier()
    writer = DurableStreamService(store, OnceMute(notifier), PROTOCOL)
    reader: Service = DurableStreamService(
        store, notifier, PROTOCOL, poll_interval=RARELY, lease=RARELY
    )
    async with writer, reader:
        pub = await writer.publisher("s").open()
        failed = asyncio.Event()
        writer.on_error(lambda source, error: failed.set())
        async with asyncio.timeout(PATIENCE):
            if not writer.statistics().errors:
                await failed.wait()
        subscription = reader.subscribe("s", timeout=PATIENCE)
        for number in range(3):
            await pub.write(text(number))
            assert await anext(subscription) == text(number)
        assert writer.statistics().errors == {"notify": 1}


KINDS = ["text-start", "text-delta", "text-delta", "text-delta"]


def delta(text: str) -> dict[str, Any]:
    return {"type": "text-delta", "id": "t", "delta": text}


async def test_the_end_of_another_history_is_not_the_end_of_this_one() -> None:
    """A failover lost two words that a reader has; the stop after it wrote more chunks."""
    inner = MemoryStore()
    store = ForwardingStore(inner)
    writer = DurableStreamService(store, None, UIMessageProtocol())
    reader = DurableStreamService(store, None, UIMessageProtocol(), poll_interval=0.05)
    async with reader:
        pub = await writer.publisher("s").open()
        await pub.write({"type": "text-start", "id": "t"}, delta("one"))
        replica = copy.deepcopy(inner)
        await pub.write(delta("two"), delta("three"))
        subscriptions = [reader.subscribe("s", timeout=PATIENCE) for _ in range(2)]
        for each in subscriptions:
            assert [(await anext(each))["type"] for _ in range(4)] == KINDS
        # The replica takes over, and the stop leaves more chunks than there were.
        store.inner = replica
        other = DurableStreamService(store, None, UIMessageProtocol())
        assert await other.stop("s")
        assert (await other.status("s")).next_id > 4
        for each in subscriptions:
            with pytest.raises(ChunksMissing) as caught:
                await anext(each)
            assert caught.value.id == 3


async def test_an_end_that_follows_the_chunks_read_so_far_is_told() -> None:
    store = HookedStore(MemoryStore())
    writer = DurableStreamService(store, None, UIMessageProtocol())
    reader = DurableStreamService(store, None, UIMessageProtocol(), poll_interval=0.05)
    async with writer, reader:
        pub = await writer.publisher("s").open()
        await pub.write({"type": "text-start", "id": "t"}, delta("one"))
        subscription = reader.subscribe("s", timeout=PATIENCE)
        assert [(await anext(subscription))["type"] for _ in range(2)] == KINDS[:2]
        reads = store.calls["read"]
        await pub.close("abort")
        assert [chunk["type"] async for chunk in subscription][-1] == "abort"
        assert store.calls["read"] > reads
