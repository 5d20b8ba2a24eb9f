"""The README of the TypeScript package, example by example; what an `AbortSignal` does there, a
timeout or a cancel does here.
"""

from __future__ import annotations

import asyncio
import gc

import pytest

from monostream_ai import DurableStreamService, JSONProtocol, create_service
from monostream_ai.errors import PublisherLost, SubscriptionTimeout
from monostream_ai.notifiers.memory import MemoryNotifier
from monostream_ai.stores.memory import MemoryStore
from tests.chunks import Chunk
from tests.plugins.services import ServiceFactory

Service = DurableStreamService[Chunk]

FINISH: Chunk = {"type": "finish"}


def delta(text: str) -> Chunk:
    return {"type": "text-delta", "delta": text}


async def collect(service: Service, stream_id: str) -> list[Chunk]:
    return [chunk async for chunk in service.subscribe(stream_id)]


async def test_quick_start() -> None:
    protocol = JSONProtocol[Chunk](is_terminal=lambda chunk: chunk["type"] == "finish")
    async with DurableStreamService(MemoryStore(), MemoryNotifier(), protocol) as service:
        pub = await service.publisher("my-stream", 0).open()
        await pub.write(delta("Hello "))
        await pub.write(delta("world!"))
        await pub.write(FINISH)
        assert await collect(service, "my-stream") == [delta("Hello "), delta("world!"), FINISH]


async def test_a_reader_waits_until_it_is_told_to_stop(service: Service) -> None:
    reading = asyncio.create_task(collect(service, "my-stream"))
    done, _ = await asyncio.wait([reading], timeout=0.05)
    assert not done
    reading.cancel()
    with pytest.raises(asyncio.CancelledError):
        await reading


async def test_a_reader_may_set_itself_a_timeout(service: Service) -> None:
    with pytest.raises(SubscriptionTimeout):
        async for _ in service.subscribe("my-stream", timeout=0.05):
            pass
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.05):
            await collect(service, "my-stream")


async def test_a_subscription_closed_before_its_first_read_yields_nothing(service: Service) -> None:
    async with service.publisher("my-stream") as pub:
        await pub.write(delta("x"))
    subscription = service.subscribe("my-stream")
    subscription.close()
    with pytest.raises(Exception, match="is closed"):
        await anext(subscription)


async def test_fan_out(service: Service) -> None:
    pub = await service.publisher("fanout", 0).open()
    readers = [asyncio.create_task(collect(service, "fanout")) for _ in range(3)]
    await pub.write(delta("shared"))
    await pub.write(FINISH)
    assert await asyncio.gather(*readers) == [[delta("shared"), FINISH]] * 3


async def test_crash_and_retry(service: Service) -> None:
    crashed = await service.publisher("chat:123", 0).open()
    await crashed.write(delta("partial..."))
    await crashed.release()

    retry = await service.publisher("chat:123", 1).open()
    await retry.write(delta("retry from scratch"))
    await retry.write(FINISH)

    assert await collect(service, "chat:123") == [delta("retry from scratch"), FINISH]


async def test_a_publisher_that_is_dropped_counts_as_crashed(
    service_factory: ServiceFactory,
) -> None:
    service = service_factory(lease=0.5)
    dropped = await service.publisher("chat:123", 0).open()
    await dropped.write(delta("partial..."))
    del dropped
    gc.collect()
    with pytest.raises(PublisherLost):
        await collect(service, "chat:123")


async def test_a_reader_in_another_process_follows_the_retry(
    service_factory: ServiceFactory,
) -> None:
    writer, reader = service_factory(), service_factory()
    subscription = reader.subscribe("chat:123")
    await (await writer.publisher("chat:123", 0).open()).write(delta("partial..."))
    assert await anext(subscription) == delta("partial...")
    async with writer.publisher("chat:123", 1) as retry:
        await retry.write(delta("retry from scratch"))
    assert [chunk async for chunk in subscription] == [delta("retry from scratch"), FINISH]


async def test_the_next_version(service: Service) -> None:
    versions = []
    for _ in range(2):
        async with service.publisher("chat:123", "next") as pub:
            versions.append(pub.version)
    async with service.publisher("chat:123", 7):
        pass
    async with service.publisher("chat:123", "next") as pub:
        versions.append(pub.version)
    assert versions == [0, 1, 8]


async def test_a_stream_of_ui_messages() -> None:
    async with create_service("memory://") as service:
        async with service.publisher("chat:123:stream", "next") as pub:
            await pub.write(
                {"type": "text-start", "id": "t"},
                {"type": "text-delta", "id": "t", "delta": "Hello"},
            )
            await pub.write({"type": "text-end", "id": "t"})
        kinds = [chunk["type"] async for chunk in service.subscribe("chat:123:stream")]
    assert [kind for kind in kinds if kind.startswith("text")] == [
        "text-start",
        "text-delta",
        "text-end",
    ]
    assert kinds[-1] == "finish"


@pytest.mark.parametrize("terminal", ["finish", "error", "abort"])
async def test_finish_error_and_abort_end_a_stream_of_ui_messages(terminal: str) -> None:
    async with create_service("memory://") as service:
        async with service.publisher("chat:123:stream") as pub:
            await pub.close(terminal)  # type: ignore[arg-type]  # mypy does not narrow the parameters
        assert [chunk["type"] async for chunk in service.subscribe("chat:123:stream")][
            -1
        ] == terminal
