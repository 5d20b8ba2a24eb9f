"""An ending written for a publisher survives a caller that leaves and a store that blinks."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence

import pytest

from monostream_ai import DurableStreamService, JSONProtocol
from monostream_ai.errors import StoreUnavailable
from monostream_ai.protocol import Transcript
from monostream_ai.stores.memory import MemoryStore
from monostream_ai.types import Ending
from tests.chunks import ABORT, ERROR, PROTOCOL, Chunk, text
from tests.hooked_store import Gate, HookedStore, cancelled, failing_once

Service = DurableStreamService[Chunk]
End = Callable[[Service], Awaitable[bool]]


async def stop(service: Service) -> bool:
    return await service.stop("s")


async def end_lost(service: Service) -> bool:
    return await service.end_lost("s", 0)


WAYS = [pytest.param(stop, ABORT, id="stop"), pytest.param(end_lost, ERROR, id="end_lost")]


@pytest.fixture
async def store() -> HookedStore:
    """Holds a version of one chunk whose publisher was lost; a lost version can be stopped too."""
    store = HookedStore(MemoryStore())
    service: Service = DurableStreamService(store, None, PROTOCOL)
    pub = await service.publisher("s").open()
    await pub.write(text(0))
    await pub.release()
    return store


@pytest.mark.parametrize(("end", "ending"), WAYS)
async def test_the_ending_is_written_although_the_caller_leaves(
    store: HookedStore, end: End, ending: Chunk
) -> None:
    service: Service = DurableStreamService(store, None, PROTOCOL)
    store.before["payloads"] = gate = Gate()
    task = asyncio.ensure_future(end(service))
    await gate.reached.wait()
    await cancelled(task)
    gate.open()
    async with asyncio.timeout(5):
        assert [chunk async for chunk in service.subscribe("s")] == [text(0), ending]


@pytest.mark.parametrize(("end", "ending"), WAYS)
@pytest.mark.parametrize("method", ["claim", "payloads", "append"])
async def test_a_lost_answer_is_asked_for_again(
    store: HookedStore, end: End, ending: Chunk, method: str
) -> None:
    service: Service = DurableStreamService(store, None, PROTOCOL)
    store.after[method] = failing_once(StoreUnavailable("the answer was lost"))
    assert await end(service) is True
    assert await service.chunks("s") == [text(0), ending]


@pytest.mark.parametrize(("end", "ending"), WAYS)
async def test_a_service_that_closes_writes_the_ending_first(
    store: HookedStore, end: End, ending: Chunk
) -> None:
    service: Service = DurableStreamService(store, None, PROTOCOL)
    store.before["payloads"] = gate = Gate()
    task = asyncio.ensure_future(end(service))
    await gate.reached.wait()
    closing = asyncio.create_task(service.aclose())
    gate.open()
    await closing
    assert await task is True
    assert await DurableStreamService(store, None, PROTOCOL).chunks("s") == [text(0), ending]


async def test_the_publisher_hears_of_a_stop_whose_caller_left() -> None:
    store = HookedStore(MemoryStore())
    service: Service = DurableStreamService(store, None, PROTOCOL)
    await (await service.publisher("s").open()).write(text(0))
    store.before["payloads"] = gate = Gate()
    stopping = asyncio.create_task(service.stop("s"))
    await gate.reached.wait()
    await cancelled(stopping)
    gate.open()
    async with asyncio.timeout(5):
        assert [chunk async for chunk in service.subscribe("s")] == [text(0), ABORT]


class Counted:
    """A transcript whose endings say how many chunks they follow."""

    def __init__(self) -> None:
        self._seen = 0

    def feed(self, chunk: Chunk) -> None:
        self._seen += 1

    def ending(self, ending: Ending, error_text: str = "") -> Sequence[Chunk]:
        return [{"type": ending, "seen": self._seen}]


class CountingProtocol(JSONProtocol[Chunk]):
    def transcript(self, message_id: str | None = None) -> Transcript[Chunk]:
        return Counted()


async def test_an_ending_knows_what_was_written_until_the_publisher_was_fenced() -> None:
    store = HookedStore(MemoryStore())
    service: Service = DurableStreamService(
        store, None, CountingProtocol(lambda chunk: "seen" in chunk)
    )
    pub = await service.publisher("s").open()
    await pub.write(text(0))

    async def write_more() -> None:
        await pub.write(text(1))

    store.before["claim"] = write_more
    assert await service.stop("s") is True
    assert await service.chunks("s") == [text(0), text(1), {"type": "abort", "seen": 2}]
