"""Two server processes share a database; the writing one is killed at random points.

Readers get a whole message all the same.
"""

from __future__ import annotations

import asyncio
import json
import os
import random
from typing import Any, Final

import httpx
import pytest

from monostream_ai import DurableStreamService
from monostream_ai.types import Cursor
from monostream_ai.ui_messages import reduce_chunks
from tests.fastapi.chat_client import question
from tests.fastapi_processes.chat_server import answer
from tests.fastapi_processes.conftest import ForkedServer, ForkServer
from tests.fastapi_processes.page import Chunk, Page

SEED: Final = int(os.environ.get("MONOSTREAM_SEED", random.randrange(2**32)))

PAIRS: Final = 5
"""Pairs of processes that are killed concurrently, since most of the time is spent on leases."""

WORDS: Final = 40
ANSWER: Final = answer(words=WORDS)


@pytest.fixture
def kills(request: pytest.FixtureRequest) -> int:
    """How often to kill in one test. A kill takes a second, or five on an overloaded machine."""
    return 5 if request.config.getoption("sample") else 25


class Killer:
    """Kills the process that writes an answer, then starts it again.

    The kill comes once a page has seen `after` chunks of the answer, or all of it.
    """

    def __init__(
        self, servers: list[ForkedServer], chance: random.Random, killed: set[int]
    ) -> None:
        self._servers = servers
        self._chance = chance
        self._killed = killed
        self._seen = asyncio.Event()
        self._answered = False
        self._writer: int | None = None
        self._version = -1
        self._after = 0

    async def kill(self, *, version: int, after: int) -> None:
        """Wait until this version, or a newer one, has `after` chunks, and kill its writer."""
        self._version, self._after = version, after
        self._seen.clear()
        if after > 0 and not self._answered:
            await self._seen.wait()
        # Hit any instruction, not only the one right after an append.
        await asyncio.sleep(self._chance.uniform(0.0, 0.01))
        server = next(
            (server for server in self._servers if server.pid == self._writer), self._servers[0]
        )
        self._killed.add(server.pid or 0)
        await asyncio.to_thread(server.kill)
        await asyncio.to_thread(server.start)

    def look(self, cursor: Cursor | None, chunk: Chunk) -> None:
        if chunk["type"] == "data-writer":
            self._writer = chunk["data"]
        self._answered = chunk["type"] in ("finish", "error")
        if self._answered or (
            cursor is not None and cursor.version >= self._version and cursor.id >= self._after
        ):
            self._seen.set()


class Pair:
    """Two server processes, and for each round the pages that read one answer."""

    def __init__(
        self, start: ForkServer, http: httpx.AsyncClient, name: str, seed: str, **options: Any
    ) -> None:
        # Only these two processes may take over each other's turns.
        self.stream_prefix = f"{name}:"
        self._servers = [start(stream_prefix=self.stream_prefix, **options) for _ in range(2)]
        self._http = http
        self._name = name
        self._chance = random.Random(seed)
        self.goes_on = options.get("on_lost") == "continue"
        self.killed: set[int] = set()
        self.kills = 0
        self.read: dict[str, list[Page]] = {}

    async def rounds(self, kills: int) -> None:
        while self.kills < kills:
            await self._round(f"{self._name}-{len(self.read)}", kills - self.kills)

    async def _round(self, chat_id: str, most: int) -> None:
        self._chance.shuffle(self._servers)
        killer = Killer(self._servers, self._chance, self.killed)
        asker = self._page(
            chat_id, question=question(chat_id, id=f"u-{chat_id}"), on_chunk=killer.look
        )
        others = [self._page(chat_id), self._page(chat_id), self._page(chat_id, by_event=True)]
        self.read[chat_id] = [asker, *others]
        async with asyncio.TaskGroup() as group:
            for page in self.read[chat_id]:
                group.create_task(page.read())
            for number in range(min(most, self._chance.choice([1, 1, 2]))):
                version = 0 if self.goes_on else number
                await killer.kill(version=version, after=self._chance.randrange(WORDS + 4))
                self.kills += 1

    def _page(self, chat_id: str, **options: Any) -> Page:
        return Page(
            self._http, lambda: [server.url for server in self._servers], chat_id, **options
        )


def start_pairs(start: ForkServer, http: httpx.AsyncClient, *, on_lost: str) -> list[Pair]:
    return [
        Pair(start, http, f"p{number}", f"{SEED}-{number}", on_lost=on_lost, words=WORDS)
        for number in range(PAIRS)
    ]


async def kill(pairs: list[Pair], kills: int) -> None:
    print(f"seed {SEED}")
    async with asyncio.TaskGroup() as group:
        for pair in pairs:
            group.create_task(pair.rounds(kills // len(pairs)))


async def handed_over(database: Any, pair: Pair, chat_id: str) -> Any:
    """Return the `on_finish` record of a chat's only turn.

    A process killed before it could report its call may have left an earlier record.
    """
    rows = await database.fetch(
        "SELECT * FROM handed_over WHERE chat_id = $1 ORDER BY number", chat_id
    )
    assert {row["pid"] for row in rows[:-1]} <= pair.killed, (
        f"{chat_id} was finished more than once"
    )
    return rows[-1] if rows else None


async def all_handed_over(database: Any, pairs: list[Pair]) -> None:
    """Wait until `on_finish` was called for each turn.

    If a process dies before the call, another one calls after a minute. Here that time is cut to a
    quarter, for turns of which no process has recorded a call yet.
    """
    async with asyncio.timeout(60):
        while waiting := [
            pair.stream_prefix + chat_id
            for pair in pairs
            for chat_id in pair.read
            if await handed_over(database, pair, chat_id) is None
        ]:
            await database.execute(
                "UPDATE stream_version SET attended_until = now() - interval '1 second' "
                "WHERE attendant IS NOT NULL AND state = 'closed' AND stream_id = ANY($1) "
                "AND attended_until BETWEEN now() + interval '5 seconds' "
                "AND now() + interval '45 seconds'",
                waiting,
            )
            await asyncio.sleep(0.1)


async def check(database: Any, stored: DurableStreamService[Any], pair: Pair, chat_id: str) -> str:
    """Check that pages, store and application have the same message; return its ending."""
    turn = await stored.status(pair.stream_prefix + chat_id)
    chunks = await stored.chunks(turn.stream_id)
    row = await handed_over(database, pair, chat_id)
    assert (turn.state, row["version"]) == ("closed", turn.version)
    for page in pair.read[chat_id]:
        assert page.versions == sorted(page.versions) and page.versions[-1] == turn.version
        assert page.message == reduce_chunks(chunks)
        assert page.types.count("finish") == page.types.count("start") == 1
        writers = page.types.count("data-writer")
        # A process may be killed between its first chunk and this one.
        assert ("text-start" in page.types) <= writers <= (turn.attempt if pair.goes_on else 1)
    handed = json.loads(row["message"])
    assert {**handed, "metadata": None} == {
        **reduce_chunks(chunks, finished=True),
        "metadata": None,
    }
    ending: str = chunks[-1]["type"]
    assert row["ending"] == ending
    assert ("failed" in handed.get("metadata", {})) == (ending == "error")
    return ending


async def test_readers_get_the_whole_answer_however_often_its_writer_is_killed(
    fork_server: ForkServer,
    http: httpx.AsyncClient,
    database: Any,
    stored: DurableStreamService[Any],
    kills: int,
) -> None:
    pairs = start_pairs(fork_server, http, on_lost="retry")
    await kill(pairs, kills)
    await all_handed_over(database, pairs)

    assert sum(pair.kills for pair in pairs) == kills
    for pair in pairs:
        for chat_id, pages in pair.read.items():
            assert await check(database, stored, pair, chat_id) == "finish"
            assert {page.text for page in pages} == {ANSWER}
    breaks = sum(page.breaks for pair in pairs for pages in pair.read.values() for page in pages)
    print(f"{sum(len(pair.read) for pair in pairs)} answers, {breaks} breaks")
    assert breaks >= kills


async def test_an_answer_goes_on_in_its_version_though_its_writer_is_killed(
    fork_server: ForkServer,
    http: httpx.AsyncClient,
    database: Any,
    stored: DurableStreamService[Any],
    kills: int,
) -> None:
    pairs = start_pairs(fork_server, http, on_lost="continue")
    await kill(pairs, kills)
    await all_handed_over(database, pairs)

    attempts = []
    for pair in pairs:
        for chat_id, pages in pair.read.items():
            turn = await stored.status(pair.stream_prefix + chat_id)
            assert await check(database, stored, pair, chat_id) == "finish", turn
            assert {page.text for page in pages} == {ANSWER}
            assert {*pages[0].versions} == {0}
            attempts.append(turn.attempt)
    assert max(attempts) > 1


async def test_readers_get_one_marked_error_when_a_lost_answer_is_not_run_again(
    fork_server: ForkServer,
    http: httpx.AsyncClient,
    database: Any,
    stored: DurableStreamService[Any],
    kills: int,
) -> None:
    pairs = start_pairs(fork_server, http, on_lost="error")
    await kill(pairs, kills)
    await all_handed_over(database, pairs)

    endings = []
    for pair in pairs:
        for chat_id, pages in pair.read.items():
            endings.append(await check(database, stored, pair, chat_id))
            assert all(ANSWER.startswith(page.text) for page in pages)
    assert "error" in endings
