"""A file is saved while an answer runs: the next process goes on with it at once."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from typing import Any

import httpx
import pytest

from monostream_ai import DurableStreamService
from tests.fastapi.chat_client import question
from tests.fastapi_processes.chat_server import answer
from tests.fastapi_processes.conftest import RunServer, until_it_answers
from tests.fastapi_processes.page import Chunk, Page
from tests.fastapi_processes.test_exits import LONG_LEASE

LONG_DRAIN = 40.0
"""Seconds; longer than a process takes to start on a busy machine."""


@pytest.mark.parametrize("name", ["uvicorn", "granian"])
async def test_an_answer_goes_on_at_once_when_a_file_is_saved(
    name: str,
    run_server: RunServer,
    http: httpx.AsyncClient,
    stored: DurableStreamService[Any],
    tmp_path: Path,
) -> None:
    module = tmp_path / "module.py"
    module.touch()
    server = run_server(
        name, watched=tmp_path, lease=LONG_LEASE, drain_timeout=LONG_DRAIN, words=60, pause=0.05
    )
    await until_it_answers(server.url)
    began, writers = asyncio.Event(), [0]
    restarted = 0.0

    def look(cursor: object, chunk: Chunk) -> None:
        nonlocal restarted
        if chunk["type"] == "data-writer" and chunk["data"] != writers[-1]:
            writers.append(chunk["data"])
            restarted = time.monotonic()
        elif chunk["type"] == "text-delta":
            began.set()

    page = Page(http, lambda: [server.url] * 2, "c1", question=question(), on_chunk=look)
    reading = asyncio.create_task(page.read())
    await began.wait()
    module.write_text("saved = True")
    saved = time.monotonic()
    await reading

    print(f"{name}: the answer went on {restarted - saved:.2f} s after the file was saved")
    # Most of it is the import of the application: a second or two on an idle machine.
    assert restarted - saved < LONG_DRAIN / 2
    assert len({*writers[1:]}) == 2
    assert page.text == answer(words=60)
    assert (await stored.status("chat:c1")).attempt == 2
