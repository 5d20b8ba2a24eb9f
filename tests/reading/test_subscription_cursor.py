from __future__ import annotations

import asyncio
import json

import pytest

from monostream_ai import Cursor, DurableStreamService
from monostream_ai.errors import CursorNotFound, Superseded
from tests.chunks import FINISH, Chunk, text, texts
from tests.plugins.services import ServiceFactory

Service = DurableStreamService[Chunk]


async def write_all(service: Service, *chunks: Chunk) -> None:
    async with service.publisher("s") as pub:
        await pub.write(*chunks)


async def collect(service: Service, after: Cursor | None) -> list[Chunk]:
    return [chunk async for chunk in service.subscribe("s", after=after, timeout=5.0)]


async def test_the_cursor_is_that_of_the_last_chunk(service: Service) -> None:
    await write_all(service, *texts(3))
    subscription = service.subscribe("s")
    cursors: list[Cursor | None] = []
    assert subscription.cursor is None
    async for _ in subscription:
        cursors.append(subscription.cursor)
    assert cursors == [Cursor(0, id) for id in range(4)]


@pytest.mark.parametrize("id", [-1, 0, 299, 300])
async def test_reading_resumes_after_a_cursor(service_factory: ServiceFactory, id: int) -> None:
    writer, reader = service_factory(), service_factory()
    await write_all(writer, *texts(300))
    for service in (writer, reader):
        assert await collect(service, Cursor(0, id)) == [*texts(300), FINISH][id + 1 :]


async def test_a_cursor_survives_as_text(service: Service) -> None:
    await write_all(service, *texts(3))
    subscription = service.subscribe("s")
    await anext(subscription)
    assert await collect(service, Cursor.parse(str(subscription.cursor))) == [*texts(2, 1), FINISH]


async def test_an_attached_reader_and_a_resumed_one_each_get_their_part(service: Service) -> None:
    pub = await service.publisher("s").open()
    await pub.write(*texts(3))
    attached = asyncio.create_task(collect(service, None))
    resumed = asyncio.create_task(collect(service, Cursor(0, 1)))
    await asyncio.wait([attached, resumed], timeout=0.05)
    await pub.write(text(3))
    await pub.close()
    assert await attached == [*texts(4), FINISH]
    assert await resumed == [*texts(2, 2), FINISH]


@pytest.mark.parametrize(
    "cursor", [Cursor(0, 4), Cursor(0, 2**40), Cursor(1, -1), Cursor(7, 0)], ids=str
)
async def test_a_cursor_that_does_not_exist_is_named(service: Service, cursor: Cursor) -> None:
    await write_all(service, *texts(3))
    with pytest.raises(CursorNotFound, match="subscribe without a cursor"):
        await collect(service, cursor)


async def test_a_cursor_of_an_unknown_stream_is_named(service: Service) -> None:
    with pytest.raises(CursorNotFound):
        await collect(service, Cursor(0, 3))


async def test_a_cursor_of_an_older_version_follows_to_the_latest(service: Service) -> None:
    await write_all(service, *texts(3))
    await write_all(service, text(100))
    assert await collect(service, Cursor(0, 1)) == [text(100), FINISH]


async def test_a_cursor_of_an_older_version_may_be_told(service: Service) -> None:
    await write_all(service, *texts(3))
    await write_all(service, text(100))
    with pytest.raises(Superseded) as caught:
        await anext(service.subscribe("s", after=Cursor(0, 1), on_superseded="raise"))
    assert (caught.value.version, caught.value.current) == (0, 1)


async def test_batches_carry_the_stored_text_and_its_cursors(
    service_factory: ServiceFactory,
) -> None:
    writer, reader = service_factory(), service_factory()
    await write_all(writer, *texts(600))
    subscription = reader.subscribe("s")
    payloads: list[str] = []
    with pytest.raises(StopAsyncIteration):
        while True:
            batch = await subscription.next_batch()
            assert (batch.version, batch.first) == (0, len(payloads))
            assert 1 <= len(batch.payloads) <= 1000
            payloads += batch.payloads
            assert subscription.cursor == Cursor(0, len(payloads) - 1)
    assert [json.loads(payload) for payload in payloads] == [*texts(600), FINISH]


async def test_a_batch_is_empty_after_its_timeout(service: Service) -> None:
    pub = await service.publisher("s").open()
    subscription = service.subscribe("s")
    assert (await subscription.next_batch(timeout=0.05)).payloads == []
    await pub.write(text(0))
    assert len((await subscription.next_batch(timeout=5.0)).payloads) == 1
    assert (await subscription.next_batch(timeout=0.05)).payloads == []
    await pub.close()
    assert len((await subscription.next_batch(timeout=5.0)).payloads) == 1
    with pytest.raises(StopAsyncIteration):
        await subscription.next_batch(timeout=5.0)


async def test_chunks_and_batches_can_be_read_in_turn(service: Service) -> None:
    await write_all(service, *texts(10))
    subscription = service.subscribe("s")
    assert await anext(subscription) == text(0)
    batch = await subscription.next_batch()
    assert batch.first == 1
    seen = [json.loads(payload) for payload in batch.payloads]
    assert seen + [chunk async for chunk in subscription] == [*texts(9, 1), FINISH]
