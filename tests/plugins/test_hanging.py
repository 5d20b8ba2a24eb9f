from __future__ import annotations

from pathlib import Path

from tests.plugins.trying import run_pytest

HANGING = """
import asyncio
import pytest
from tests.plugins import services

services.TEST_TIMEOUT = 0.1

@pytest.fixture
async def chats(no_task_is_left):
    yield []

@pytest.fixture
async def server(chats):
    stop = asyncio.Event()
    serving = asyncio.create_task(stop.wait())
    yield serving
    stop.set()
    await serving

async def test_a(server, chats):
    chats.append("a")
    await asyncio.Event().wait()

async def test_b(server, chats):
    assert chats == []
"""


def test_a_test_that_hangs_fails_alone(tmp_path: Path) -> None:
    (tmp_path / "test_hanging.py").write_text(HANGING)
    options = "-p", "pytest_asyncio.plugin", "-o", "asyncio_mode=auto"

    done = run_pytest(tmp_path, "tests.plugins.services", *options)

    assert " 1 failed, 1 passed in " in done.stdout.splitlines()[-1]
