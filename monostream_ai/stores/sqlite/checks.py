"""The checks of `monostream-ai doctor` on a SQLite file, each with its advice."""

from __future__ import annotations

import sqlite3
from collections.abc import AsyncIterator, Callable
from contextlib import aclosing
from pathlib import Path
from typing import Final

from sqlalchemy.ext.asyncio import create_async_engine

from monostream_ai.errors import MonostreamError
from monostream_ai.stores.sql.migrations import finding_on
from monostream_ai.stores.sqlite.store import sqlite_url
from monostream_ai.stores.sqlite.thread import SQLiteSchema, SQLiteThread
from monostream_ai.types import Finding

LARGE_LOG: Final = 64 * 1024 * 1024
"""Bytes of the write-ahead log; SQLite empties it at about 4 MiB where nothing prevents it."""


async def check_sqlite(url: str) -> AsyncIterator[Finding]:
    """Yield a finding for each check; the first failure ends them."""
    engine = create_async_engine(sqlite_url(url))
    path = Path(sqlite_url(url).database or "")
    checks: dict[str, Callable[[sqlite3.Connection], Finding]] = {
        "connect": _connect,
        "schema": lambda connection: finding_on(SQLiteSchema(connection)),
        "journal": lambda connection: _journal(connection, path),
        "lock": _lock,
    }
    async with aclosing(SQLiteThread(engine)) as thread:
        for name, check in checks.items():
            try:
                yield await thread.run(check)
            except MonostreamError as error:
                yield Finding(name, "fail", str(error))
                break
    await engine.dispose()


def _connect(connection: sqlite3.Connection) -> Finding:
    (pages,), (size,) = (
        connection.execute(f"PRAGMA {name}").fetchone() for name in ("page_count", "page_size")
    )
    return Finding(
        "connect", "ok", f"SQLite {sqlite3.sqlite_version}, {pages * size / 2**20:.1f} MiB"
    )


def _journal(connection: sqlite3.Connection, path: Path) -> Finding:
    log = Path(f"{path}-wal")
    size = log.stat().st_size if log.exists() else 0
    if size > LARGE_LOG:
        advice = "a process that hangs in a read keeps the log from being emptied: look for it"
        return Finding("journal", "warn", f"the write-ahead log has {size / 2**20:.0f} MiB", advice)
    return Finding("journal", "ok", f"write-ahead log, {size / 2**20:.1f} MiB")


def _lock(connection: sqlite3.Connection) -> Finding:
    # Waits as long as a writer would.
    connection.execute("BEGIN IMMEDIATE")
    connection.execute("ROLLBACK")
    return Finding("lock", "ok", "the file can be written")
