"""Costs of many readers of event streams: reads, statements, connections and encoded frames."""

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncIterator
from typing import Any

import asyncpg
import pytest

from monostream_ai._reading.tailer import PAGE_ROWS, TAILS_PER_POLL
from monostream_ai._reading.waiting import WOKEN_AT_ONCE
from monostream_ai.chats.streaming.body import TurnBody
from monostream_ai.chats.streaming.replays.starting import Replay
from monostream_ai.fastapi import stream_response
from monostream_ai.types import Cursor
from tests.chunks import FINISH, text, texts
from tests.counts.statement_log import CountedProcess

PAGES = 5
JOINS = 100
PARKED = 2 * TAILS_PER_POLL


@pytest.fixture
async def writer(postgres_url: str, no_task_is_left: None) -> AsyncIterator[CountedProcess]:
    async with CountedProcess(postgres_url) as process:
        yield process


async def frames(process: CountedProcess, stream_id: str = "s") -> Any:
    """Return the iterator over what a response sends after its first comment."""
    response: Any = await stream_response(process.service, stream_id, version=0)
    body = aiter(response.body_iterator)
    await anext(body)
    return body


async def test_a_chunk_is_encoded_once_for_all_its_readers(writer: CountedProcess) -> None:
    pub = await writer.service.publisher("s").open()
    await pub.write(text(0))
    bodies = [await frames(writer) for _ in range(3)]
    assert {await anext(body) for body in bodies} == {b'id: 0.0\ndata: {"type":"text","n":0}\n\n'}

    waiting = [asyncio.create_task(anext(body)) for body in bodies]
    await asyncio.sleep(0)
    await pub.write(text(1))
    sent = await asyncio.gather(*waiting)

    assert [frame is sent[0] for frame in sent] == [True] * 3
    await pub.close()


@pytest.mark.parametrize("merged", [False, True])
async def test_a_hundred_that_join_at_once_share_the_reads_of_a_long_answer(
    postgres_url: str, writer: CountedProcess, merged: bool
) -> None:
    async with writer.service.publisher("s") as pub:
        for page in range(PAGES):
            await pub.write(*texts(PAGE_ROWS, page * PAGE_ROWS))

    async def replay() -> bytes:
        start = Replay(Cursor(0, -1), merge_before=PAGES * PAGE_ROWS * merged)
        body = TurnBody(reader.service, "s", start, on_lost=None, keep_alive=math.inf, profile="v7")
        return b"".join([frame async for frame in body])

    async with CountedProcess(postgres_url) as reader:
        replays = await asyncio.gather(*(replay() for _ in range(JOINS)))

    assert {replay.count(b"data: ") for replay in replays} == {PAGES * PAGE_ROWS + 2}
    # Readers that are woken together ask together.
    waves = math.ceil(JOINS / WOKEN_AT_ONCE)
    assert reader.statements["read"] <= waves * (PAGES + 1)
    assert reader.store.rows <= waves * PAGES * PAGE_ROWS


async def test_parked_readers_cost_a_statement_for_many_of_them_and_one_connection_that_listens(
    postgres_url: str, writer: CountedProcess
) -> None:
    pubs = [writer.service.publisher(f"p{number}") for number in range(PARKED)]
    await asyncio.gather(*(pub.open() for pub in pubs))
    await asyncio.gather(*(pub.write(text(0)) for pub in pubs))
    async with CountedProcess(postgres_url, poll_interval=0.5) as reader:
        bodies = [await frames(reader, f"p{number}") for number in range(PARKED)]
        await asyncio.gather(*map(anext, bodies))
        waiting = [asyncio.create_task(anext(body)) for body in bodies]
        statements, asked = reader.statements["read"], reader.store.asked
        async with asyncio.timeout(30):
            while reader.store.asked < asked + 2 * PARKED:
                await asyncio.sleep(0.1)
        rounds = (reader.store.asked - asked) / PARKED
        connection = await asyncpg.connect(postgres_url.replace("+asyncpg", ""))
        listening = await connection.fetchval(
            "SELECT count(*) FROM pg_stat_activity WHERE query LIKE 'LISTEN %'"
        )
        await connection.close()
        for task in waiting:
            task.cancel()
        await asyncio.gather(*waiting, return_exceptions=True)
        for body in bodies:
            body.close()

    # Streams that were opened together are polled together; a tick may divide them.
    assert reader.statements["read"] - statements <= (PARKED / TAILS_PER_POLL + 2) * (rounds + 1)
    assert listening == 2
    assert reader.store.rows == PARKED
    await asyncio.gather(*(pub.write(FINISH) for pub in pubs))
