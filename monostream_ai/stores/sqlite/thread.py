"""One SQLite connection with its thread: each piece of work is one hop to the thread, however many
statements it has.
"""

from __future__ import annotations

import asyncio
import sqlite3
import time
from collections.abc import Callable
from typing import Any, Final, TypeVar

from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from monostream_ai.errors import MonostreamError
from monostream_ai.stores.sql.migrations import problem_with
from monostream_ai.stores.sql.translation import as_unavailable
from monostream_ai.stores.sqlite.setup import SQLiteSchema

T = TypeVar("T")

BUSY_TIMEOUT: Final = 2.0
"""Seconds to wait for another process's transaction; appends and reads are tried again after it."""


class SQLiteThread:
    """Runs functions on a connection, one after another. Connects on first use and takes no place
    in the engine's pool.
    """

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine
        self._connection: AsyncConnection | None = None
        self._driver: Any = None
        self._connecting: asyncio.Task[None] | None = None

    async def run(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """Run the work on the thread.

        Raises:
            StoreUnavailable: The database is locked, full, or cannot be opened.
            SchemaMissing, SchemaMismatch, SchemaOutdated: The tables are not there, not ours, or
                older than this package.
        """
        try:
            if self._connection is None:
                await self._connected()
            return await self._hop(work)
        except MonostreamError:
            raise
        except Exception as error:
            translated = await self._translated(error)
            if translated is None:
                raise
            raise translated from error

    async def write(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """Run the work in one transaction that holds the write lock from its start; raises as
        `run`.
        """

        def transaction(connection: sqlite3.Connection) -> T:
            # A transaction that reads first and writes later fails at once when another process
            # wrote in between.
            connection.execute("BEGIN IMMEDIATE")
            try:
                result = work(connection)
                connection.execute("COMMIT")
            except BaseException:
                if connection.in_transaction:
                    connection.execute("ROLLBACK")
                raise
            return result

        return await self.run(transaction)

    async def aclose(self) -> None:
        """Close the connection and end its thread, after the work that is queued on it."""
        if self._connecting is not None:
            await asyncio.wait([self._connecting])
        connection, self._connection, self._driver = self._connection, None, None
        if connection is not None:
            await connection.close()

    async def _connected(self) -> None:
        if self._connecting is None:
            self._connecting = asyncio.get_running_loop().create_task(self._connect())
        # A connection that is half made when its user is cancelled would leave its thread behind.
        await asyncio.shield(self._connecting)

    async def _connect(self) -> None:
        try:
            connection = await self._engine.connect()
            try:
                self._driver = (await connection.get_raw_connection()).driver_connection
                await connection.run_sync(lambda sync: sync.detach())
                await self._hop(_configure)
            except BaseException:
                # The engine forgets a detached connection that fails, and with it the thread.
                if self._driver is not None:
                    await self._driver.close()
                await connection.invalidate()
                raise
            self._connection = connection
        finally:
            self._connecting = None

    async def _hop(self, work: Callable[[sqlite3.Connection], T]) -> T:
        # aiosqlite has no public way to run a function of ours on its thread, and a hop for each
        # statement would cost more than the statements. Its own methods are all made of this call.
        result: T = await self._driver._execute(work, self._driver._conn)
        return result

    async def _translated(self, error: Exception) -> MonostreamError | None:
        if (
            isinstance(error, sqlite3.OperationalError)
            and error.sqlite_errorcode == sqlite3.SQLITE_ERROR
        ):
            problem = await self._hop(lambda connection: problem_with(SQLiteSchema(connection)))
            if problem is not None:
                return problem
        return as_unavailable(error)


def _configure(connection: sqlite3.Connection) -> None:
    connection.isolation_level = None
    connection.execute(f"PRAGMA busy_timeout = {int(BUSY_TIMEOUT * 1000)}")
    _use_wal(connection)
    connection.execute("PRAGMA synchronous = NORMAL")


def _use_wal(connection: sqlite3.Connection) -> None:
    # The switch needs the file for itself and does not wait for it, so two processes that start
    # together collide.
    deadline = time.monotonic() + BUSY_TIMEOUT
    while connection.execute("PRAGMA journal_mode").fetchone() != ("wal",):
        try:
            connection.execute("PRAGMA journal_mode = WAL")
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode != sqlite3.SQLITE_BUSY or time.monotonic() > deadline:
                raise
            time.sleep(0.01)
