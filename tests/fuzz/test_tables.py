"""The fuzzers read the rows a database holds, past the store."""

from __future__ import annotations

import asyncio
import sqlite3
from pathlib import Path

import pytest

from fuzz.chunks import FINISH, PROTOCOL
from fuzz.tables import SQLiteTables, Stored
from monostream_ai import DurableStreamService
from monostream_ai.stores.sql import SQLiteStore


@pytest.fixture
async def path(tmp_path: Path) -> str:
    path = str(tmp_path / "streams.db")
    async with DurableStreamService(
        SQLiteStore.from_url(f"sqlite+aiosqlite:///{path}"), None, PROTOCOL, create_tables=True
    ) as service:
        for stream in ("a", "b"):
            async with service.publisher(stream) as pub:
                await pub.write({"type": "text", "of": stream})
    return path


def execute(path: str, statement: str) -> None:
    with sqlite3.connect(path) as connection:
        connection.execute(statement)


async def test_streams_that_are_asked_for_at_once_are_told_apart(path: str) -> None:
    tables = SQLiteTables(path)
    first, second, unknown = await asyncio.gather(
        *(tables.versions(stream) for stream in ("a", "b", "c"))
    )
    assert first == {0: Stored("closed", 2, ['{"type":"text","of":"a"}', FINISH])}
    assert second == {0: Stored("closed", 2, ['{"type":"text","of":"b"}', FINISH])}
    assert unknown == {}


async def test_a_chunk_that_is_gone_is_noticed(path: str) -> None:
    execute(path, "DELETE FROM stream_chunk WHERE stream_id = 'a' AND id = 0")
    assert (await SQLiteTables(path).versions("a"))[0].payloads == [f"id 1: {FINISH}"]


async def test_a_chunk_of_no_version_is_noticed(path: str) -> None:
    execute(path, "UPDATE stream_chunk SET version = 7 WHERE stream_id = 'a' AND id = 0")
    assert (await SQLiteTables(path).versions("a"))[7] == Stored(
        None, 0, ['{"type":"text","of":"a"}']
    )


async def test_a_stream_that_is_forgotten_is_deleted_and_no_other(path: str) -> None:
    tables = SQLiteTables(path)
    await tables.forget("a")
    await tables.aclose()
    assert await tables.versions("a") == {}
    assert len(await tables.versions("b")) == 1


async def test_tables_that_cannot_be_read_are_an_error_for_each_caller(tmp_path: Path) -> None:
    with pytest.raises(sqlite3.OperationalError):
        await SQLiteTables(str(tmp_path / "none.db")).versions("a")
