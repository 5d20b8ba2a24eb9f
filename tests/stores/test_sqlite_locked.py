"""A SQLite file locked by another program costs the outage timeout and a few attempts at most, and
one that commits without a pause keeps nobody out.
"""

from __future__ import annotations

import asyncio
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from monostream_ai import DurableStreamService, create_service
from monostream_ai.errors import StoreUnavailable
from tests.chunks import PROTOCOL, Chunk, text

PATIENCE = 9.0
"""In seconds. The outage timeout is one second, and an attempt waits two seconds for the lock."""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "streams.db"


@pytest.fixture
def service(path: Path, no_task_is_left: None) -> DurableStreamService[Chunk]:
    return create_service(f"sqlite+aiosqlite:///{path}", PROTOCOL, lease=3.0, outage_timeout=1.0)


@pytest.fixture
def intruder(path: Path) -> Iterator[sqlite3.Connection]:
    connection = sqlite3.connect(path, isolation_level=None)
    yield connection
    connection.close()


async def test_a_write_to_a_locked_file_ends_within_the_outage_timeout(
    service: DurableStreamService[Chunk], intruder: sqlite3.Connection
) -> None:
    async with service:
        pub = await service.publisher("s").open()
        intruder.execute("BEGIN IMMEDIATE")
        async with asyncio.timeout(PATIENCE):
            with pytest.raises(StoreUnavailable):
                await pub.write(text(0))
        intruder.execute("ROLLBACK")


async def test_a_stop_in_a_locked_file_ends_within_the_outage_timeout(
    service: DurableStreamService[Chunk], intruder: sqlite3.Connection
) -> None:
    async with service:
        await service.publisher("s").open()
        intruder.execute("BEGIN IMMEDIATE")
        async with asyncio.timeout(PATIENCE):
            with pytest.raises(StoreUnavailable):
                await service.stop("s")
        intruder.execute("ROLLBACK")


async def test_a_locked_file_does_not_keep_a_service_from_closing(
    service: DurableStreamService[Chunk], intruder: sqlite3.Connection
) -> None:
    pub = await service.publisher("s").open()
    await pub.write(text(0))
    intruder.execute("BEGIN IMMEDIATE")
    async with asyncio.timeout(PATIENCE):
        await service.aclose()
    intruder.execute("ROLLBACK")


BUSY_PROGRAM = """
import sqlite3, sys
connection = sqlite3.connect(sys.argv[1], isolation_level=None, timeout=60)
print("ready", flush=True)
while True:
    connection.execute("UPDATE other SET commits = commits + 1")
"""

MANY = 100_000
"""Commits of the other program. It needs a tenth of them, and needed five times as many."""


async def test_a_program_that_commits_without_a_pause_keeps_no_write_out(
    path: Path, intruder: sqlite3.Connection
) -> None:
    async with create_service(f"sqlite+aiosqlite:///{path}", PROTOCOL, lease=600.0) as service:
        async with service.publisher("s") as pub:
            intruder.execute("CREATE TABLE other (commits INTEGER)")
            intruder.execute("INSERT INTO other VALUES (0)")
            command = [sys.executable, "-c", BUSY_PROGRAM, str(path)]
            with subprocess.Popen(command, stdout=subprocess.PIPE) as program:
                assert program.stdout is not None
                await asyncio.to_thread(program.stdout.readline)
                try:
                    for number in range(100):
                        await pub.write(text(number))
                finally:
                    program.kill()
            [(commits,)] = intruder.execute("SELECT commits FROM other")
    assert 0 < commits < MANY
