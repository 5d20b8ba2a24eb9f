"""Streams in Postgres, 13 or later, for any number of processes and machines.

Methods stand in the order of `Store`. The statements enforce the guarantees: `statements.APPEND`
fences a chunk, `statements.CLAIM` stores a stop, and `statements.LAPSES` judges a lease.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime
from typing import Any, Final, Self

from sqlalchemy.ext.asyncio import AsyncEngine

from monostream_ai._backoff import Backoff
from monostream_ai.errors import (
    MonostreamError,
    NotLost,
    StoreUnavailable,
    VersionConflict,
)
from monostream_ai.interfaces import BackgroundErrors, Messages, Store, Watcher
from monostream_ai.stores.fencing import refusal
from monostream_ai.stores.postgres import reads
from monostream_ai.stores.postgres import statements as sql
from monostream_ai.stores.postgres.appends import LOCKED_TRIES, append_all
from monostream_ai.stores.postgres.connections import DriverConnection
from monostream_ai.stores.postgres.database import PostgresDatabase, checked_schema
from monostream_ai.stores.postgres.engine import make_engine, require_asyncpg
from monostream_ai.stores.postgres.holders import HOLDER_OF, session_named
from monostream_ai.stores.postgres.messages import PostgresMessages
from monostream_ai.stores.postgres.presence import Presence
from monostream_ai.stores.postgres.pruning import prune
from monostream_ai.stores.postgres.rows import lease_parameters, page_of
from monostream_ai.stores.postgres.urls import PostgresURL, read_url
from monostream_ai.stores.sql.translation import (
    held_by,
    opening_parameters,
)
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

logger = logging.getLogger(__name__)

STATEMENT_TIMEOUT: Final = 5.0
"""Seconds, a third of the default lease: when a connection goes silent, the rest of the lease is
enough to renew it on another one.
"""

ACQUIRE_LOCK: Final = 0x6D6F6E6F
"""First key of the advisory lock under which versions are opened, "mono"; the second one is a hash
of the stream's id.
"""


class PostgresStore(Store):
    """Keeps streams in Postgres.

    Args:
        engine: Borrowed: `aclose` leaves it open. Statements run in autocommit, whatever the
            engine's isolation level.
        statement_timeout: Seconds after which a read or a write is abandoned together with its
            connection; at most a third of the lease. Pruning, deleting and upgrading have the
            engine's timeout.
        schema: Of the tables. By default the search path finds them.

    Raises:
        InvalidEngine: The engine is not an async one of asyncpg.
        InvalidSchema: `schema` is no name of a schema.
    """

    def __init__(
        self,
        engine: AsyncEngine,
        *,
        statement_timeout: float = STATEMENT_TIMEOUT,
        schema: str | None = None,
    ) -> None:
        require_asyncpg(engine, type(self).__name__)
        self._use(
            PostgresDatabase(
                engine, owned=False, statement_timeout=statement_timeout, schema=schema
            ),
            engine,
        )

    def _use(self, database: PostgresDatabase, direct: AsyncEngine) -> None:
        self._database = database
        self._own_direct: AsyncEngine | None = None
        self.presence = Presence(database, direct)

    @classmethod
    def from_url(
        cls,
        url: str | PostgresURL,
        *,
        pool_size: int = 5,
        pooler: bool = False,
        statement_timeout: float = STATEMENT_TIMEOUT,
        schema: str | None = None,
        direct_url: str | PostgresURL | None = None,
    ) -> Self:
        """Return a store with an engine of its own, closed by `aclose`.

        Args:
            url: `postgresql+asyncpg://…`, `postgresql://…` or `postgres://…`, with the parameters
                of libpq.
            pool_size: The most connections it opens.
            pooler: The URL leads through a pooler in transaction mode, such as pgbouncer. Every
                statement then gets a transaction, and none stays prepared. The first connection
                shows it by itself, unless the pooler passes on the server's process number.
            statement_timeout: In seconds, as for the class.
            schema: As for the class; by default the URL's `schema`.
            direct_url: Leads past the pooler, for the one connection by which the death of this
                process is noticed, unless a notifier lends its own.

        Raises:
            InvalidURL: The URL has a parameter that cannot be served.
            InvalidSchema: The URL's `schema` is no name of a schema.
        """
        address = read_url(url)
        schema = checked_schema(address.schema if schema is None else schema)
        engine = make_engine(address, pool_size=pool_size, pooler=pooler)
        direct = None if direct_url is None else make_engine(direct_url, pool_size=1)
        store = cls.__new__(cls)
        store._use(
            PostgresDatabase(
                engine,
                owned=True,
                statement_timeout=statement_timeout,
                schema=schema,
                pooler=pooler or address.pooler,
            ),
            direct or engine,
        )
        store._own_direct = direct
        return store

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self._database.address}>"

    @property
    def schema(self) -> str | None:
        """The schema of the tables; None if the search path finds them."""
        return self._database.schema

    @property
    def keeps_payloads(self) -> bool:
        # A subclass that changes the call may encrypt them.
        return type(self).append is PostgresStore.append

    @property
    def messages(self) -> Messages:
        return PostgresMessages(self._database)

    async def setup(self) -> None:
        await self._database.setup()

    async def schema_version(self) -> int:
        """Return the version of the schema; 0 if there is none."""
        return await self._database.schema_version()

    async def watch(
        self, watcher: Watcher, on_error: BackgroundErrors
    ) -> Callable[[], Awaitable[None]]:
        return await self.presence.watch(watcher, on_error)

    async def acquire(self, stream_id: str, version: int | None, opening: Opening) -> int:
        await self.presence.decided()
        holder = self.presence.holder
        parameters = {
            **opening_parameters(stream_id, opening),
            "explicit": version,
            "holder": holder,
        }
        timeout = self._database.statement_timeout
        lock = {
            "lock": ACQUIRE_LOCK,
            "stream": self._database.lock_name(stream_id),
            "idle": str(int(timeout * 1000)),
        }

        async def work(connection: DriverConnection) -> Sequence[Any] | None:
            ((locked, _),) = await connection.execute(sql.LOCK_STREAM, lock, timeout=timeout)
            if not locked:
                return None
            return await connection.execute(sql.ACQUIRE, parameters, timeout=timeout)

        loop = asyncio.get_running_loop()
        deadline = loop.time() + timeout
        backoff = Backoff(first=0.002, last=0.05)
        while loop.time() < deadline:
            opened = await self._database.transaction(work, timeout=timeout)
            for row in opened or ():
                number = int(row[0])
                await self._hold(Lease(stream_id, number, opening.token), holder, opening.lease)
                return number
            if opened is not None:
                ((latest,),) = await self._database.execute(sql.LATEST, {"stream": stream_id})
                newest = -1 if latest is None else latest
                if opening.repeats and (version is None or version > newest):
                    raise NotLost(stream_id, newest)
                if latest == MAX_VERSION or version is not None:
                    taken = latest if version is None else version
                    raise VersionConflict(stream_id, taken, latest)
            # Another racer holds the lock, or another program has won this number.
            logger.debug("stream %r: another version is being opened; tries again", stream_id)
            await asyncio.sleep(backoff.next())
        raise StoreUnavailable(f"others are opening versions of stream {stream_id!r} all the time")

    async def append(
        self, appends: Sequence[Append], *, lease: float
    ) -> list[MonostreamError | None]:
        return await append_all(self._database, appends, lease)

    async def read(
        self, positions: Sequence[Position], *, max_rows: int, max_bytes: int
    ) -> list[Page]:
        parameters = {
            "streams": [position.stream_id for position in positions],
            "versions": [position.version for position in positions],
            "nexts": [position.next_id for position in positions],
            "max_rows": max_rows,
            "max_bytes": max_bytes,
        }
        pages = []
        for position, row in zip(
            positions, await self._database.execute(reads.READ, parameters), strict=True
        ):
            *values, holder = row
            pages.append(page_of(*values))
            self.presence.saw(position.stream_id, pages[-1].head, holder)
        return pages

    async def payloads(
        self, stream_id: str, version: int, first: int, *, max_rows: int, max_bytes: int
    ) -> list[str]:
        parameters = {
            "stream": stream_id,
            "version": version,
            "first": first,
            "max_rows": max_rows,
            "max_bytes": max_bytes,
        }
        ((payloads,),) = await self._database.execute(reads.PAYLOADS, parameters)
        return payloads or []

    async def renew(self, leases: Sequence[Lease], *, lease: float) -> list[MonostreamError | None]:
        verdicts: dict[Lease, MonostreamError | None] = {}
        backoff = Backoff(first=0.002, last=0.032)
        waiting = list(leases)
        for _ in range(LOCKED_TRIES):
            renewed = await self._try_renew(waiting, lease)
            waiting = [held for held in waiting if held not in renewed]
            if not waiting:
                break
            found = dict(zip(waiting, await self.check(waiting), strict=True))
            verdicts.update(found)
            # Locked by an append, which renews the lease but leaves the holder, or by a process
            # that cuts the lease short.
            waiting = [held for held in waiting if found[held] is None]
            if not waiting:
                break
            await asyncio.sleep(backoff.next())
        return [verdicts.get(held) for held in leases]

    async def _try_renew(self, leases: Sequence[Lease], lease: float) -> set[Lease]:
        """Return those that were renewed."""
        self.presence.wrote(lease)
        parameters = {
            **lease_parameters(leases),
            "lease": lease,
            "holder": self.presence.holder,
        }
        rows = await self._database.execute(sql.RENEW, parameters)
        return {leases[place - 1] for (place,) in rows}

    async def _hold(self, taken: Lease, holder: str | None, lease: float) -> None:
        """See that a version which was just taken names the holder of this moment."""
        self.presence.wrote(lease)
        if holder != self.presence.holder:
            await self.renew([taken], lease=lease)

    async def check(self, leases: Sequence[Lease]) -> list[MonostreamError | None]:
        parameters = {
            "streams": [lease.stream_id for lease in leases],
            "versions": [lease.version for lease in leases],
        }
        rows = await self._database.execute(sql.CHECK, parameters)
        return [
            refusal(lease, token=writer, state=state, stopped=bool(stopped), latest=latest)
            for lease, (writer, state, _, stopped, latest) in zip(leases, rows, strict=True)
        ]

    async def claim(
        self,
        taker: Lease,
        *,
        lease: float,
        stop: bool,
        attempt: int | None = None,
        waits: bool = False,
    ) -> int | None:
        holder = self.presence.holder
        parameters = {
            **held_by(taker),
            "lease": lease,
            "stop": stop,
            "attempt": attempt,
            "waits": waits,
            "holder": holder,
        }
        # A stop is stored here.
        rows = await self._database.execute(sql.CLAIM, parameters)
        if not rows:
            return None
        if not waits:
            await self._hold(taker, holder, lease)
        return int(rows[0][0])

    async def release(self, lease: Lease, *, handover: bool = False) -> None:
        await self._database.execute(sql.RELEASE, {**held_by(lease), "handover": handover})

    async def info(self, stream_id: str, version: int | None = None) -> VersionInfo | None:
        rows = await self._database.execute(sql.INFO, {"stream": stream_id, "version": version})
        return VersionInfo(stream_id=stream_id, **rows[0]) if rows else None

    async def streams(self, *, prefix: str, after: str | None, limit: int) -> list[VersionInfo]:
        rows = await self._database.execute(
            sql.STREAMS, {"prefix": prefix, "after": after, "limit": limit}
        )
        return [VersionInfo(**row) for row in rows]

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
            "since": since,
            "after": stream_id,
            "number": number,
            "limit": limit,
        }
        ((now,),) = await self._database.execute(sql.NOW, {})
        rows = await self._database.execute(sql.CHANGES, parameters)
        return Changes(now, [VersionInfo(**row) for row in rows])

    async def versions(
        self, stream_id: str, *, before: int | None, limit: int
    ) -> list[VersionInfo]:
        rows = await self._database.execute(
            sql.VERSIONS, {"stream": stream_id, "before": before, "limit": limit}
        )
        return [VersionInfo(**row) for row in rows]

    async def timeline(
        self, stream_id: str, version: int, first: int, *, max_rows: int
    ) -> list[StoredChunk]:
        parameters = {"stream": stream_id, "version": version, "first": first, "max_rows": max_rows}
        return [StoredChunk(*row) for row in await self._database.execute(sql.TIMELINE, parameters)]

    async def holder_of(self, stream_id: str, version: int) -> str | None:
        parameters = {"stream": stream_id, "version": version}
        rows = await self._database.execute(HOLDER_OF, parameters)
        return session_named(*rows[0]) if rows else None

    async def request(self, stream_id: str, version: int) -> str | None:
        parameters = {"stream": stream_id, "version": version}
        rows = await self._database.execute(sql.REQUEST, parameters)
        return rows[0][0] if rows else None

    async def unattended(
        self, *, prefix: str, limit: int, state: WatchedState | None = None
    ) -> list[VersionInfo]:
        if state != "closed":
            await self.presence.await_lapses()
        parameters = {"prefix": prefix, "state": state, "limit": limit}
        rows = await self._database.execute(sql.UNATTENDED, parameters)
        return [VersionInfo(**row) for row in rows]

    async def attend(
        self, taker: Lease, *, lease: float, state: WatchedState = "closed"
    ) -> int | None:
        parameters = {**held_by(taker), "state": state, "lease": lease}
        rows = await self._database.execute(sql.ATTEND, parameters)
        return rows[0][0] if rows else None

    async def abandon(self, taker: Lease) -> None:
        await self._database.execute(sql.ABANDON, held_by(taker))

    async def settle(self, taker: Lease) -> None:
        await self._database.execute(sql.SETTLE, held_by(taker))

    async def delete(self, stream_id: str) -> bool:
        async def work(connection: DriverConnection) -> bool:
            ((latest,),) = await connection.execute(sql.LATEST, {"stream": stream_id})
            parameters = {"stream": stream_id, "latest": latest}
            openers = await connection.execute(sql.DELETE_VERSIONS, parameters)
            ((chunks,),) = await connection.execute(sql.DELETE_CHUNKS, parameters)
            await connection.execute(sql.DELETE_REQUESTS, parameters)
            if latest is not None:
                await connection.execute(sql.KEEP_NUMBER, parameters)
            return chunks > 0 or any(opener for (opener,) in openers)

        return await self._database.transaction(work)

    async def prune(self, *, older_than: float, limit: int) -> int:
        return await self._database.transaction(
            lambda connection: prune(connection, older_than=older_than, limit=limit)
        )

    async def aclose(self) -> None:
        await self.presence.aclose()
        if self._own_direct is not None:
            await self._own_direct.dispose()
        await self._database.aclose()
