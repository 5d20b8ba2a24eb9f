"""The checks of `monostream-ai doctor` on a SQLite file, each with its advice."""

from __future__ import annotations

import sqlite3
from collections.abc import AsyncIterator, Callable
from contextlib import aclosing

from sqlalchemy.ext.asyncio import create_async_engine

from monostream_ai.errors import MonostreamError
from monostream_ai.stores.sql.migrations import finding_on
from monostream_ai.stores.sqlite.file import DatabaseFile
from monostream_ai.stores.sqlite.log import LARGE_LOG, pages_left, size_of
from monostream_ai.stores.sqlite.store import sqlite_url
from monostream_ai.stores.sqlite.thread import SQLiteSchema, SQLiteThread
from monostream_ai.types import Finding


async def check_sqlite(url: str) -> AsyncIterator[Finding]:
    """Yield a finding for each check; the first failure ends them."""
    engine = create_async_engine(sqlite_url(url))
    file = DatabaseFile()
    checks: dict[str, Callable[[sqlite3.Connection], Finding]] = {
        "connect": _connect,
        "schema": lambda connection: finding_on(SQLiteSchema(connection)),
        "journal": lambda connection: _journal(connection, file),
        "lock": _lock,
        "presence": lambda connection: _presence(file),
    }
    async with aclosing(SQLiteThread(engine, file)) as thread:
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


def _journal(connection: sqlite3.Connection, file: DatabaseFile) -> Finding:
    left = pages_left(connection)
    size = size_of(file.log)
    if size > LARGE_LOG and left:
        advice = "a process keeps a read transaction open: end it, or let it go on"
        found = f"the write-ahead log has {size / 2**20:.0f} MiB and cannot be emptied"
        return Finding("journal", "warn", found, advice)
    return Finding("journal", "ok", f"write-ahead log, {size / 2**20:.1f} MiB")


def _presence(file: DatabaseFile) -> Finding:
    if file.presence is None:
        found = "a death is noticed when the lease runs out: there are no locks beside the file"
        advice = "put the file on a local file system, into a folder that this process may write to"
        return Finding("presence", "warn", found, advice)
    return Finding("presence", "ok", "the death of a process is noticed at once")


def _lock(connection: sqlite3.Connection) -> Finding:
    # Waits as long as a writer would.
    connection.execute("BEGIN IMMEDIATE")
    connection.execute("ROLLBACK")
    return Finding("lock", "ok", "the file can be written")
