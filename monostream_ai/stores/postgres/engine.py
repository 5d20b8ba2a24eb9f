"""Postgres URLs, and the engines made from them, which never wait for a silent connection.

A connection is silent when a firewall forgot it or the server froze: nothing closes it, and
nothing answers. The store and the notifier both connect through here.
"""

from __future__ import annotations

from typing import Any, Final
from uuid import uuid4

from sqlalchemy import URL, event, make_url
from sqlalchemy.engine import ExceptionContext
from sqlalchemy.exc import ArgumentError
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from monostream_ai.errors import InvalidURL

CONNECT_ARGUMENTS: Final[dict[str, Any]] = {
    # Seconds to connect, and for any one statement. A server that freezes without closing its
    # sockets would otherwise hang us.
    "timeout": 10.0,
    "command_timeout": 30.0,
    # Seconds that a statement stays prepared. Its plan fits the tables as large as they were when
    # it was made: a plan for an empty table scans every row of one that has filled since.
    "max_cached_statement_lifetime": 10,
    "server_settings": {"application_name": "monostream_ai"},
}

POOLER_ARGUMENTS: Final[dict[str, Any]] = {
    "statement_cache_size": 0,
    # Two clients of a pooler share a server connection, so their statements need distinct names.
    "prepared_statement_name_func": lambda: f"__monostream_{uuid4().hex}__",
}


def postgres_url(url: str, *, pooler: bool = False) -> URL:
    """Return the URL for asyncpg; accepts `postgresql://` and `postgres://` too.

    Args:
        pooler: Keep SQLAlchemy from caching prepared statements.

    Raises:
        InvalidURL: The URL cannot be parsed, or it names another driver.
    """
    try:
        parsed = make_url(url)
    except (ArgumentError, ValueError) as error:
        raise InvalidURL("the URL cannot be read") from error
    if parsed.drivername not in ("postgresql", "postgres", "postgresql+asyncpg"):
        raise InvalidURL(f"the driver {parsed.drivername!r} is not asyncpg")
    # Hosted databases hand out URLs with libpq's `sslmode`; asyncpg calls the same setting `ssl`.
    query = {("ssl" if key == "sslmode" else key): value for key, value in parsed.query.items()}
    if pooler:
        query["prepared_statement_cache_size"] = "0"
    return parsed.set(drivername="postgresql+asyncpg", query=query)


def address_of(engine: AsyncEngine) -> str:
    """Return the engine's URL without its secrets, for `repr`."""
    url = engine.url
    # The query may hold a password too (`?password=…`). Only the address of a Unix socket is kept.
    query = {key: value for key, value in url.query.items() if key in ("host", "port")}
    address = URL.create(
        url.drivername, url.username, None, url.host, url.port, url.database, query
    )
    return address.render_as_string()


def make_engine(url: str, *, pool_size: int, pooler: bool = False) -> AsyncEngine:
    """Return an engine; arguments as for `PostgresStore.from_url`."""
    engine = create_async_engine(
        postgres_url(url, pooler=pooler),
        pool_size=pool_size,
        max_overflow=0,
        pool_timeout=10,
        connect_args=CONNECT_ARGUMENTS | (POOLER_ARGUMENTS if pooler else {}),
    )
    event.listen(engine.sync_engine, "handle_error", _distrust_the_pool)
    event.listen(engine.sync_engine, "close", _hang_up)
    return engine


def _distrust_the_pool(context: ExceptionContext) -> None:
    # One connection going silent means the others have too, and each would cost the full timeout
    # of a statement.
    if isinstance(context.original_exception, TimeoutError):
        context.is_disconnect = True
        context.invalidate_pool_on_disconnect = True


def _hang_up(connection: Any, record: object) -> None:
    # Terminate, do not close: closing waits for the server's answer, and a silent server gives
    # none.
    connection.driver_connection.terminate()
