"""Pushed chunks that are not stored are counted, and those behind the end are reported once."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable

import pytest

from monostream_ai import DurableStreamService, Fenced, Publisher, StreamStopped
from monostream_ai.errors import ServiceClosed
from monostream_ai.stores.memory import MemoryStore
from monostream_ai.ui_messages import UIMessageProtocol
from tests.chunks import FINISH, PROTOCOL, Chunk, text, texts
from tests.hooked_store import Gate, HookedStore

Service = DurableStreamService[Chunk]


@pytest.fixture
def store() -> HookedStore:
    return HookedStore(MemoryStore())


@pytest.fixture
def service(store: HookedStore) -> Service:
    return DurableStreamService(store, None, PROTOCOL)


async def finish(service: Service, pub: Publisher[Chunk]) -> None:
    await pub.write(FINISH)


async def close(service: Service, pub: Publisher[Chunk]) -> None:
    await pub.close()


async def release(service: Service, pub: Publisher[Chunk]) -> None:
    await pub.release()


async def stop(service: Service, pub: Publisher[Chunk]) -> None:
    await service.stop("s")


async def supersede(service: Service, pub: Publisher[Chunk]) -> None:
    await (await service.publisher("s").open()).release()


@pytest.mark.parametrize("end", [finish, close, release, stop, supersede])
async def test_pushes_behind_the_end_are_counted_and_reported_once(
    service: Service,
    end: Callable[[Service, Publisher[Chunk]], Awaitable[None]],
    caplog: pytest.LogCaptureFixture,
) -> None:
    pub = await service.publisher("s").open()
    await end(service, pub)
    with caplog.at_level(logging.WARNING, "monostream_ai"):
        pub.push(text(0))
        pub.push(text(1), text(2))
        await asyncio.to_thread(pub.push, text(3))
        # The push of a thread has arrived when this has run.
        await asyncio.sleep(0)

    assert pub.dropped == 4
    [record] = caplog.records
    assert "'s' version 0" in record.getMessage()
    assert {"stream_id": "s", "version": 0}.items() <= vars(record).items()


async def test_each_publisher_reports_its_own(
    service: Service, caplog: pytest.LogCaptureFixture
) -> None:
    for stream_id in ("a", "b"):
        async with service.publisher(stream_id) as pub:
            await pub.write(FINISH)
            pub.push(text(0))

    assert [record.levelno for record in caplog.records] == [logging.WARNING] * 2
    assert ["'a'" in caplog.messages[0], "'b'" in caplog.messages[1]] == [True, True]


async def test_a_block_that_is_told_of_a_stop_may_still_push_what_it_has(
    service: Service, caplog: pytest.LogCaptureFixture
) -> None:
    with pytest.raises(StreamStopped):
        async with service.publisher("s") as pub:
            stopping = asyncio.create_task(service.stop("s"))
            try:
                await asyncio.Event().wait()
            finally:
                pub.push(text(0))
    assert (pub.dropped, caplog.messages, await stopping) == (1, [], True)

    pub.push(text(1))
    assert (pub.dropped, len(caplog.messages)) == (2, 1)


async def test_pushes_that_were_queued_when_the_publisher_was_fenced_are_counted(
    service: Service, store: HookedStore
) -> None:
    store.before["append"] = gate = Gate()
    with pytest.raises(Fenced):
        async with service.publisher("s") as pub:
            pub.push(text(0))
            await gate.reached.wait()
            pub.push(text(1), text(2))
            pub.push(text(3))
            newer = await service.publisher("s").open()
            gate.open()
            await pub.flush()

    assert await service.chunks("s", 0) == []
    assert pub.dropped == 4
    await newer.release()


async def test_pushes_that_landed_before_the_fence_are_not_counted(service: Service) -> None:
    pub = await service.publisher("s").open()
    pub.push(*texts(3))
    await pub.flush()
    await supersede(service, pub)
    pub.push(text(3))
    with pytest.raises(Fenced):
        await pub.flush()

    assert await service.chunks("s", 0) == texts(3)
    assert pub.dropped == 1


async def test_merged_pushes_are_counted_one_by_one(store: HookedStore) -> None:
    service = DurableStreamService(store, None, UIMessageProtocol())
    store.before["append"] = gate = Gate()
    pub = await service.publisher("s").open()
    pub.push({"type": "start"}, {"type": "text-start", "id": "t"})
    pub.push(*({"type": "text-delta", "id": "t", "delta": "x" * 90_000} for _ in range(3)))
    for _ in range(50):
        pub.push({"type": "text-delta", "id": "t", "delta": "x"})
    assert int(repr(pub).split()[-2]) < 55
    newer = await service.publisher("s").open()
    gate.open()
    with pytest.raises(Fenced):
        await pub.flush()

    assert pub.dropped == 55
    await newer.release()


async def test_pushes_that_a_closing_service_leaves_are_counted(
    service: Service, store: HookedStore
) -> None:
    pub = await service.publisher("s").open()
    await service.aclose()
    pub.push(text(0))
    with pytest.raises(ServiceClosed):
        await pub.flush()

    assert pub.dropped == 1
