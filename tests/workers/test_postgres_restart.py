"""Workers of procrastinate take questions soon, also after a restart of Postgres."""

from __future__ import annotations

import re
import time

import httpx

from tests.fastapi.chat_client import question
from tests.processes.conftest import PostgresServer, own_server
from tests.tutorial.steps import files_after
from tests.workers.conftest import EXAMPLES, PATIENCE, Start, serve
from tests.workers.test_recipes import TABLES, WORKERS

__all__ = ["own_server"]

SOON = 2.5
"""Seconds. A worker that polls by its default takes a question 5 s after the one before it."""

INTERVAL = re.compile(r'"fetch_job_polling_interval": ([0-9.]+)')


async def test_an_answer_begins_soon_after_postgres_has_restarted(
    own_server: PostgresServer, start: Start
) -> None:
    url = own_server.url.replace("+asyncpg", "")
    environment = {"DATABASE_URL": url, "PAUSE": "0", "PYTHONPATH": str(EXAMPLES)}
    tables = start(*TABLES["procrastinate"].split(), environment=environment)
    assert tables.wait(PATIENCE) == 0
    start(*WORKERS["procrastinate"], environment=environment)
    _, address = serve(start, f"--app-dir {EXAMPLES} procrastinate_chat:app", environment)

    async with httpx.AsyncClient(base_url=address, timeout=PATIENCE) as http:
        await seconds_until_answered(http, "before")
        own_server.stop()
        own_server.start()
        # The first of them waits until the processes have reconnected.
        waits = [await seconds_until_answered(http, f"c{number}") for number in range(4)]

    assert min(waits[1:]) < SOON


async def seconds_until_answered(http: httpx.AsyncClient, chat_id: str) -> float:
    began = time.monotonic()
    response = await http.post("/api/chat", json=question(chat_id))
    assert '"finish"' in response.text
    return time.monotonic() - began


def test_the_tutorial_polls_as_often_as_the_example() -> None:
    example = (EXAMPLES / "procrastinate_chat.py").read_text()
    assert INTERVAL.findall(files_after(8)["worker.py"]) == INTERVAL.findall(example) != []
