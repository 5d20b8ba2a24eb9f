"""A block cancelled from several sides at once loses, doubles or leaves behind no cancellation."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import anyio
import pytest

from monostream_ai import DurableStreamService, JSONProtocol
from monostream_ai.errors import ChunkRefused, StreamStopped
from monostream_ai.protocol import Transcript
from monostream_ai.stores.memory import MemoryStore
from monostream_ai.types import Ending
from tests.chunks import ABORT, FINISH, PROTOCOL, Chunk, text
from tests.hooked_store import Gate, HookedStore, failing_once, still_waits

Service = DurableStreamService[Chunk]


@pytest.fixture
def store() -> HookedStore:
    return HookedStore(MemoryStore())


@pytest.fixture
def service(store: HookedStore) -> Service:
    return DurableStreamService(store, None, PROTOCOL)


async def test_an_anyio_scope_that_ends_while_the_block_is_left_keeps_its_cancellation(
    store: HookedStore, service: Service
) -> None:
    store.before["append"] = gate = Gate()
    with anyio.CancelScope() as scope:

        async def cancel() -> None:
            await gate.reached.wait()
            scope.cancel()
            await asyncio.sleep(0)
            gate.open()

        cancelling = asyncio.create_task(cancel())
        async with service.publisher("s"):
            pass
        await anyio.sleep_forever()
    await cancelling
    assert scope.cancelled_caught
    assert await service.chunks("s") == [FINISH]


async def test_a_timeout_that_passes_while_the_block_is_left_is_a_timeout(
    store: HookedStore, service: Service
) -> None:
    store.before["append"] = gate = Gate()
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.05) as timeout:
            asyncio.get_running_loop().call_at((timeout.when() or 0) + 0.05, gate.open)
            async with service.publisher("s"):
                pass
    assert await service.chunks("s") == [FINISH]


async def test_an_anyio_scope_that_ends_inside_the_block_aborts_it(service: Service) -> None:
    with anyio.move_on_after(0.05) as scope:
        async with service.publisher("s"):
            await anyio.sleep_forever()
    assert scope.cancelled_caught
    assert await service.chunks("s") == [ABORT]


async def test_a_stop_inside_an_anyio_scope_is_a_stop(service: Service) -> None:
    stopping: asyncio.Task[bool] | None = None
    with pytest.raises(StreamStopped):
        with anyio.fail_after(5):
            async with service.publisher("s"):
                stopping = asyncio.create_task(service.stop("s"))
                await anyio.sleep_forever()
    assert stopping is not None
    assert await stopping is True


async def swallow_cancellation() -> None:
    try:
        await asyncio.Event().wait()
    except asyncio.CancelledError:
        pass


async def test_a_cancellation_while_a_failed_block_is_left_is_not_lost(
    store: HookedStore, service: Service
) -> None:
    gate = Gate()

    async def answer() -> None:
        async with service.publisher("s") as pub:
            store.before["append"] = failing_once(ChunkRefused("s", 0))
            pub.push(text(0))
            # The refusal cancels the block, which does not listen.
            await swallow_cancellation()
            store.before["append"] = gate

    task = asyncio.create_task(answer())
    await gate.reached.wait()
    task.cancel()
    assert await still_waits(task)
    gate.open()
    await asyncio.wait([task])
    assert task.cancelled()


async def test_a_stopped_block_that_swallows_every_cancellation_still_ends_as_stopped(
    service: Service,
) -> None:
    entered = asyncio.Event()

    async def answer() -> None:
        async with service.publisher("s"):
            entered.set()
            await swallow_cancellation()
            entered.set()
            await swallow_cancellation()

    task = asyncio.create_task(answer())
    await entered.wait()
    entered.clear()
    await service.stop("s")
    await entered.wait()
    task.cancel()
    with pytest.raises(StreamStopped):
        await task


class Endless:
    """A transcript that has no ending."""

    def feed(self, chunk: Chunk) -> None:
        pass

    def ending(self, ending: Ending, error_text: str = "") -> Sequence[Chunk]:
        raise KeyError("ending")


class EndlessProtocol(JSONProtocol[Any]):
    def transcript(self, message_id: str | None = None) -> Transcript[Any]:
        return Endless()


async def test_an_interrupted_block_whose_ending_fails_leaves_no_cancellation_behind(
    store: HookedStore,
) -> None:
    service: Service = DurableStreamService(store, None, EndlessProtocol())
    store.before["append"] = failing_once(ChunkRefused("s", 0))
    with pytest.raises(KeyError):
        async with service.publisher("s") as pub:
            pub.push(text(0))
            await asyncio.Event().wait()
    task = asyncio.current_task()
    assert task is not None
    assert task.cancelling() == 0
