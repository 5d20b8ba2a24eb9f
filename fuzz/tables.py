"""The tables of a database, read and emptied past the store under test, with one statement for many
scenarios.
"""

from __future__ import annotations

import asyncio
import sqlite3
from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from typing import Final, NamedTuple

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

AT_ONCE: Final = 50
"""Streams that are read at once."""

FORGOTTEN: Final = 500
"""Streams that are deleted at once."""

LOSSES: Final = (
    "DELETE FROM stream_chunk WHERE stream_id = :stream AND version = :version AND id >= :kept",
    "UPDATE stream_version SET next_id = :kept WHERE stream_id = :stream AND version = :version",
)

VersionRow = tuple[str, int, str, int]
ChunkRow = tuple[str, int, int, str]


class Stored(NamedTuple):
    """A version as the tables hold it. Without a version row it has no state."""

    state: str | None
    next_id: int
    payloads: Sequence[str]


class Tables(ABC):
    """Answers in batches: questions that come while one is read make the next."""

    def __init__(self) -> None:
        self._asked: dict[asyncio.Future[dict[int, Stored]], str] = {}
        self._forgotten: list[str] = []
        self._task: asyncio.Task[None] | None = None

    async def versions(self, stream_id: str) -> dict[int, Stored]:
        """Return all versions of a stream. A chunk whose id is not its place becomes a payload that
        says so.
        """
        loop = asyncio.get_running_loop()
        answer = loop.create_future()
        self._asked[answer] = stream_id
        if self._task is None:
            self._task = loop.create_task(self._run())
        return await answer

    async def forget(self, stream_id: str) -> None:
        """Delete a stream that is no longer used, at some later time."""
        self._forgotten.append(stream_id)
        if len(self._forgotten) >= FORGOTTEN:
            forgotten, self._forgotten = self._forgotten, []
            await self._delete(forgotten)

    async def aclose(self) -> None:
        """Delete the streams to be forgotten, and disconnect."""
        await self._delete(self._forgotten)

    @abstractmethod
    async def _read(self, streams: list[str]) -> tuple[Iterable[VersionRow], Iterable[ChunkRow]]:
        """Read the versions, and the chunks in order, in one snapshot."""

    @abstractmethod
    async def lose(self, stream_id: str, version: int, kept: int) -> None:
        """Remove the chunks of a version from the id `kept` on."""

    @abstractmethod
    async def _delete(self, streams: list[str]) -> None: ...

    async def _run(self) -> None:
        try:
            while self._asked:
                batch = [*self._asked.items()][:AT_ONCE]
                for answer, _ in batch:
                    del self._asked[answer]
                try:
                    found = _assembled(*await self._read([stream for _, stream in batch]))
                # Otherwise its callers would wait for ever.
                except Exception as error:
                    for answer, _ in batch:
                        answer.done() or answer.set_exception(error)
                    continue
                for answer, stream in batch:
                    answer.done() or answer.set_result(found.get(stream, {}))
        finally:
            self._task = None


def _assembled(
    versions: Iterable[VersionRow], chunks: Iterable[ChunkRow]
) -> dict[str, dict[int, Stored]]:
    found: dict[str, dict[int, Stored]] = {}
    payloads: dict[tuple[str, int], list[str]] = {}
    for stream, version, state, next_id in versions:
        own = payloads[stream, version] = []
        found.setdefault(stream, {})[version] = Stored(state, next_id, own)
    for stream, version, id, payload in chunks:
        if (stream, version) not in payloads:
            own = payloads[stream, version] = []
            found.setdefault(stream, {})[version] = Stored(None, 0, own)
        own = payloads[stream, version]
        own.append(payload if id == len(own) else f"id {id}: {payload}")
    return found


class PostgresTables(Tables):
    """Has a connection of its own."""

    VERSIONS = text(
        "SELECT stream_id, version, state, next_id FROM stream_version "
        "WHERE stream_id = ANY(:streams)"
    )
    CHUNKS = text(
        "SELECT stream_id, version, id, CAST(chunk AS text) FROM stream_chunk "
        "WHERE stream_id = ANY(:streams) ORDER BY stream_id, version, id"
    )
    DELETIONS = [
        text(f"DELETE FROM {table} WHERE stream_id = ANY(:streams)")
        for table in ("stream_version", "stream_chunk", "stream_request")
    ]

    def __init__(self, engine: AsyncEngine) -> None:
        super().__init__()
        self._engine = engine.execution_options(isolation_level="REPEATABLE READ")

    async def _read(self, streams: list[str]) -> tuple[Iterable[VersionRow], Iterable[ChunkRow]]:
        async with self._engine.connect() as connection:
            versions = (await connection.execute(self.VERSIONS, {"streams": streams})).all()
            chunks = (await connection.execute(self.CHUNKS, {"streams": streams})).all()
        return (tuple(row) for row in versions), (tuple(row) for row in chunks)  # type: ignore[return-value]  # as selected

    async def _delete(self, streams: list[str]) -> None:
        async with self._engine.begin() as connection:
            for deletion in self.DELETIONS:
                await connection.execute(deletion, {"streams": streams})

    async def lose(self, stream_id: str, version: int, kept: int) -> None:
        # A renewal may change the row meanwhile.
        engine = self._engine.execution_options(isolation_level="READ COMMITTED")
        async with engine.begin() as connection:
            for loss in LOSSES:
                await connection.execute(
                    text(loss), {"stream": stream_id, "version": version, "kept": kept}
                )

    async def aclose(self) -> None:
        await super().aclose()
        await self._engine.dispose()


class SQLiteTables(Tables):
    """Connects for each batch, in a thread."""

    def __init__(self, path: str) -> None:
        super().__init__()
        self._path = path

    async def _read(self, streams: list[str]) -> tuple[Iterable[VersionRow], Iterable[ChunkRow]]:
        return await asyncio.to_thread(self._read_here, streams)

    async def _delete(self, streams: list[str]) -> None:
        await asyncio.to_thread(self._delete_here, streams)

    async def lose(self, stream_id: str, version: int, kept: int) -> None:
        await asyncio.to_thread(self._lose_here, stream_id, version, kept)

    def _lose_here(self, stream_id: str, version: int, kept: int) -> None:
        connection = sqlite3.connect(self._path, timeout=60.0, isolation_level=None)
        try:
            connection.execute("BEGIN IMMEDIATE")
            for loss in LOSSES:
                connection.execute(loss, {"stream": stream_id, "version": version, "kept": kept})
            connection.execute("COMMIT")
        finally:
            connection.close()

    def _read_here(self, streams: list[str]) -> tuple[Iterable[VersionRow], Iterable[ChunkRow]]:
        among = f"WHERE stream_id IN ({','.join('?' * len(streams))})"
        connection = sqlite3.connect(self._path, timeout=60.0, isolation_level=None)
        try:
            connection.execute("BEGIN")
            versions = connection.execute(
                f"SELECT stream_id, version, state, next_id FROM stream_version {among}", streams
            )
            found = versions.fetchall()
            chunks = connection.execute(
                f"SELECT stream_id, version, id, chunk FROM stream_chunk {among} "
                "ORDER BY stream_id, version, id",
                streams,
            )
            return found, chunks.fetchall()
        finally:
            connection.close()

    def _delete_here(self, streams: list[str]) -> None:
        connection = sqlite3.connect(self._path, timeout=60.0, isolation_level=None)
        try:
            connection.execute("BEGIN IMMEDIATE")
            for table in ("stream_version", "stream_chunk", "stream_request"):
                connection.executemany(
                    f"DELETE FROM {table} WHERE stream_id = ?", [(stream,) for stream in streams]
                )
            connection.execute("COMMIT")
        finally:
            connection.close()
