"""Servers and workers are killed at random instants; each question gets one answer all the same."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import os
import random
from collections.abc import AsyncIterator
from typing import Any, Final

import asyncpg
import httpx
import procrastinate
import pytest

from monostream_ai import DurableStreamService, create_service
from monostream_ai.ui_messages import reduce_chunks
from tests.fastapi.chat_client import question, types_in
from tests.workers.conftest import PATIENCE, Start, kill_all, serve
from tests.workers.killed_app import ANSWER, PLACES, TABLES

KILLS: Final = int(os.environ.get("MONOSTREAM_KILLS", "2"))
"""`MONOSTREAM_KILLS=50 scripts/test tests/workers/test_kills.py` kills servers and workers 50 times
each.
"""

AT_ONCE: Final = 10
"""Kills in one test, which has two minutes."""

SEED: Final = int(os.environ.get("MONOSTREAM_SEED", random.randrange(2**32)))

WITHIN: Final = {"server": 0.1, "worker": 0.6}
"""Seconds after a question in which the kill comes: a server matters until a worker has the turn, a
worker until the answer has ended.
"""


class Program:
    """A server or a worker that can be killed and started again."""

    def __init__(self, start: Start, environment: dict[str, str], kind: str) -> None:
        self._start, self._environment, self._kind = start, environment, kind
        self.url = ""
        self.start()

    def start(self) -> None:
        if self._kind == "server":
            application = "--factory tests.workers.killed_app:create_app"
            self._process, self.url = serve(self._start, application, self._environment)
        else:
            self._process = self._start(
                "-m", "tests.workers.killed_app", environment=self._environment
            )

    @property
    def lives(self) -> bool:
        return self._process.poll() is None

    def wait(self) -> None:
        self._process.wait(PATIENCE)

    def kill(self) -> None:
        kill_all(self._process)


@pytest.fixture
async def database(postgres_url: str) -> AsyncIterator[asyncpg.Connection]:
    """A connection to the database that all processes share, with the tables of the queue."""
    plain = postgres_url.replace("+asyncpg", "")
    queue = procrastinate.App(connector=procrastinate.PsycopgConnector(conninfo=plain))
    async with queue.open_async():
        await queue.schema_manager.apply_schema_async()
    connection = await asyncpg.connect(plain)
    await connection.execute(TABLES)
    yield connection
    await connection.close()


async def read_to_the_end(http: httpx.AsyncClient, urls: itertools.cycle[str], asked: Any) -> str:
    """Ask as a page does that tries again: it repeats its question until a server has taken it, and
    then resumes; return the body that ended.
    """
    taken = False
    while True:
        url = f"{next(urls)}/api/chat"
        try:
            if taken:
                response = await http.get(f"{url}/{asked['id']}/stream")
            else:
                async with http.stream("POST", url, json=asked) as response:
                    taken = response.status_code == 200
                    await response.aread()
            if response.status_code == 200 and types_in(response.text)[-1:] == ["finish"]:
                return response.text
        except httpx.TransportError:
            pass
        await asyncio.sleep(0.05)


@pytest.mark.parametrize("victim", ["server", "worker"])
@pytest.mark.parametrize("done", range(0, KILLS, AT_ONCE))
async def test_each_question_gets_one_answer(
    victim: str, done: int, postgres_url: str, database: asyncpg.Connection, start: Start
) -> None:
    chance = random.Random(f"{SEED} {victim} {done}")
    environment = {"DATABASE_URL": postgres_url.replace("+asyncpg", "")}
    kills = min(AT_ONCE, KILLS - done)
    programs = {kind: [Program(start, environment, kind) for _ in range(2)] for kind in WITHIN}
    async with (
        httpx.AsyncClient(timeout=PATIENCE) as http,
        create_service(postgres_url) as stored,
    ):
        for number in range(kills):
            chat_id = f"c{number}"
            killed, other = programs["server"]
            urls = itertools.cycle([killed.url, other.url])
            page = asyncio.create_task(read_to_the_end(http, urls, question(chat_id)))
            await asyncio.sleep(chance.uniform(0.0, WITHIN[victim]))
            programs[victim][0].kill()
            await page
            programs[victim][0].start()
            programs[victim].reverse()
            async with asyncio.timeout(PATIENCE):
                while not await finished(database, chat_id):
                    await asyncio.sleep(0.05)
            await check_answer(stored, database, chat_id)


@pytest.mark.parametrize("place", PLACES)
async def test_a_death_at_any_place_loses_no_question(
    place: str, postgres_url: str, database: asyncpg.Connection, start: Start
) -> None:
    environment = {"DATABASE_URL": postgres_url.replace("+asyncpg", "")}
    programs = {kind: Program(start, environment, kind) for kind in WITHIN}
    victim = programs[PLACES[place]]
    async with httpx.AsyncClient(timeout=PATIENCE) as http, create_service(postgres_url) as stored:
        # It asks once, and comes back to nothing.
        with contextlib.suppress(httpx.TransportError):
            url = f"{programs['server'].url}/api/chat"
            async with http.stream("POST", url, json=question(place)):
                pass
        async with asyncio.timeout(PATIENCE):
            await asyncio.to_thread(victim.wait)
            victim.start()
            while not await finished(database, place):
                assert all(program.lives for program in programs.values())
                await asyncio.sleep(0.05)

        await check_answer(stored, database, place)


async def check_answer(
    stored: DurableStreamService[Any], database: asyncpg.Connection, chat_id: str
) -> None:
    """Check that a question has one whole answer, which no two processes have written at once."""
    [version] = await stored.versions(f"chat:{chat_id}")
    message = reduce_chunks(await stored.chunks(f"chat:{chat_id}"), finished=True)
    text = "".join(part["text"] for part in message["parts"] if part["type"] == "text")
    assert (version.version, version.state, text) == (0, "closed", ANSWER), f"seed {SEED}"
    runs = await database.fetch("SELECT attempt FROM ran WHERE chat_id = $1", chat_id)
    assert len({run["attempt"] for run in runs}) == len(runs) > 0, f"seed {SEED}"
    assert {*await finished(database, chat_id)} == {(0, "finish")}


async def finished(database: asyncpg.Connection, chat_id: str) -> list[tuple[int, str]]:
    rows = await database.fetch("SELECT version, ending FROM finished WHERE chat_id = $1", chat_id)
    return [(row["version"], row["ending"]) for row in rows]
