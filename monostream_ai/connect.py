"""create_service: from a URL to a service. The only place that knows every backend."""

from __future__ import annotations

from typing import Any

from monostream_ai.errors import InvalidURL
from monostream_ai.interfaces import Notifier, Store
from monostream_ai.protocol import ChunkProtocol
from monostream_ai.service import (
    DEFAULT_LEASE,
    DEFAULT_OUTAGE_TIMEOUT,
    DEFAULT_POLL_INTERVAL,
    DurableStreamService,
)
from monostream_ai.ui_messages import UIMessageProtocol


def create_service(
    url: str,
    protocol: ChunkProtocol[Any] | None = None,
    *,
    lease: float = DEFAULT_LEASE,
    poll_interval: float = DEFAULT_POLL_INTERVAL,
    outage_timeout: float = DEFAULT_OUTAGE_TIMEOUT,
    listen_url: str | None = None,
    create_tables: bool = True,
) -> DurableStreamService[Any]:
    """Return a service for a database; it connects, and creates its tables, on first use.

    Args:
        url: `memory://`, `sqlite+aiosqlite:///file.db` or `postgresql+asyncpg://user:password@host/database`; the short forms
            `sqlite:///` and `postgresql://` mean the same.
        protocol: By default the UI message protocol of the AI SDK.
        lease, poll_interval, outage_timeout: In seconds, as for `DurableStreamService`.
        listen_url: Where to LISTEN, when `url` leads through a pooler in transaction mode such as pgbouncer, which swallows
            notifications; no statement stays prepared on `url` then.
        create_tables: False leaves the tables to your migrations.

    Raises:
        InvalidURL: The URL names no backend.
    """
    store, notifier = _backend(url, listen_url)
    return DurableStreamService(
        store,
        notifier,
        UIMessageProtocol() if protocol is None else protocol,
        lease=lease,
        poll_interval=poll_interval,
        outage_timeout=outage_timeout,
        create_tables=create_tables,
    )


def _backend(url: str, listen_url: str | None) -> tuple[Store, Notifier]:
    scheme, separator, _ = url.partition("://")
    kind = scheme.partition("+")[0]
    if not separator:
        raise InvalidURL("the URL has no scheme")
    # Imported here, so that a service in memory loads no database library.
    if kind == "memory":
        from monostream_ai.notifiers.memory import MemoryNotifier
        from monostream_ai.stores.memory import MemoryStore

        return MemoryStore(), MemoryNotifier()
    if kind == "sqlite":
        from monostream_ai.notifiers.sqlite import SQLiteNotifier
        from monostream_ai.stores.sql import SQLiteStore

        sqlite = SQLiteStore.from_url(url)
        return sqlite, SQLiteNotifier(sqlite)
    if kind in ("postgresql", "postgres"):
        from monostream_ai.notifiers.postgres import PostgresNotifier
        from monostream_ai.stores.sql import PostgresStore

        postgres = PostgresStore.from_url(url, pooler=listen_url is not None)
        return postgres, PostgresNotifier.from_url(listen_url or url)
    raise InvalidURL(f"no backend is called {scheme!r}")
