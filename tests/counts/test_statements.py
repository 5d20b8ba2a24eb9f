"""Statements that 64 streams cost the database; each one outside a transaction is a commit."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from monostream_ai._reading.subscription import Subscription
from monostream_ai._writing.publisher import Publisher
from tests.chunks import FINISH, Chunk, text, texts
from tests.counts.statement_log import CountedProcess

STREAMS = [f"s{number}" for number in range(64)]
CHUNKS = 15
"""Of each stream; with the terminal one, 64 streams have 1,024."""

LOGGED_LATE = {"open"}
"""The driver logs a statement a moment after its end, so the last opening may still be to come when
the counts are cleared.
"""


@pytest.fixture
async def writer(postgres_url: str, no_task_is_left: None) -> AsyncIterator[CountedProcess]:
    async with CountedProcess(postgres_url) as process:
        yield process


@pytest.fixture
async def reader(postgres_url: str, writer: CountedProcess) -> AsyncIterator[CountedProcess]:
    async with CountedProcess(postgres_url) as process:
        yield process


async def opened(process: CountedProcess) -> list[Publisher[Chunk]]:
    pubs = [await process.service.publisher(stream_id).open() for stream_id in STREAMS]
    process.statements.clear()
    return pubs


async def joined(
    process: CountedProcess, writer: CountedProcess, readers_of_each: int
) -> list[asyncio.Task[list[Chunk]]]:
    """Start readers; return when all have the stored chunks and wait for more without a read."""

    async def follow(subscription: Subscription[Chunk], has_first: asyncio.Event) -> list[Chunk]:
        chunks = [await anext(subscription)]
        has_first.set()
        return chunks + [chunk async for chunk in subscription]

    tasks, events = [], []
    for stream_id in STREAMS * readers_of_each:
        events.append(asyncio.Event())
        tasks.append(asyncio.create_task(follow(process.service.subscribe(stream_id), events[-1])))
    await asyncio.gather(*(event.wait() for event in events))
    # Streams are read in the order in which readers asked, so the read of one more stream is the
    # last one.
    async with writer.service.publisher("last") as pub:
        await pub.write(text(0))
    assert await anext(process.service.subscribe("last")) == text(0)
    return tasks


async def test_a_thousand_pushed_chunks_are_one_commit_and_one_notification(
    writer: CountedProcess,
) -> None:
    pubs = await opened(writer)
    for chunk in [*texts(CHUNKS), FINISH]:
        for pub in pubs:
            pub.push(chunk)
    await asyncio.gather(*(pub.flush() for pub in pubs))
    await writer.service.aclose()
    assert writer.statements["append"] == 1
    # Two may be left from the openings: one on its way, and one behind it.
    assert writer.statements["notify"] <= 3
    assert writer.statements.keys() <= LOGGED_LATE | {"append", "notify"}


async def test_publishers_that_await_each_write_share_commits_and_notifications(
    writer: CountedProcess,
) -> None:
    async def publish(pub: Publisher[Chunk]) -> None:
        for chunk in [*texts(CHUNKS), FINISH]:
            await pub.write(chunk)

    await asyncio.gather(*map(publish, await opened(writer)))
    await writer.service.aclose()
    # 1,024 writes, of which 64 wait at any time.
    assert writer.statements["append"] == writer.store.batches <= CHUNKS + 5
    assert writer.statements["notify"] <= writer.statements["append"] + 2
    assert writer.statements.keys() <= LOGGED_LATE | {"append", "notify"}


async def test_readers_beside_the_publisher_read_nothing_that_it_writes(
    writer: CountedProcess,
) -> None:
    pubs = await opened(writer)
    await asyncio.gather(*(pub.write(text(0)) for pub in pubs))
    readings = await joined(writer, writer, readers_of_each=2)
    writer.statements.clear()
    writer.store.rows = 0
    await asyncio.gather(*(pub.write(*texts(CHUNKS - 1, 1), FINISH) for pub in pubs))
    assert await asyncio.gather(*readings) == [[*texts(CHUNKS), FINISH]] * len(readings)
    assert writer.store.rows == 0
    assert writer.statements["append"] == 1


async def test_another_process_reads_each_chunk_once_for_all_its_readers(
    writer: CountedProcess, reader: CountedProcess
) -> None:
    pubs = await opened(writer)
    await asyncio.gather(*(pub.write(text(0)) for pub in pubs))
    readings = await joined(reader, writer, readers_of_each=3)
    reader.store.rows = 0
    for chunk in [*texts(CHUNKS - 1, 1), FINISH]:
        await asyncio.gather(*(pub.write(chunk) for pub in pubs))
    assert await asyncio.gather(*readings) == [[*texts(CHUNKS), FINISH]] * len(readings)
    # And the chunk before the end once more, to see that the end is that of the same history.
    assert reader.store.rows == (CHUNKS + 1) * len(STREAMS)


async def test_another_process_takes_all_chunks_but_the_last_from_wake_ups(
    postgres_url: str,
) -> None:
    async with (
        CountedProcess(postgres_url, inline="always") as writer,
        CountedProcess(postgres_url, inline="always") as reader,
    ):
        pubs = await opened(writer)
        await asyncio.gather(*(pub.write(text(0)) for pub in pubs))
        readings = await joined(reader, writer, readers_of_each=3)
        reader.store.rows = 0
        reader.statements.clear()
        for chunk in texts(CHUNKS - 1, 1):
            await asyncio.gather(*(pub.write(chunk) for pub in pubs))
        await asyncio.gather(*(pub.write(FINISH) for pub in pubs))
        assert await asyncio.gather(*readings) == [[*texts(CHUNKS), FINISH]] * len(readings)
    # The end, and the chunk before it once more, to see that the end is that of the same history.
    # Wake-ups that a busy machine sends late are joined, and leave out what no longer fits.
    assert 2 * len(STREAMS) <= reader.store.rows <= CHUNKS // 2 * len(STREAMS)
    # One read for each stream whose end is looked at alone.
    assert reader.statements["read"] <= len(STREAMS) + CHUNKS
    assert reader.statements.keys() == {"read"}


async def test_a_process_without_readers_reads_nothing(
    writer: CountedProcess, reader: CountedProcess
) -> None:
    pubs = await opened(writer)
    await writer.service.publisher("heard").open()
    reading = asyncio.create_task(anext(reader.service.subscribe("heard")))
    await reader.store.first_read.wait()
    reader.statements.clear()
    await asyncio.gather(*(pub.write(*texts(CHUNKS), FINISH) for pub in pubs))
    async with writer.service.publisher("heard") as pub:
        await pub.write(text(0))
    # Notifications arrive in order: by now, those of the other streams have been heard too.
    assert await reading == text(0)
    assert reader.statements.keys() == {"read"}
    assert reader.store.rows <= 2
