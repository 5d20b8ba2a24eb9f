"""create_service: from a URL or an engine to a service on the backend that it names."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final, Literal, TypedDict, Unpack, overload

from monostream_ai._inline import Inline
from monostream_ai.errors import InvalidArgument, InvalidSchema, InvalidURL
from monostream_ai.interfaces import Notifier, Store
from monostream_ai.observing import Observer
from monostream_ai.protocol import C, ChunkProtocol
from monostream_ai.service import (
    DEFAULT_LEASE,
    DEFAULT_OUTAGE_TIMEOUT,
    DEFAULT_POLL_INTERVAL,
    DurableStreamService,
)

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncEngine

    from monostream_ai.ui_messages import Chunk

Kind = Literal["memory", "sqlite", "postgresql"]

KINDS: Final[dict[str, Kind]] = {
    "memory": "memory",
    "sqlite": "sqlite",
    "postgresql": "postgresql",
    "postgres": "postgresql",
}

MIN_STATEMENT_TIMEOUT: Final = 1.0
"""Seconds. If the lease is shorter than three times this, a connection to Postgres that goes silent
may cost a publisher its lease.
"""

MAX_STATEMENT_TIMEOUT: Final = 30.0


class _Options(TypedDict, total=False):
    lease: float
    poll_interval: float
    outage_timeout: float
    listen_url: str | None
    notifier: str | None
    pooler: bool
    schema: str | None
    create_tables: bool
    inline: Inline
    observer: Observer | None


@overload
def create_service(
    url: str | AsyncEngine, **options: Unpack[_Options]
) -> DurableStreamService[Chunk]: ...


@overload
def create_service(
    url: str | AsyncEngine, protocol: ChunkProtocol[C], **options: Unpack[_Options]
) -> DurableStreamService[C]: ...


def create_service(
    url: str | AsyncEngine,
    protocol: ChunkProtocol[Any] | None = None,
    *,
    lease: float = DEFAULT_LEASE,
    poll_interval: float = DEFAULT_POLL_INTERVAL,
    outage_timeout: float = DEFAULT_OUTAGE_TIMEOUT,
    listen_url: str | None = None,
    notifier: str | None = None,
    pooler: bool = False,
    schema: str | None = None,
    create_tables: bool = True,
    inline: Inline = "auto",
    observer: Observer | None = None,
) -> DurableStreamService[Any]:
    """Return a service for a database; it connects, and creates its tables, on first use.

    Args:
        url: `memory://`, `sqlite+aiosqlite:///file.db` or
            `postgresql+asyncpg://user:password@host/database`; the short forms `sqlite:///` and
            `postgresql://` mean the same. Or an async engine of SQLAlchemy for SQLite or Postgres,
            which is borrowed: `aclose` leaves it open.
        protocol: By default the UI message protocol of the AI SDK.
        lease, poll_interval, outage_timeout: In seconds, as for `DurableStreamService`.
        listen_url: Where to LISTEN, when `url` leads through a pooler in transaction mode such as
            pgbouncer, which swallows notifications. Without one, readers poll.
        notifier: `redis://host`, `rediss://…` or `unix://…` to send wake-ups through Redis instead
            of the database.
        pooler: `url` leads through a pooler in transaction mode, so that no statement may stay
            prepared. The first connection shows it by itself, unless the pooler passes on the
            server's process number. Not for an engine, whose own arguments say so.
        schema: The Postgres schema of the tables, created if it is not there; by default the search
            path finds them. Two schemas are as separate as two databases.
        observer: As for `DurableStreamService`.
        create_tables: False leaves the tables to your migrations.
        inline: Whether wake-ups carry committed chunks. `"auto"`: on Postgres, while every role
            that may connect may also read `stream_chunk`; through Redis, never. `"always"` and
            `"never"` as for `DurableStreamService`.

    Raises:
        InvalidURL: The URL names no backend, or has a parameter that cannot be served.
        InvalidEngine: The engine is not an async one of aiosqlite or asyncpg.
        InvalidArgument: `pooler` is given with an engine.
        InvalidSchema: The schema has no possible name, or the database has no schemas.
        MissingExtra: The packages for this database are not installed: names the extra.
    """
    # A third, so that a renewal on a connection that has gone silent leaves time for another one.
    timeout = min(max(MIN_STATEMENT_TIMEOUT, lease / 3), MAX_STATEMENT_TIMEOUT)
    if isinstance(url, str):
        store, own_notifier = _backend(
            url, listen_url, timeout=timeout, pooler=pooler or listen_url is not None, schema=schema
        )
    else:
        if pooler:
            raise InvalidArgument("pooler is for a URL: give your engine its arguments yourself")
        store, own_notifier = _lent(url, listen_url, timeout=timeout, schema=schema)
    return DurableStreamService(
        store,
        own_notifier() if notifier is None else redis_notifier(notifier),
        _ui_messages() if protocol is None else protocol,
        lease=lease,
        poll_interval=poll_interval,
        outage_timeout=outage_timeout,
        create_tables=create_tables,
        inline=inline,
        observer=observer,
    )


def _ui_messages() -> ChunkProtocol[Any]:
    # Imported here, so that a program with chunks of its own does not load it.
    from monostream_ai.ui_messages import UIMessageProtocol

    return UIMessageProtocol()


def kind_of(url: str) -> Kind:
    """Return which backend a URL names. Raises InvalidURL."""
    if not isinstance(url, str):
        raise InvalidURL(f"a URL is a text, not {type(url).__name__}")
    scheme, separator, _ = url.partition("://")
    if not separator:
        raise InvalidURL("the URL has no scheme")
    kind = KINDS.get(scheme.partition("+")[0])
    if kind is None:
        raise InvalidURL(f"no backend is called {scheme!r}")
    return kind


def redis_notifier(url: str) -> Notifier:
    """Return a notifier for a URL of Redis. Raises InvalidURL, MissingExtra."""
    if url.partition("://")[0] not in ("redis", "rediss", "unix"):
        raise InvalidURL("a notifier is redis://, rediss:// or unix://")
    from monostream_ai.notifiers.redis import RedisNotifier

    return RedisNotifier.from_url(url)


def _lent(
    engine: AsyncEngine, listen_url: str | None, *, timeout: float, schema: str | None
) -> tuple[Store, Callable[[], Notifier]]:
    dialect = getattr(engine, "dialect", None)
    if dialect is None:
        found = type(engine).__name__
        raise InvalidURL(f"a URL is a text, or an async engine of SQLAlchemy, not {found}")
    # Imported here, as in `_backend`.
    if dialect.name == "sqlite":
        if schema is not None:
            raise InvalidSchema(schema, "only Postgres has schemas")
        from monostream_ai.notifiers.sqlite import SQLiteNotifier
        from monostream_ai.stores.sqlite.store import SQLiteStore

        sqlite = SQLiteStore(engine)
        return sqlite, lambda: SQLiteNotifier(sqlite)
    from monostream_ai.notifiers.postgres import PostgresNotifier, channel_of
    from monostream_ai.stores.postgres.store import PostgresStore

    store = PostgresStore(engine, statement_timeout=timeout, schema=schema)
    channel = channel_of(schema)
    if listen_url is None:
        return store, lambda: PostgresNotifier(engine, channel=channel)
    return store, lambda: PostgresNotifier.from_url(listen_url, channel=channel)


def _backend(
    url: str, listen_url: str | None, *, timeout: float, pooler: bool, schema: str | None
) -> tuple[Store, Callable[[], Notifier]]:
    # Imported here, so that a service in memory loads no database library.
    kind = kind_of(url)
    if schema is not None and kind != "postgresql":
        raise InvalidSchema(schema, "only Postgres has schemas")
    if kind == "memory":
        from monostream_ai.notifiers.memory import MemoryNotifier
        from monostream_ai.stores.memory import MemoryStore

        return MemoryStore(), MemoryNotifier
    if kind == "sqlite":
        from monostream_ai.notifiers.sqlite import SQLiteNotifier
        from monostream_ai.stores.sqlite.store import SQLiteStore

        sqlite = SQLiteStore.from_url(url)
        return sqlite, lambda: SQLiteNotifier(sqlite)
    from monostream_ai.notifiers.postgres import PostgresNotifier, channel_of
    from monostream_ai.stores.postgres.store import PostgresStore
    from monostream_ai.stores.postgres.urls import read_url

    address = read_url(url)
    listening = address if listen_url is None else read_url(listen_url)
    schema = address.schema if schema is None else schema
    store = PostgresStore.from_url(
        address,
        pooler=pooler,
        statement_timeout=timeout,
        schema=schema,
        direct_url=None if listen_url is None else listening,
    )
    return store, lambda: PostgresNotifier.from_url(listening, channel=channel_of(schema))
