"""Each recipe of `examples/workers` answers, with a real server and a real worker of its queue, and
each answer is one trace.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
from pathlib import Path
from typing import Any, Final

import httpx
import pytest

from tests.fastapi.chat_client import chunks_in, question, types_in
from tests.plugins.redis import RedisServer
from tests.workers.conftest import EXAMPLES, PATIENCE, Start, kill_all, serve

WORKERS: Final = {
    "procrastinate": "-m procrastinate --app procrastinate_chat.queue worker".split(),
    "taskiq": f"-m taskiq worker --workers 1 --app-dir {EXAMPLES} taskiq_chat:broker".split(),
    "celery": f"-m celery --workdir {EXAMPLES} --app celery_chat:queue worker -c 2".split(),
    "dbos": [str(EXAMPLES / "dbos_chat.py")],
}
"""The command of each recipe, as its docstring has it."""

TABLES: Final = {
    "procrastinate": "-m procrastinate --app procrastinate_chat.queue schema --apply",
    "dbos": "-c __import__('dbos.cli.cli').cli.cli.app() migrate --sys-db-url {url}",
}
"""The command that makes the tables of a queue."""


@pytest.fixture(params=WORKERS)
def recipe(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def spans(tmp_path: Path) -> Path:
    """The file to which all processes append their spans."""
    return tmp_path / "spans"


@pytest.fixture
def environment(
    recipe: str, postgres_url: str, spans: Path, request: pytest.FixtureRequest
) -> dict[str, str]:
    plain = postgres_url.replace("+asyncpg", "")
    path = os.pathsep.join([str(EXAMPLES), str(Path(__file__).parent / "traced")])
    found = {"DATABASE_URL": plain, "PAUSE": "0.05", "PYTHONPATH": path, "SPANS": str(spans)}
    if recipe in ("taskiq", "celery"):
        server: RedisServer = request.getfixturevalue("redis_server")
        scheme = "redis+socket" if recipe == "celery" else "unix"
        found["REDIS_URL"] = server.url.replace("unix", scheme, 1)
    return found


def text_in(body: str) -> str:
    return "".join(chunk.get("delta", "") for chunk in chunks_in(body))


@pytest.fixture
def prepared(recipe: str, environment: dict[str, str], start: Start) -> None:
    """The tables of the queue are there."""
    if command := TABLES.get(recipe):
        url = environment["DATABASE_URL"]
        process = start(*command.format(url=url).split(), environment=environment)
        assert process.wait(PATIENCE) == 0


@pytest.mark.usefixtures("prepared")
@pytest.mark.parametrize("end", [signal.SIGTERM, signal.SIGKILL], ids=lambda end: end.name)
async def test_a_worker_answers_and_another_one_goes_on_when_it_ends(
    recipe: str, environment: dict[str, str], spans: Path, start: Start, end: signal.Signals
) -> None:
    _, url = serve(start, f"--app-dir {EXAMPLES} {recipe}_chat:app", environment)
    worker = start(*WORKERS[recipe], environment=environment)
    async with httpx.AsyncClient(timeout=PATIENCE) as http:
        answer = text_in((await http.post(f"{url}/api/chat", json=question("c0"))).text)

        asked = asyncio.create_task(http.post(f"{url}/api/chat", json=question()))
        async with asyncio.timeout(PATIENCE):
            while (await status(http, url))["chunks"] < 10:
                assert worker.poll() is None
                await asyncio.sleep(0.02)
        if end == signal.SIGKILL:
            kill_all(worker)
        else:
            worker.terminate()
        start(*WORKERS[recipe], environment=environment)
        body = (await asked).text
        found = await status(http, url)

    assert answer.startswith("Every question gets its answer")
    assert text_in(body) == answer
    assert types_in(body)[-1] == "finish"
    assert (found["state"], found["version"]) == ("closed", 0)
    # One that is told to exit may write the answer to its end first.
    assert found["attempt"] == 2 or (end == signal.SIGTERM and found["attempt"] == 1)
    async with asyncio.timeout(PATIENCE):
        # A worker ends its span after the page has the answer.
        while not (run := run_of(spans, found["attempt"])):
            await asyncio.sleep(0.02)
    check_trace(spans, run)


LISTENS: Final = """
import asyncio, taskiq_chat

async def main():
    try:
        async with asyncio.timeout(6):
            await anext(taskiq_chat.broker.listen())
    except TimeoutError:
        print("nothing came")

asyncio.run(main())
"""
"""Waits for a turn for longer than a read of redis takes by default."""


@pytest.mark.parametrize("recipe", ["taskiq"], indirect=True)
async def test_a_worker_of_taskiq_waits_in_silence(
    environment: dict[str, str], start: Start
) -> None:
    worker = start("-c", LISTENS, environment=environment)
    assert worker.wait(PATIENCE) == 0


def of_chat(spans: Path) -> list[dict[str, Any]]:
    """Return the spans of the killed turn."""
    ended = [
        json.loads(line) for line in spans.read_text().splitlines(keepends=True) if "\n" in line
    ]
    return [each for each in ended if each["attributes"].get("gen_ai.conversation.id") == "c1"]


def run_of(spans: Path, attempt: int) -> dict[str, Any] | None:
    runs = [each for each in of_chat(spans) if each["name"] == "invoke_agent"]
    return next((run for run in runs if run["attributes"]["monostream.attempt"] == attempt), None)


def check_trace(spans: Path, run: dict[str, Any]) -> None:
    """Check that the last run of a turn goes on in the trace of its question, elsewhere."""
    [asked] = [each for each in of_chat(spans) if each["name"] == "question"]
    assert run["context"]["trace_id"] == asked["context"]["trace_id"]
    assert run["parent_id"] == asked["context"]["span_id"]
    assert run["attributes"]["monostream.ending"] == "finish"
    assert run["pid"] != asked["pid"]


async def status(http: httpx.AsyncClient, url: str) -> dict[str, Any]:
    found: dict[str, Any] = (await http.get(f"{url}/api/chat/c1/status")).json()
    return found
