"""The work owed for a watched version is done once, whichever process does it."""

from __future__ import annotations

import asyncio

import pytest

from monostream_ai import DurableStreamService, JSONProtocol
from monostream_ai.stores.memory import MemoryStore


def a_service(store: MemoryStore) -> DurableStreamService:
    return DurableStreamService(store, None, JSONProtocol(), lease=30.0)


async def closed(
    service: DurableStreamService, stream_id: str = "s", *, watched: bool = True
) -> None:
    async with service.publisher(stream_id, watched=watched) as pub:
        await pub.write({"type": "text"})


async def test_many_processes_settle_a_version_once() -> None:
    store, done = MemoryStore(), list[int]()

    async def work(number: int) -> None:
        await asyncio.sleep(0)
        done.append(number)

    async with a_service(store) as first, a_service(store) as second:
        await closed(first)
        calls = [(first, second)[n % 2].settle("s", 0, lambda n=n: work(n)) for n in range(20)]
        assert (await asyncio.gather(*calls)).count(True) == 1
        assert len(done) == 1
        assert not await second.settle("s", 0, lambda: work(99))
        assert await first.unattended() == []


async def test_an_open_or_unwatched_version_is_not_settled() -> None:
    async def work() -> None:
        raise AssertionError("not owed")

    async with a_service(MemoryStore()) as service:
        await closed(service, watched=False)
        assert not await service.settle("s", 0, work)
        async with service.publisher("open", watched=True) as pub:
            await pub.write({"type": "text"})
            assert not await service.settle("open", 0, work)


async def test_work_that_fails_is_left_to_the_next_who_comes() -> None:
    clock, done = [0.0], list[str]()
    store = MemoryStore(lambda: clock[0])

    async def fail() -> None:
        raise LookupError("the history is down")

    async def work() -> None:
        done.append("done")

    async with a_service(store) as service:
        await closed(service)
        with pytest.raises(LookupError):
            await service.settle("s", 0, fail)
        assert not await service.settle("s", 0, work)
        clock[0] += 61.0
        assert [info.version for info in await service.unattended()] == [0]
        assert await service.settle("s", 0, work)
        assert done == ["done"]


async def test_work_that_takes_too_long_is_cancelled_before_another_may_begin() -> None:
    cancelled = asyncio.Event()

    async def work() -> None:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            cancelled.set()
            raise

    async with a_service(MemoryStore()) as service:
        await closed(service)
        with pytest.raises(TimeoutError):
            await service.settle("s", 0, work, timeout=0.05)
        assert cancelled.is_set()


async def test_streams_are_listed_page_by_page() -> None:
    async with a_service(MemoryStore()) as service:
        for name in ("chat:a", "chat:b", "job:c"):
            await closed(service, name)
        first = await service.streams(prefix="chat:", limit=1)
        second = await service.streams(prefix="chat:", after=first[-1].stream_id, limit=5)
        assert [info.stream_id for info in first + second] == ["chat:a", "chat:b"]
