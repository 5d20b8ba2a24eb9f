"""The work of the SQLite store inside a transaction, on the connection's thread.

A chunk is fenced in `_advance`, and a lease gets its verdict in `check_lease`.
"""

from __future__ import annotations

import math
import sqlite3
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any, Final

from monostream_ai.errors import ChunksMissing, MonostreamError
from monostream_ai.stores.fencing import closed_by, refusal
from monostream_ai.stores.sql.translation import held_by
from monostream_ai.stores.sqlite import statements as sql
from monostream_ai.types import Append, Head, Lease, Page, Position, StoredChunk, VersionInfo

_INSTANTS: Final = ("created_at", "closed_at", "stop_requested_at", "abandoned_at")
_BOOLEANS: Final = ("waiting", "watched")


def append_all(
    connection: sqlite3.Connection, appends: Sequence[Append], lease: float
) -> list[MonostreamError | None]:
    """Append each version that passes its fence; return the verdict on each.

    The caller's transaction holds the write lock, so nobody commits between a fence and its rows.
    """
    # The column's default, CURRENT_TIMESTAMP, has whole seconds only.
    created_at = datetime.now(UTC).isoformat(" ", "microseconds").removesuffix("+00:00")
    ((now,),) = connection.execute(sql.CLOCK)
    rows: list[tuple[str, int, int, str, str]] = []
    verdicts: list[MonostreamError | None] = []
    for append in appends:
        if _advance(connection, append, lease, now):
            stream_id, version, _ = append.lease
            rows += [
                (stream_id, version, id, created_at, payload)
                for id, payload in enumerate(append.payloads, start=append.first)
            ]
            verdicts.append(None)
        else:
            verdicts.append(_verdict(connection, append))
    # The rows of all versions at once: a statement for each would cost more than its rows.
    connection.executemany(sql.INSERT_CHUNKS, rows)
    return verdicts


def _advance(connection: sqlite3.Connection, append: Append, lease: float, now: float) -> bool:
    """Advance the version to the end of the append; return False if the fence refuses it."""
    stream_id, version, token = append.lease
    end = append.first + len(append.payloads)
    fence = (stream_id, version, token, append.first, stream_id, version)
    if append.closes:
        closed = (end, lease, now, now, *fence)
        return connection.execute(sql.APPEND_AND_CLOSE, closed).rowcount > 0
    return connection.execute(sql.APPEND, (end, lease, now + lease, *fence)).rowcount > 0


def _verdict(connection: sqlite3.Connection, append: Append) -> MonostreamError | None:
    """Return why an append did not land; None if it had landed before."""
    held = append.lease
    for writer, state, next_id, _, _ in connection.execute(sql.CHECK, held_by(held)):
        if closed_by(append, token=writer, state=state, next_id=next_id):
            return None
        if append.payloads and _holds(connection, append):
            return None
        return check_lease(connection, held) or ChunksMissing(held.stream_id, held.version, next_id)
    return check_lease(connection, held)


def _holds(connection: sqlite3.Connection, append: Append) -> bool:
    """Return whether exactly these payloads are stored under these ids."""
    stream_id, version, _ = append.lease
    bounds = (stream_id, version, append.first, len(append.payloads))
    return [chunk for _, chunk in connection.execute(sql.ROWS, bounds)] == list(append.payloads)


def check_lease(connection: sqlite3.Connection, lease: Lease) -> MonostreamError | None:
    """Return why the lease is lost; None if it is held."""
    for writer, state, _, stopped, latest in connection.execute(sql.CHECK, held_by(lease)):
        return refusal(lease, token=writer, state=state, stopped=bool(stopped), latest=latest)
    return refusal(lease, token=None, state=None, stopped=False, latest=None)


def read_info(
    connection: sqlite3.Connection, stream_id: str, version: int | None
) -> VersionInfo | None:
    """Return a version, by default the latest."""
    wanted = version
    if wanted is None:
        ((wanted,),) = connection.execute(sql.LATEST_STORED, {"stream": stream_id})
    for info in read_infos(connection, sql.INFO, {"stream": stream_id, "version": wanted}):
        return info
    ((next_id,),) = connection.execute(sql.FOREIGN_NEXT_ID, (stream_id, wanted))
    return None if next_id is None else VersionInfo(stream_id, wanted, "open", next_id, math.inf)


def read_infos(
    connection: sqlite3.Connection, query: str, parameters: dict[str, Any]
) -> list[VersionInfo]:
    """Return the versions that a query finds; it selects the fields of VersionInfo."""
    cursor = connection.execute(query, parameters)
    names = [column[0] for column in cursor.description]
    rows = [dict(zip(names, values, strict=True)) for values in cursor]
    for row in rows:
        row.update({name: _instant(row[name]) for name in _INSTANTS})
        row.update({name: bool(row[name]) for name in _BOOLEANS})
    return [VersionInfo(**row) for row in rows]


def read_timeline(
    connection: sqlite3.Connection, stream_id: str, version: int, first: int, max_rows: int
) -> list[StoredChunk]:
    """Return when each chunk was stored."""
    rows = connection.execute(sql.TIMELINE, (stream_id, version, first, max_rows))
    return [
        StoredChunk(id, datetime.fromisoformat(created_at).replace(tzinfo=UTC), size)
        for id, created_at, size in rows
    ]


def read_page(
    connection: sqlite3.Connection, position: Position, max_rows: int, max_bytes: int
) -> Page:
    """Return a page; the caller's transaction makes it one snapshot."""
    stream_id = position.stream_id
    ((version,),) = connection.execute(sql.LATEST_STORED, {"stream": stream_id})
    if version is None:
        return Page(None, 0, [])
    first = position.next_id if position.version == version else 0
    payloads = read_rows(connection, stream_id, version, first, max_rows, max_bytes)
    for head in connection.execute(sql.HEAD, (stream_id, version)):
        return Page(Head(version, *head), first, payloads)
    ((next_id,),) = connection.execute(sql.FOREIGN_NEXT_ID, (stream_id, version))
    return Page(Head(version, "open", next_id, math.inf), first, payloads)


def read_rows(
    connection: sqlite3.Connection,
    stream_id: str,
    version: int,
    first: int,
    max_rows: int,
    max_bytes: int,
) -> list[str]:
    """Return payloads from id `first` up to the bounds or a gap in the ids."""
    payloads: list[str] = []
    size = 0
    for id, payload in connection.execute(sql.ROWS, (stream_id, version, first, max_rows)):
        # Chunks behind a gap must not be shown before the missing ones.
        if id != first + len(payloads):
            break
        payloads.append(payload)
        size += len(payload.encode())
        if size >= max_bytes:
            break
    return payloads


def _instant(seconds: float | None) -> datetime | None:
    return None if seconds is None else datetime.fromtimestamp(seconds, UTC)
