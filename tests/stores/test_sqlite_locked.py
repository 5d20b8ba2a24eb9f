"""A SQLite file locked by another program costs the outage timeout and a few attempts at most."""

from __future__ import annotations

import asyncio
import sqlite3
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
