"""Streams in a SQLite file, for any number of processes on one machine.

Methods stand in the order of `Store`. The statements enforce the guarantees:
`statements._APPENDABLE` fences a chunk, `statements.CLAIM` stores a stop and judges a lease.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Final, Self

from sqlalchemy import URL, make_url
from sqlalchemy.exc import ArgumentError
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from monostream_ai.errors import (
    Fenced,
    InvalidEngine,
    InvalidURL,
    LogHeld,
    MonostreamError,
    NotLost,
    VersionConflict,
)
from monostream_ai.interfaces import Messages, Store
from monostream_ai.stores.sql.migrations import upgrade
from monostream_ai.stores.sql.translation import held_by, opening_parameters
from monostream_ai.stores.sqlite import statements as sql
from monostream_ai.stores.sqlite.file import DatabaseFile
from monostream_ai.stores.sqlite.messages import SQLiteMessages
from monostream_ai.stores.sqlite.pruning import prune
from monostream_ai.stores.sqlite.rows import (
    append_all,
    check_lease,
    read_info,
    read_infos,
    read_page,
    read_rows,
    read_timeline,
)
from monostream_ai.stores.sqlite.thread import SQLiteSchema, SQLiteThread
from monostream_ai.types import (
    MAX_VERSION,
    Append,
    Changes,
    Lease,
    Opening,
    Page,
    Position,
    StoredChunk,
    VersionInfo,
    WatchedState,
)

IN_MEMORY: Final = (None, "", ":memory:")
"""Names of no file. The reader and the writer would have a database each."""


def sqlite_url(url: str) -> URL:
    """Return the URL for aiosqlite; accepts `sqlite:///file.db` too.

    Raises:
        InvalidURL: The URL cannot be parsed, names another driver or a host, or names no file.
    """
    if not isinstance(url, str):
        raise InvalidURL(f"a URL is a text, not {type(url).__name__}")
    try:
        parsed = make_url(url)
    except (ArgumentError, ValueError) as error:
        raise InvalidURL("the URL cannot be read") from error
    if parsed.drivername not in ("sqlite", "sqlite+aiosqlite"):
        raise InvalidURL(f"the driver {parsed.drivername!r} is not aiosqlite")
    if parsed.host is not None:
        raise InvalidURL("a SQLite file follows three slashes, or four if its path is absolute")
    if parsed.database in IN_MEMORY:
        raise InvalidURL("SQLite needs a file: use memory:// for streams in memory")
    return parsed.set(drivername="sqlite+aiosqlite")


class SQLiteStore(Store):
    """Keeps streams in a SQLite file in WAL mode: one connection writes, another one reads.

    A commit survives the death of any process. A power cut may undo the last few commits, as
    `synchronous = NORMAL` allows, and leaves the file consistent.

    Args:
        engine: Borrowed: `aclose` leaves it open.

    Raises:
        InvalidEngine: The engine is not an async one of aiosqlite, or has no file.
    """

    def __init__(self, engine: AsyncEngine) -> None:
        needed = "sqlite+aiosqlite:///file.db"
        if not isinstance(engine, AsyncEngine):
            raise InvalidEngine(
                type(self).__name__, f"an object of {type(engine).__name__}", needed
            )
        if (engine.dialect.name, engine.dialect.driver) != ("sqlite", "aiosqlite"):
            found = f"an engine of {engine.dialect.name}+{engine.dialect.driver}"
            raise InvalidEngine(type(self).__name__, found, needed)
        if engine.url.database in IN_MEMORY:
            raise InvalidEngine(type(self).__name__, "an engine of a database in memory", needed)
        self._engine = engine
        self._owned = False
        self._file = DatabaseFile()
        self._writer = SQLiteThread(engine, self._file)
        self._reader = SQLiteThread(engine, self._file)

    @classmethod
    def from_url(cls, url: str) -> Self:
        """Return a store with an engine of its own for `sqlite+aiosqlite:///file.db` or
        `sqlite:///file.db`.
        """
        store = cls(create_async_engine(sqlite_url(url)))
        store._owned = True
        return store

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self._engine.url.database}>"

    @property
    def messages(self) -> Messages:
        return SQLiteMessages(self._writer, self._reader)

    async def setup(self) -> None:
        await self._writer.write(lambda connection: upgrade(SQLiteSchema(connection)))

    async def schema_version(self) -> int:
        """Return the version of the schema; 0 if there is none."""
        return await self._reader.run(lambda connection: SQLiteSchema(connection).version())

    async def acquire(self, stream_id: str, version: int | None, opening: Opening) -> int:
        parameters = opening_parameters(stream_id, opening)

        def work(connection: sqlite3.Connection) -> int:
            for (opened,) in connection.execute(sql.OPENED_BEFORE, parameters):
                return int(opened)
            ((latest,),) = connection.execute(sql.LATEST, parameters)
            newest = -1 if latest is None else latest
            if newest == MAX_VERSION or (version is not None and version <= newest):
                raise VersionConflict(stream_id, newest if version is None else version, newest)
            if opening.repeats:
                before = {"stream": stream_id, "latest": newest}
                if connection.execute(sql.REPEATABLE, before).fetchone() is None:
                    raise NotLost(stream_id, newest)
            number = newest + 1 if version is None else version
            # Older versions are fenced in the transaction that opens the new one.
            connection.execute(sql.FENCE, parameters)
            held = {**parameters, "version": number, "holder": self._file.holder}
            connection.execute(sql.OPEN, held)
            if opening.request is not None:
                connection.execute(sql.STORE_REQUEST, {**parameters, "version": number})
            return number

        return await self._writer.write(work)

    async def append(
        self, appends: Sequence[Append], *, lease: float
    ) -> list[MonostreamError | None]:
        try:
            return await self._writer.write(
                lambda connection: append_all(connection, appends, lease)
            )
        except sqlite3.IntegrityError:
            # Another program has written chunks into one of these versions: append to each on its
            # own, so that the others land.
            if len(appends) > 1:
                return [(await self.append([append], lease=lease))[0] for append in appends]
            held = appends[0].lease
            return [Fenced(held.stream_id, held.version, held.version)]

    async def read(
        self, positions: Sequence[Position], *, max_rows: int, max_bytes: int
    ) -> list[Page]:
        def page(connection: sqlite3.Connection, position: Position) -> Page:
            # In one transaction a page is one snapshot. Each has its own: a reader holds up the
            # emptying of the write-ahead log for one page at most.
            connection.execute("BEGIN")
            try:
                return read_page(connection, position, max_rows, max_bytes)
            finally:
                connection.execute("COMMIT")

        return await self._reader.run(
            lambda connection: [page(connection, position) for position in positions]
        )

    async def payloads(
        self, stream_id: str, version: int, first: int, *, max_rows: int, max_bytes: int
    ) -> list[str]:
        return await self._reader.run(
            lambda connection: read_rows(connection, stream_id, version, first, max_rows, max_bytes)
        )

    async def renew(self, leases: Sequence[Lease], *, lease: float) -> list[MonostreamError | None]:
        def work(connection: sqlite3.Connection) -> list[MonostreamError | None]:
            for held in leases:
                connection.execute(sql.RENEW, {**held_by(held), "lease": lease})
            return [check_lease(connection, held) for held in leases]

        return await self._writer.write(work)

    async def check(self, leases: Sequence[Lease]) -> list[MonostreamError | None]:
        return await self._reader.run(
            lambda connection: [check_lease(connection, lease) for lease in leases]
        )

    async def claim(
        self,
        taker: Lease,
        *,
        lease: float,
        stop: bool,
        attempt: int | None = None,
        waits: bool = False,
    ) -> int | None:
        parameters = {
            **held_by(taker),
            "lease": lease,
            "stop": stop,
            "attempt": attempt,
            "waits": waits,
        }

        def work(connection: sqlite3.Connection) -> int | None:
            # A stop is stored here.
            held = {**parameters, "holder": self._file.holder}
            if connection.execute(sql.CLAIM, held).rowcount == 0:
                return None
            ((next_id,),) = connection.execute(sql.NEXT_ID, parameters)
            return int(next_id)

        return await self._writer.write(work)

    async def release(self, lease: Lease, *, handover: bool = False) -> None:
        parameters = {**held_by(lease), "handover": handover}
        await self._writer.write(lambda connection: connection.execute(sql.RELEASE, parameters))

    async def info(self, stream_id: str, version: int | None = None) -> VersionInfo | None:
        return await self._reader.run(lambda connection: read_info(connection, stream_id, version))

    async def streams(self, *, prefix: str, after: str | None, limit: int) -> list[VersionInfo]:
        parameters = {"prefix": prefix, "after": after, "limit": limit}
        return await self._reader.run(
            lambda connection: read_infos(connection, sql.STREAMS, parameters)
        )

    async def changes(
        self,
        *,
        prefix: str,
        since: datetime | None,
        after: tuple[str, int] | None,
        limit: int,
    ) -> Changes:
        stream_id, number = after or (None, None)
        parameters = {
            "prefix": prefix,
            "since": None if since is None else since.timestamp(),
            "after": stream_id,
            "number": number,
            "limit": limit,
        }

        def work(connection: sqlite3.Connection) -> Changes:
            now = datetime.now(UTC)
            return Changes(now, read_infos(connection, sql.CHANGES, parameters))

        return await self._reader.run(work)

    async def versions(
        self, stream_id: str, *, before: int | None, limit: int
    ) -> list[VersionInfo]:
        parameters = {"stream": stream_id, "before": before, "limit": limit}
        return await self._reader.run(
            lambda connection: read_infos(connection, sql.VERSIONS, parameters)
        )

    async def timeline(
        self, stream_id: str, version: int, first: int, *, max_rows: int
    ) -> list[StoredChunk]:
        return await self._reader.run(
            lambda connection: read_timeline(connection, stream_id, version, first, max_rows)
        )

    async def request(self, stream_id: str, version: int) -> str | None:
        def work(connection: sqlite3.Connection) -> str | None:
            for (request,) in connection.execute(sql.REQUEST, (stream_id, version)):
                return None if request is None else str(request)
            return None

        return await self._reader.run(work)

    async def unattended(
        self, *, prefix: str, limit: int, state: WatchedState | None = None
    ) -> list[VersionInfo]:
        parameters = {"prefix": prefix, "state": state, "limit": limit}
        return await self._reader.run(
            lambda connection: read_infos(connection, sql.UNATTENDED, parameters)
        )

    async def attend(
        self, taker: Lease, *, lease: float, state: WatchedState = "closed"
    ) -> int | None:
        parameters = {**held_by(taker), "state": state, "lease": lease}

        def work(connection: sqlite3.Connection) -> int | None:
            if connection.execute(sql.ATTEND, parameters).rowcount == 0:
                return None
            ((attended,),) = connection.execute(sql.ATTENDED, parameters)
            return int(attended)

        return await self._writer.write(work)

    async def abandon(self, taker: Lease) -> None:
        await self._writer.write(lambda connection: connection.execute(sql.ABANDON, held_by(taker)))

    async def settle(self, taker: Lease) -> None:
        await self._writer.write(lambda connection: connection.execute(sql.SETTLE, held_by(taker)))

    async def delete(self, stream_id: str) -> bool:
        def work(connection: sqlite3.Connection) -> bool:
            ((stored,),) = connection.execute(sql.LATEST_STORED, {"stream": stream_id})
            if stored is None:
                return False
            ((latest,),) = connection.execute(sql.LATEST, {"stream": stream_id})
            parameters = {"stream": stream_id, "latest": latest}
            for statement in (
                sql.DELETE_VERSIONS,
                sql.DELETE_CHUNKS,
                sql.DELETE_REQUESTS,
                sql.KEEP_NUMBER,
            ):
                connection.execute(statement, parameters)
            return True

        return await self._writer.write(work)

    async def prune(self, *, older_than: float, limit: int) -> int:
        return await self._writer.write(
            lambda connection: prune(connection, older_than=older_than, limit=limit)
        )

    @property
    def log(self) -> str | None:
        """The path of the write-ahead log, once the store has read or written."""
        return self._file.log

    @property
    def commits(self) -> int:
        """Twice the commits of this store, and one more during a commit."""
        return self._writer.commits

    def somebody_died(self) -> bool:
        """Whether a process has died since the last call that wrote a version read here."""
        return self._file.somebody_died()

    async def data_version(self) -> int:
        """Return a number that changes whenever another store commits, here or in any process.

        The writing connection asks, so this store's own commits leave the number as it is. Source:
        SQLite, "PRAGMA data_version".
        """

        def work(connection: sqlite3.Connection) -> int:
            # Asked many times a second, also where nobody writes any more.
            self._writer.log.tend(connection)
            ((version,),) = connection.execute("PRAGMA data_version").fetchall()
            return int(version)

        return await self._writer.run(work)

    def held_log(self) -> LogHeld | None:
        """Return that a reader keeps the write-ahead log from being emptied; once for each doubling
        of its size.
        """
        held, self._writer.log.held = self._writer.log.held, None
        return held

    async def aclose(self) -> None:
        await self._writer.aclose()
        await self._reader.aclose()
        self._file.forget()
        if self._owned:
            await self._engine.dispose()
