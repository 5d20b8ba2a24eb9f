"""On a full disk, SQLite keeps every acknowledged chunk and fails within the outage timeout."""

from __future__ import annotations

import asyncio
import os
import sqlite3
from collections.abc import AsyncIterator, Iterator

import pytest

from fuzz.parts.disk import LimitedFiles, SmallDisk, make_disk
from monostream_ai import DurableStreamService, create_service
from monostream_ai.errors import StoreUnavailable
from tests.chunks import FINISH, PROTOCOL, Chunk, text, texts

Service = DurableStreamService[Chunk]

PATIENCE = 10.0
OWN = [os.getpid()]


@pytest.fixture
def disk() -> Iterator[SmallDisk | LimitedFiles]:
    disk = make_disk()
    yield disk
    disk.free(OWN)
    disk.close()


@pytest.fixture
async def service(disk: SmallDisk | LimitedFiles, no_task_is_left: None) -> AsyncIterator[Service]:
    url = f"sqlite+aiosqlite:///{disk.directory}/streams.db"
    async with create_service(url, PROTOCOL, lease=60.0, outage_timeout=1.0) as service:
        yield service


def big(number: int) -> Chunk:
    # More than fits into the free pages of the write-ahead log.
    return text(number) | {"text": "x" * 500_000}


async def test_a_write_waits_until_there_is_room(
    service: Service, disk: SmallDisk | LimitedFiles
) -> None:
    async with service.publisher("s") as pub:
        await pub.write(*texts(3))
        failed = asyncio.Event()
        service.on_error(lambda source, error: failed.set())
        disk.fill(OWN)
        writing = asyncio.create_task(pub.write(big(3)))
        async with asyncio.timeout(PATIENCE):
            await failed.wait()
        disk.free(OWN)
        async with asyncio.timeout(PATIENCE):
            assert await writing == 3
    assert await service.chunks("s") == [*texts(3), big(3), FINISH]


async def test_a_disk_that_stays_full_is_a_named_error(
    service: Service, disk: SmallDisk | LimitedFiles
) -> None:
    pub = await service.publisher("s").open()
    await pub.write(*texts(3))
    disk.fill(OWN)
    async with asyncio.timeout(PATIENCE):
        with pytest.raises(StoreUnavailable):
            await pub.write(big(3))
    assert await service.chunks("s") == texts(3)
    disk.free(OWN)
    async with service.publisher("s") as successor:
        assert successor.version == 1
    connection = sqlite3.connect(disk.directory / "streams.db")
    assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    connection.close()
