"""The table of the TypeScript package works as a store; its jsonb refuses some chunks."""

from __future__ import annotations

import asyncio
import json
import secrets
from collections.abc import AsyncIterator

import asyncpg
import pytest

from monostream_ai import DurableStreamService
from monostream_ai.errors import ChunkRefused, ChunksMissing, VersionConflict
from monostream_ai.stores.sql import PostgresStore
from monostream_ai.types import Append, Lease, Opening, Position
from tests.chunks import FINISH, PROTOCOL, Chunk, text, texts
from tests.plugins.postgres import asyncpg_dsn

SEED_TABLE = """
CREATE TABLE stream_chunk (
stream_id TEXT NOT NULL,
version BIGINT NOT NULL DEFAULT 0,
id BIGINT NOT NULL,
created_at TIMESTAMP NOT NULL DEFAULT NOW(),
chunk JSONB NOT NULL,
PRIMARY KEY (stream_id, version, id)
);
"""


class Seed:
    """The TypeScript package: it inserts rows and knows no version table."""

    def __init__(self, connection: asyncpg.Connection) -> None:
        self._connection = connection

    async def insert(self, stream_id: str, version: int, id: int, chunk: Chunk) -> None:
        statement = (
            "INSERT INTO stream_chunk (stream_id, version, id, chunk) "
            "VALUES ($1, $2, $3, $4::text::jsonb)"
        )
        await self._connection.execute(statement, stream_id, version, id, json.dumps(chunk))

    async def write(self, stream_id: str, version: int, *chunks: Chunk) -> None:
        for id, chunk in enumerate(chunks):
            await self.insert(stream_id, version, id, chunk)


@pytest.fixture
async def seed(postgres_url: str) -> AsyncIterator[Seed]:
    connection = await asyncpg.connect(asyncpg_dsn(postgres_url))
    await connection.execute(SEED_TABLE)
    yield Seed(connection)
    await connection.close()


@pytest.fixture
async def store(seed: Seed, postgres_url: str) -> AsyncIterator[PostgresStore]:
    store = PostgresStore.from_url(postgres_url)
    await store.setup()
    yield store
    await store.aclose()


@pytest.fixture
async def service(store: PostgresStore) -> AsyncIterator[DurableStreamService[Chunk]]:
    async with DurableStreamService(store, None, PROTOCOL, poll_interval=0.3) as service:
        yield service


async def acquire(store: PostgresStore, stream_id: str, version: int | None = None) -> Lease:
    token = secrets.token_hex(16)
    return Lease(
        stream_id, await store.acquire(stream_id, version, Opening(token, lease=60.0)), token
    )


async def test_answers_are_written_to_the_seed_table_and_read_back(
    service: DurableStreamService[Chunk],
) -> None:
    async with service.publisher("s") as pub:
        await pub.write(*texts(3))
    assert [chunk async for chunk in service.subscribe("s")] == [*texts(3), FINISH]


async def test_a_repeated_append_lands_once_although_jsonb_rewrites_it(
    store: PostgresStore,
) -> None:
    lease = await acquire(store, "s")
    append = Append(lease, 0, ['{"b":1, "a":1e2,"a":2.50}', '"\\u00e9"'], False)
    assert await store.append([append], lease=60.0) == [None]
    assert await store.append([append], lease=60.0) == [None]
    info = await store.info("s")
    assert info is not None
    assert info.next_id == 2


@pytest.mark.parametrize(
    "payload",
    [r'"a\u0000b"', r'{"\u0000":1}', r'"\ud800"'],
    ids=["NUL", "NUL in a key", "lone surrogate"],
)
async def test_a_payload_that_jsonb_cannot_hold_is_a_named_error(
    store: PostgresStore, payload: str
) -> None:
    lease = await acquire(store, "s")
    [verdict] = await store.append([Append(lease, 0, ['"before"', payload], False)], lease=60.0)
    assert isinstance(verdict, ChunkRefused)
    assert (verdict.stream_id, verdict.version) == ("s", 0)
    [page] = await store.read([Position("s", None, 0)], max_rows=10, max_bytes=1000)
    assert list(page.payloads) == []


async def test_a_refused_payload_disturbs_no_other_version_of_the_batch(
    store: PostgresStore,
) -> None:
    leases = [await acquire(store, stream_id) for stream_id in "abc"]
    payloads = ['"fine"', r'"\u0000"', '"fine"']
    verdicts = await store.append(
        [
            Append(lease, 0, [payload], False)
            for lease, payload in zip(leases, payloads, strict=True)
        ],
        lease=60.0,
    )
    assert [type(verdict) for verdict in verdicts] == [type(None), ChunkRefused, type(None)]


async def test_a_refused_write_leaves_the_publisher_usable(
    service: DurableStreamService[Chunk],
) -> None:
    async with service.publisher("s") as pub:
        with pytest.raises(ChunkRefused):
            await pub.write({"type": "text", "n": "\0"})
        await pub.write(text(0))
    assert await service.chunks("s") == [text(0), FINISH]


async def test_a_version_of_the_seed_is_replayed_to_its_terminal_chunk(
    seed: Seed, service: DurableStreamService[Chunk]
) -> None:
    await seed.write("s", 0, text(7))
    await seed.write("s", 3, *texts(400), FINISH)
    assert [chunk async for chunk in service.subscribe("s")] == [*texts(400), FINISH]


async def test_a_version_of_the_seed_is_tailed(
    seed: Seed, service: DurableStreamService[Chunk]
) -> None:
    await seed.insert("s", 0, 0, text(0))
    subscription = service.subscribe("s", timeout=10.0)
    assert await anext(subscription) == text(0)
    await seed.insert("s", 0, 1, text(1))
    assert await anext(subscription) == text(1)
    await seed.insert("s", 0, 2, FINISH)
    assert [chunk async for chunk in subscription] == [FINISH]


async def test_a_version_that_the_seed_opens_supersedes_ours_for_readers(
    seed: Seed, service: DurableStreamService[Chunk]
) -> None:
    async with service.publisher("s") as pub:
        await pub.write(text(0))
    await seed.write("s", 1, text(1), FINISH)
    assert [chunk async for chunk in service.subscribe("s")] == [text(1), FINISH]


async def test_versions_count_on_from_the_higher_of_both_tables(
    seed: Seed, store: PostgresStore
) -> None:
    await seed.write("s", 4, text(0))
    with pytest.raises(VersionConflict) as caught:
        await acquire(store, "s", 4)
    assert caught.value.latest == 4
    assert (await acquire(store, "s")).version == 5
    await seed.write("s", 9, text(0))
    assert (await acquire(store, "s")).version == 10


async def test_a_gap_ends_the_page_before_it(seed: Seed, store: PostgresStore) -> None:
    for id in (0, 1, 3, 4):
        await seed.insert("s", 0, id, text(id))
    [page] = await store.read([Position("s", None, 0)], max_rows=10, max_bytes=1000)
    assert [json.loads(payload) for payload in page.payloads] == texts(2)


async def test_a_gap_that_is_filled_delays_a_reader_only(
    seed: Seed, service: DurableStreamService[Chunk]
) -> None:
    for id, chunk in ((0, text(0)), (2, text(2)), (3, FINISH)):
        await seed.insert("s", 0, id, chunk)
    subscription = service.subscribe("s")
    assert await anext(subscription) == text(0)
    waiting = asyncio.create_task(anext(subscription))
    await seed.insert("s", 0, 1, text(1))
    assert await waiting == text(1)
    assert [chunk async for chunk in subscription] == [text(2), FINISH]


async def test_a_gap_that_stays_is_a_named_error(
    seed: Seed, service: DurableStreamService[Chunk]
) -> None:
    for id, chunk in ((0, text(0)), (2, text(2)), (3, FINISH)):
        await seed.insert("s", 0, id, chunk)
    subscription = service.subscribe("s")
    assert await anext(subscription) == text(0)
    async with asyncio.timeout(30):
        with pytest.raises(ChunksMissing) as caught:
            await anext(subscription)
    assert caught.value.id == 1


async def test_a_version_of_the_seed_has_a_status(
    seed: Seed, service: DurableStreamService[Chunk]
) -> None:
    await seed.write("s", 2, *texts(3))
    status = await service.status("s")
    assert (status.version, status.next_id, status.state, status.lost) == (2, 3, "open", False)


async def test_a_stream_of_the_seed_can_be_deleted(seed: Seed, store: PostgresStore) -> None:
    await seed.write("s", 0, text(0), FINISH)
    assert await store.delete("s") is True
    assert await store.info("s") is None
