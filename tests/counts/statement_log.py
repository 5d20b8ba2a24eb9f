"""Counts the statements that the connections of an engine send, by kind."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Sequence
from typing import Any, Final, Self

from sqlalchemy import event
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from monostream_ai import DurableStreamService
from monostream_ai._inline import Inline
from monostream_ai.errors import MonostreamError
from monostream_ai.interfaces import Store
from monostream_ai.notifiers.postgres import PostgresNotifier
from monostream_ai.stores.forwarding import ForwardingStore
from monostream_ai.stores.postgres.engine import postgres_url
from monostream_ai.stores.sql import PostgresStore
from monostream_ai.types import Append, Page, Position
from tests.chunks import PROTOCOL, Chunk

_KINDS: Final = {
    "INSERT INTO stream_version": "open",
    "INSERT INTO stream_chunk": "append",
    "pg_notify(": "notify",
    "array_agg(": "read",
}


class CountingStore(ForwardingStore):
    """Counts the positions that it is asked for, the rows of the pages that it returns, and the
    batches that it is given.
    """

    def __init__(self, inner: Store) -> None:
        super().__init__(inner)
        self.rows = 0
        self.batches = 0
        self.asked = 0
        self.first_read = asyncio.Event()

    async def append(
        self, appends: Sequence[Append], *, lease: float
    ) -> list[MonostreamError | None]:
        self.batches += 1
        return await super().append(appends, lease=lease)

    async def read(
        self, positions: Sequence[Position], *, max_rows: int, max_bytes: int
    ) -> list[Page]:
        pages = await super().read(positions, max_rows=max_rows, max_bytes=max_bytes)
        self.asked += len(positions)
        self.rows += sum(len(page.payloads) for page in pages)
        self.first_read.set()
        return pages


class CountedProcess:
    """A service with an engine of its own, as one more process would have."""

    def __init__(self, url: str, *, poll_interval: float = 600.0, inline: Inline = "never") -> None:
        self.statements: Counter[str] = Counter()
        self._engine: AsyncEngine = create_async_engine(
            postgres_url(url), pool_size=5, max_overflow=0
        )
        event.listen(self._engine.sync_engine, "connect", self._log)
        self._notifier = PostgresNotifier(self._engine)
        self.store = CountingStore(PostgresStore(self._engine))
        # Leases and polls so long that nothing but the test makes a statement.
        self.service: DurableStreamService[Chunk] = DurableStreamService(
            self.store,
            self._notifier,
            PROTOCOL,
            lease=600.0,
            poll_interval=poll_interval,
            create_tables=True,
            inline=inline,
        )

    async def __aenter__(self) -> Self:
        await self.service.__aenter__()
        async with asyncio.timeout(20):
            # Until the notifier has heard itself.
            while not self._notifier.healthy:
                await asyncio.sleep(0.01)
        return self

    async def __aexit__(self, *error: Any) -> None:
        await self.service.aclose()
        await self._engine.dispose()

    def _log(self, connection: Any, record: object) -> None:
        connection.driver_connection.add_query_logger(self._take)

    def _take(self, logged: Any) -> None:
        # Once for each connection, the driver asks for types and the store for failovers. Those
        # statements are not counted: the pool may open a connection at any time.
        if "monostream_timeline" in logged.query:
            return
        if "stream_" in logged.query or "pg_notify(" in logged.query:
            self.statements[
                next(
                    (kind for words, kind in _KINDS.items() if words in logged.query), logged.query
                )
            ] += 1
