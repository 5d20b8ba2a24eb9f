"""A SQLite connection with a thread of its own, and the schema as it sees it.

Each piece of work is one hop to the thread, however many statements it runs.
"""

from __future__ import annotations

import asyncio
import logging
import random
import sqlite3
import time
from collections.abc import Callable
from typing import Any, Final, TypeVar

from sqlalchemy.dialects import sqlite
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine
from sqlalchemy.schema import CreateTable

from monostream_ai._periodic import start_task
from monostream_ai.errors import FileMoved, MonostreamError
from monostream_ai.stores.sql.migrations import Schema, problem_with
from monostream_ai.stores.sql.schema import metadata
from monostream_ai.stores.sql.translation import as_unavailable
from monostream_ai.stores.sqlite.file import DatabaseFile
from monostream_ai.stores.sqlite.log import LOG_LIMIT, WriteAheadLog, set_busy_timeout

logger = logging.getLogger(__name__)

T = TypeVar("T")

BUSY_TIMEOUT: Final = 2.0
"""Seconds to wait for another process's transaction; then the work is `StoreUnavailable`."""


LOCK_PAUSE: Final = (0.0005, 0.0015)
"""Bounds of the seconds between two tries to get the write lock."""

PRIMARY: Final = 0xFF
"""Mask of the primary code in an extended one of SQLite."""


class SQLiteSchema(Schema):
    """Our tables in a SQLite file."""

    instant = "double"

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    def columns(self, table: str) -> set[str]:
        names = self._connection.execute("SELECT name FROM pragma_table_info(?)", (table,))
        return {name for (name,) in names}

    def create_missing(self) -> None:
        for table in metadata.sorted_tables:
            create = CreateTable(table, if_not_exists=True)
            self.execute(str(create.compile(dialect=sqlite.dialect())))

    def execute(self, statement: str) -> None:
        self._connection.execute(statement)

    def steps_taken(self) -> set[int]:
        versions = self._connection.execute("SELECT version FROM monostream_schema")
        return {version for (version,) in versions}


class SQLiteThread:
    """Runs functions on a connection, one after another, in the order of the calls.

    Connects on first use. The connection leaves the engine's pool and takes no slot in it. Its
    fields are set on the event loop only; the connection itself is touched on its thread only.

    Args:
        file: Shared by all connections of a store, so that they agree on the file.
    """

    def __init__(self, engine: AsyncEngine, file: DatabaseFile) -> None:
        self.log = WriteAheadLog(file, BUSY_TIMEOUT)
        self.commits = 0
        """Twice the commits of this connection, and one more during a commit."""
        self._engine = engine
        self._file = file
        self._connection: AsyncConnection | None = None
        self._driver: Any = None
        self._connecting: asyncio.Task[None] | None = None

    async def run(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """Run the work on the thread and return its result.

        Raises:
            StoreUnavailable: The database is locked, full, or cannot be opened.
            FileMoved: The path leads to another file by now, or to none.
            SchemaMissing, SchemaMismatch, SchemaOutdated: The tables do not exist, are not ours, or
                are older than this package.
        """

        def checked(connection: sqlite3.Connection) -> T:
            result = work(connection)
            # After the work: rows that were read before the file was moved are still true.
            self._file.check()
            return result

        return await self._run(checked)

    async def write(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """Run the work in one transaction that holds the write lock from its start; raises as
        `run`.
        """

        def transaction(connection: sqlite3.Connection) -> T:
            _begin(connection)
            try:
                result = work(connection)
                # Behind the wait for the lock: nothing is acknowledged in a file that is gone.
                self._file.check()
                self.commits += 1
                try:
                    connection.execute("COMMIT")
                finally:
                    self.commits += 1
            except BaseException:
                if connection.in_transaction:
                    connection.execute("ROLLBACK")
                raise
            self.log.tend(connection)
            return result

        return await self._run(transaction)

    async def aclose(self) -> None:
        """Close the connection and end its thread, after the work that is queued on it."""
        if self._connecting is not None:
            await asyncio.wait([self._connecting])
        connection, self._connection, self._driver = self._connection, None, None
        if connection is not None:
            await connection.close()

    async def _run(self, work: Callable[[sqlite3.Connection], T]) -> T:
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

    async def _connected(self) -> None:
        if self._connecting is None:
            self._connecting = start_task(self._connect())
        # Shielded: cancelling a half-made connection would leave its thread behind.
        await asyncio.shield(self._connecting)

    async def _connect(self) -> None:
        try:
            connection = await self._engine.connect()
            try:
                self._driver = (await connection.get_raw_connection()).driver_connection
                await connection.run_sync(lambda sync: sync.detach())
                await self._hop(_configure)
                await self._hop(self._file.recognise)
            except BaseException:
                # The engine does not know a detached connection: only we can end its thread.
                if self._driver is not None:
                    await self._driver.close()
                await connection.invalidate()
                raise
            self._connection = connection
            logger.debug("opened a connection to %s", self._engine.url.database)
        finally:
            self._connecting = None

    async def _hop(self, work: Callable[[sqlite3.Connection], T]) -> T:
        # aiosqlite has no public way to run our function on its thread, and a hop for each
        # statement would cost more than the statements. All its own methods use this call.
        result: T = await self._driver._execute(work, self._driver._conn)
        return result

    async def _translated(self, error: Exception) -> MonostreamError | None:
        try:
            # SQLite may notice it too, and then speaks of a read-only file or of the disk.
            self._file.check()
        except FileMoved as moved:
            return moved
        if (
            isinstance(error, sqlite3.OperationalError)
            and error.sqlite_errorcode == sqlite3.SQLITE_ERROR
        ):
            problem = await self._hop(lambda connection: problem_with(SQLiteSchema(connection)))
            if problem is not None:
                return problem
        return as_unavailable(error)


def _begin(connection: sqlite3.Connection) -> None:
    """Begin a transaction that holds the write lock.

    IMMEDIATE, or one that reads first and writes later fails at once if another process committed
    in between. SQLite itself would look for the lock ten times in a second, so that a process which
    commits without a pause would keep the others out for seconds.
    """
    set_busy_timeout(connection, 0.0)
    try:
        _when_free(connection, "BEGIN IMMEDIATE")
    finally:
        set_busy_timeout(connection, BUSY_TIMEOUT)


def _when_free(connection: sqlite3.Connection, statement: str) -> None:
    """Run a statement, again and again while another process keeps it out."""
    deadline = time.monotonic() + BUSY_TIMEOUT
    while True:
        try:
            connection.execute(statement)
        except sqlite3.OperationalError as error:
            busy = error.sqlite_errorcode & PRIMARY == sqlite3.SQLITE_BUSY
            if not busy or time.monotonic() >= deadline:
                raise
        else:
            return
        time.sleep(random.uniform(*LOCK_PAUSE))  # noqa: S311  (jitter, not a secret)


def _configure(connection: sqlite3.Connection) -> None:
    connection.isolation_level = None
    set_busy_timeout(connection, BUSY_TIMEOUT)
    _use_wal(connection)
    connection.execute("PRAGMA synchronous = NORMAL")
    connection.execute(f"PRAGMA journal_size_limit = {LOG_LIMIT}").fetchall()


def _use_wal(connection: sqlite3.Connection) -> None:
    # The switch to WAL needs the file alone and does not wait for that, so two processes that start
    # together collide.
    while connection.execute("PRAGMA journal_mode").fetchone() != ("wal",):
        _when_free(connection, "PRAGMA journal_mode = WAL")
