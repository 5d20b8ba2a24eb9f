"""A write or close whose caller was cancelled goes on, and later calls wait for its outcome."""

from __future__ import annotations

import asyncio
import gc

import pytest

from monostream_ai import DurableStreamService
from monostream_ai.errors import ChunkRefused, Fenced
from monostream_ai.stores.memory import MemoryStore
from tests.chunks import ERROR, FINISH, PROTOCOL, Chunk, text
from tests.hooked_store import Gate, Hook, HookedStore, cancelled, failing_once, still_waits

Service = DurableStreamService[Chunk]

PATIENCE = 5.0


@pytest.fixture
def store() -> HookedStore:
    return HookedStore(MemoryStore())


@pytest.fixture
def service(store: HookedStore) -> Service:
    return DurableStreamService(store, None, PROTOCOL)


async def held_then(gate: Gate, hook: Hook) -> None:
    await gate()
    await hook()


def forget_failed_futures() -> None:
    # A future that nobody asked logs its error when it is collected, and Python 3.11 fails if that
    # is in the middle of a compile.
    gc.collect()


async def test_a_flush_waits_for_a_write_whose_caller_was_cancelled(
    store: HookedStore, service: Service
) -> None:
    pub = await service.publisher("s").open()
    store.before["append"] = gate = Gate()
    writing = asyncio.create_task(pub.write(text(0)))
    await gate.reached.wait()
    await cancelled(writing)
    flushing = asyncio.create_task(pub.flush())
    assert await still_waits(flushing)
    gate.open()
    await flushing
    assert await service.chunks("s") == [text(0)]


async def test_a_second_close_waits_for_the_first_whose_caller_was_cancelled(
    store: HookedStore, service: Service
) -> None:
    pub = await service.publisher("s").open()
    store.before["append"] = gate = Gate()
    closing = asyncio.create_task(pub.close())
    await gate.reached.wait()
    await cancelled(closing)
    again = asyncio.create_task(pub.close())
    assert await still_waits(again)
    gate.open()
    await again
    assert await service.chunks("s") == [FINISH]


async def test_a_second_close_tells_that_the_first_failed(
    store: HookedStore, service: Service
) -> None:
    pub = await service.publisher("s").open()
    store.before["append"] = gate = Gate()
    closing = asyncio.create_task(pub.close())
    await gate.reached.wait()
    await cancelled(closing)
    await service.publisher("s").open()
    gate.open()
    (outcome,) = await asyncio.gather(pub.close(), return_exceptions=True)
    del pub, closing
    forget_failed_futures()
    assert isinstance(outcome, Fenced)


async def test_leaving_the_block_tells_that_a_cancelled_close_failed(
    store: HookedStore, service: Service
) -> None:
    async def answer() -> None:
        async with service.publisher("s") as pub:
            store.before["append"] = gate = Gate()
            closing = asyncio.create_task(pub.close())
            await gate.reached.wait()
            await cancelled(closing)
            await service.publisher("s").open()
            gate.open()

    (outcome,) = await asyncio.gather(answer(), return_exceptions=True)
    forget_failed_futures()
    assert isinstance(outcome, Fenced)


async def test_a_version_that_lacks_a_cancelled_write_does_not_end_as_finished(
    store: HookedStore, service: Service
) -> None:
    async def answer() -> None:
        async with service.publisher("s") as pub:
            gate, refuse = Gate(), failing_once(ChunkRefused("s", pub.version))
            store.before["append"] = lambda: held_then(gate, refuse)
            writing = asyncio.create_task(pub.write(text(0)))
            await gate.reached.wait()
            await cancelled(writing)
            gate.open()

    (outcome,) = await asyncio.gather(answer(), return_exceptions=True)
    forget_failed_futures()
    assert isinstance(outcome, ChunkRefused)
    assert await service.chunks("s") == [ERROR]


async def answer_and_be_cancelled(service: Service, store: HookedStore, *queued: Chunk) -> None:
    """Be cancelled inside a write, with `on_cancel="release"`, while the store holds an append."""
    gate = Gate()

    async def answer() -> None:
        async with service.publisher("s", on_cancel="release") as pub:
            store.before["append"] = gate
            in_flight = asyncio.create_task(pub.write(text(0)))
            await gate.reached.wait()
            await (pub.write(*queued) if queued else in_flight)

    task = asyncio.create_task(answer())
    await gate.reached.wait()
    assert await still_waits(task)
    task.cancel()
    assert await still_waits(task)
    gate.open()
    async with asyncio.timeout(PATIENCE):
        await asyncio.wait([task])
    assert task.cancelled()


@pytest.mark.parametrize("queued", [[], [text(1)]], ids=["in flight", "queued"])
async def test_a_release_lets_cancelled_writes_land_first(
    store: HookedStore, service: Service, queued: list[Chunk]
) -> None:
    await answer_and_be_cancelled(service, store, *queued)
    assert await service.chunks("s") == [text(0), *queued]


async def test_a_write_in_flight_does_not_renew_what_is_released(
    store: HookedStore, service: Service
) -> None:
    await answer_and_be_cancelled(service, store)
    assert (await service.status("s")).lost


async def test_a_write_whose_store_was_cancelled_lands(
    store: HookedStore, service: Service
) -> None:
    """A driver may raise CancelledError of its own; the publisher must neither hang nor lose the
    chunk.
    """
    pub = await service.publisher("s").open()
    store.before["append"] = failing_once(asyncio.CancelledError())
    async with asyncio.timeout(PATIENCE):
        await pub.write(text(0))
        await pub.write(text(1))
    assert await service.chunks("s") == [text(0), text(1)]
