"""Streams in a SQLite file, for any number of processes on one machine; nothing to install."""

from __future__ import annotations

import math
import sqlite3
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any, Final, Self

from sqlalchemy import URL, make_url
from sqlalchemy.exc import ArgumentError
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from monostream_ai.errors import ChunksMissing, Fenced, InvalidURL, MonostreamError, VersionConflict
from monostream_ai.interfaces import Store
from monostream_ai.stores.sql import sqlite_statements as sql
from monostream_ai.stores.sql.sqlite_setup import setup
from monostream_ai.stores.sql.sqlite_thread import SQLiteThread
from monostream_ai.stores.verdicts import refusal
from monostream_ai.types import MAX_VERSION, Append, Head, Lease, Opening, Page, Position, VersionInfo

_INSTANTS: Final = ("created_at", "closed_at", "stop_requested_at")


def sqlite_url(url: str) -> URL:
    """Return the URL for aiosqlite; `sqlite:///file.db` is understood too.

    Raises:
        InvalidURL: It cannot be read, names another driver, or names no file.
    """
    try:
        parsed = make_url(url)
    except (ArgumentError, ValueError) as error:
        raise InvalidURL("the URL cannot be read") from error
    if parsed.drivername not in ("sqlite", "sqlite+aiosqlite"):
        raise InvalidURL(f"the driver {parsed.drivername!r} is not aiosqlite")
    if parsed.database in (None, "", ":memory:"):
        raise InvalidURL("SQLite needs a file here, as its readers and its writer use two connections")
    return parsed.set(drivername="sqlite+aiosqlite")


class SQLiteStore(Store):
    """Keeps streams in a SQLite file in WAL mode: one connection writes, another reads.

    A commit survives the death of any process; with `synchronous = NORMAL`, a power cut may take the last few commits with it and
    leaves the file consistent.

    Args:
        engine: Borrowed: `aclose` leaves it open.
    """

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine
        self._owned = False
        self._writer = SQLiteThread(engine)
        self._reader = SQLiteThread(engine)

    @classmethod
    def from_url(cls, url: str) -> Self:
        """Return a store with an engine of its own for `sqlite+aiosqlite:///file.db` or `sqlite:///file.db`."""
        store = cls(create_async_engine(sqlite_url(url)))
        store._owned = True
        return store

    async def setup(self) -> None:
        await self._writer.write(setup)

    async def acquire(self, stream_id: str, version: int | None, opening: Opening) -> int:
        parameters: dict[str, Any] = {
            "stream": stream_id,
            "writer": opening.token,
            "lease": opening.lease,
            "message_id": opening.message_id,
            "owner": opening.owner,
            "attempt": opening.attempt,
            "request": opening.request,
            "metadata": opening.metadata,
        }

        def work(connection: sqlite3.Connection) -> int:
            for (opened,) in connection.execute(sql.OPENED_BEFORE, parameters):
                return int(opened)
            ((latest,),) = connection.execute(sql.LATEST, parameters)
            newest = -1 if latest is None else latest
            if newest == MAX_VERSION or (version is not None and version <= newest):
                raise VersionConflict(stream_id, newest if version is None else version, newest)
            number = newest + 1 if version is None else version
            connection.execute(sql.FENCE, parameters)
            connection.execute(sql.OPEN, {**parameters, "version": number})
            return number

        return await self._writer.write(work)

    async def append(self, appends: Sequence[Append], *, lease: float) -> list[MonostreamError | None]:
        try:
            return await self._writer.write(lambda connection: [_append(connection, append, lease) for append in appends])
        except sqlite3.IntegrityError:
            # Another program has written rows into one of these versions: each on its own, so that the others land.
            if len(appends) > 1:
                return [(await self.append([append], lease=lease))[0] for append in appends]
            held = appends[0].lease
            return [Fenced(held.stream_id, held.version, held.version)]

    async def read(self, positions: Sequence[Position], *, max_rows: int, max_bytes: int) -> list[Page]:
        def work(connection: sqlite3.Connection) -> list[Page]:
            # One transaction, so that each page is one snapshot.
            connection.execute("BEGIN")
            try:
                return [_page(connection, position, max_rows, max_bytes) for position in positions]
            finally:
                connection.execute("COMMIT")

        return await self._reader.run(work)

    async def payloads(self, stream_id: str, version: int, first: int, *, max_rows: int, max_bytes: int) -> list[str]:
        return await self._reader.run(lambda connection: _rows(connection, stream_id, version, first, max_rows, max_bytes))

    async def renew(self, leases: Sequence[Lease], *, lease: float) -> list[MonostreamError | None]:
        def work(connection: sqlite3.Connection) -> list[MonostreamError | None]:
            return [
                None if connection.execute(sql.RENEW, {**_held(held), "lease": lease}).rowcount == 1 else _check(connection, held)
                for held in leases
            ]

        return await self._writer.write(work)

    async def check(self, leases: Sequence[Lease]) -> list[MonostreamError | None]:
        return await self._reader.run(lambda connection: [_check(connection, lease) for lease in leases])

    async def claim(self, taker: Lease, *, lease: float, stop: bool) -> int | None:
        parameters = {**_held(taker), "lease": lease, "stop": stop}

        def work(connection: sqlite3.Connection) -> int | None:
            if connection.execute(sql.CLAIM, parameters).rowcount == 0:
                return None
            ((next_id,),) = connection.execute(sql.NEXT_ID, parameters)
            return int(next_id)

        return await self._writer.write(work)

    async def release(self, lease: Lease) -> None:
        await self._writer.write(lambda connection: connection.execute(sql.RELEASE, _held(lease)))

    async def info(self, stream_id: str, version: int | None = None) -> VersionInfo | None:
        return await self._reader.run(lambda connection: _info(connection, stream_id, version))

    async def delete(self, stream_id: str) -> bool:
        def work(connection: sqlite3.Connection) -> bool:
            versions = connection.execute("DELETE FROM stream_version WHERE stream_id = ?", (stream_id,)).rowcount
            chunks = connection.execute("DELETE FROM stream_chunk WHERE stream_id = ?", (stream_id,)).rowcount
            return versions + chunks > 0

        return await self._writer.write(work)

    async def prune(self, *, older_than: float, limit: int) -> int:
        def work(connection: sqlite3.Connection) -> int:
            rows = connection.execute(sql.PRUNABLE, {"older_than": older_than, "limit": limit}).fetchall()
            for stream_id, version, superseded in rows:
                connection.execute(sql.DELETE_VERSION_CHUNKS, (stream_id, version))
                connection.execute(sql.DELETE_VERSION if superseded else sql.PRUNE_NEWEST, (stream_id, version))
            return len(rows)

        return await self._writer.write(work)

    async def data_version(self) -> int:
        """Return a number that changes whenever another connection commits, here or in another process.

        It is asked on the connection that writes, so this store's own commits do not change it. Source: SQLite, "PRAGMA
        data_version".
        """
        return await self._writer.run(lambda connection: int(next(connection.execute("PRAGMA data_version"))[0]))

    async def aclose(self) -> None:
        await self._writer.aclose()
        await self._reader.aclose()
        if self._owned:
            await self._engine.dispose()


def _append(connection: sqlite3.Connection, append: Append, lease: float) -> MonostreamError | None:
    held = append.lease
    end = append.first + len(append.payloads)
    parameters = {**_held(held), "first": append.first, "end": end, "lease": lease, "closes": append.closes}
    if connection.execute(sql.APPEND, parameters).rowcount == 0:
        return _verdict(connection, append, end)
    rows = [(held.stream_id, held.version, append.first + offset, payload) for offset, payload in enumerate(append.payloads)]
    connection.executemany(sql.INSERT_CHUNKS, rows)
    return None


def _verdict(connection: sqlite3.Connection, append: Append, end: int) -> MonostreamError | None:
    held = append.lease
    for writer, state, next_id, _, _ in connection.execute(sql.CHECK, _held(held)):
        if append.payloads:
            stored = connection.execute(sql.ROWS, (held.stream_id, held.version, append.first, len(append.payloads)))
            landed = [chunk for _, chunk in stored] == list(append.payloads)
        else:
            landed = state == "closed" and writer == held.token and next_id == end
        if landed:
            return None
        return _check(connection, held) or ChunksMissing(held.stream_id, held.version, next_id)
    return _check(connection, held)


def _check(connection: sqlite3.Connection, lease: Lease) -> MonostreamError | None:
    for writer, state, _, stopped, latest in connection.execute(sql.CHECK, _held(lease)):
        return refusal(lease, token=writer, state=state, stopped=bool(stopped), latest=latest)
    return refusal(lease, token=None, state=None, stopped=False, latest=None)


def _info(connection: sqlite3.Connection, stream_id: str, version: int | None) -> VersionInfo | None:
    wanted = version
    if wanted is None:
        ((wanted,),) = connection.execute(sql.LATEST, {"stream": stream_id})
    cursor = connection.execute(sql.INFO, {"stream": stream_id, "version": wanted})
    names = [column[0] for column in cursor.description]
    for values in cursor:
        row = dict(zip(names, values, strict=True))
        return VersionInfo(stream_id=stream_id, **{**row, **{name: _instant(row[name]) for name in _INSTANTS}})
    ((next_id,),) = connection.execute(sql.FOREIGN_NEXT_ID, (stream_id, wanted))
    return None if next_id is None else VersionInfo(stream_id, wanted, "open", next_id, math.inf)


def _page(connection: sqlite3.Connection, position: Position, max_rows: int, max_bytes: int) -> Page:
    stream_id = position.stream_id
    ((version,),) = connection.execute(sql.LATEST, {"stream": stream_id})
    if version is None:
        return Page(None, 0, [])
    first = position.next_id if position.version == version else 0
    payloads = _rows(connection, stream_id, version, first, max_rows, max_bytes)
    for state, next_id, lease_left in connection.execute(sql.HEAD, (stream_id, version)):
        return Page(Head(version, state, next_id, lease_left), first, payloads)
    ((next_id,),) = connection.execute(sql.FOREIGN_NEXT_ID, (stream_id, version))
    return Page(Head(version, "open", next_id, math.inf), first, payloads)


def _rows(connection: sqlite3.Connection, stream_id: str, version: int, first: int, max_rows: int, max_bytes: int) -> list[str]:
    payloads: list[str] = []
    size = 0
    for id, payload in connection.execute(sql.ROWS, (stream_id, version, first, max_rows)):
        # A gap ends the page: what is behind it must not be shown before what is missing.
        if id != first + len(payloads):
            break
        payloads.append(payload)
        size += len(payload.encode())
        if size >= max_bytes:
            break
    return payloads


def _held(lease: Lease) -> dict[str, Any]:
    return {"stream": lease.stream_id, "version": lease.version, "writer": lease.token}


def _instant(seconds: float | None) -> datetime | None:
    return None if seconds is None else datetime.fromtimestamp(seconds, UTC)
