"""Engines for asyncpg that never wait for a silent connection.

A connection is silent when a firewall forgot it or the server froze: nothing closes it, and
nothing answers. The store and the notifier both connect through here.
"""

from __future__ import annotations

import socket
from collections.abc import Mapping
from typing import Any, Final
from uuid import uuid4

from sqlalchemy import event
from sqlalchemy.engine import URL, ExceptionContext
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from monostream_ai.errors import InvalidEngine
from monostream_ai.stores.postgres.urls import PostgresURL, read_url

CONNECT_ARGUMENTS: Final[dict[str, Any]] = {
    # Seconds to connect, and for any one statement. A server that freezes without closing its
    # sockets would otherwise hang us.
    "timeout": 10.0,
    "command_timeout": 30.0,
    # Seconds that a statement stays prepared. Its plan fits the tables as large as they were when
    # it was made: a plan for an empty table scans every row of one that has filled since.
    "max_cached_statement_lifetime": 10,
    "server_settings": {"application_name": "monostream_ai"},
    # SQLAlchemy prepares the few statements on the schema. Two clients of a pooler share a server
    # connection, so these need distinct names and must not be kept.
    "prepared_statement_cache_size": 0,
    "prepared_statement_name_func": lambda: f"__monostream_{uuid4().hex}__",
}

_SOCKET_OPTIONS: Final = {
    "keepalives_idle": "TCP_KEEPIDLE",
    "keepalives_interval": "TCP_KEEPINTVL",
    "keepalives_count": "TCP_KEEPCNT",
    "tcp_user_timeout": "TCP_USER_TIMEOUT",
}
"""Names in libpq and in `socket`; not every system has all of them."""

_NEEDED: Final = "postgresql+asyncpg://…"


def connect_arguments(url: PostgresURL) -> dict[str, Any]:
    """Return the arguments of `asyncpg.connect`, beyond those in `url.url`."""
    arguments = {**CONNECT_ARGUMENTS, **url.arguments}
    arguments["server_settings"] = {
        **CONNECT_ARGUMENTS["server_settings"],
        **url.arguments["server_settings"],
    }
    return arguments


def require_asyncpg(engine: object, user: str) -> None:
    """Raise InvalidEngine unless the engine is an async one of asyncpg."""
    if not isinstance(engine, AsyncEngine):
        raise InvalidEngine(user, f"an object of {type(engine).__name__}", _NEEDED)
    if (engine.dialect.name, engine.dialect.driver) != ("postgresql", "asyncpg"):
        found = f"an engine of {engine.dialect.name}+{engine.dialect.driver}"
        raise InvalidEngine(user, found, _NEEDED)


def address_of(engine: AsyncEngine) -> str:
    """Return the engine's URL without its secrets, for `repr`."""
    url = engine.url
    # The query may hold a password too (`?password=…`). Only the address of a Unix socket is kept.
    query = {key: value for key, value in url.query.items() if key in ("host", "port")}
    address = URL.create(
        url.drivername, url.username, None, url.host, url.port, url.database, query
    )
    return address.render_as_string()


def servers_of(engine: AsyncEngine) -> str:
    """Return the addresses of an engine's URL, for messages."""
    return read_url(address_of(engine)).servers


def postgres_url(url: str) -> URL:
    """Return the address for an engine of your own. Raises InvalidURL."""
    return read_url(url).url


def make_engine(url: str | PostgresURL, *, pool_size: int, pooler: bool = False) -> AsyncEngine:
    """Return an engine with at most this many connections.

    Args:
        pooler: It is known to lead through a pooler, as the URL may say too.

    Raises:
        InvalidURL
    """
    url = read_url(url)
    arguments = connect_arguments(url)
    if pooler or url.pooler:
        arguments["statement_cache_size"] = 0
    engine = create_async_engine(
        url.url,
        pool_size=pool_size,
        max_overflow=0,
        pool_timeout=10,
        connect_args=arguments,
    )
    event.listen(engine.sync_engine, "handle_error", _distrust_the_pool)
    event.listen(engine.sync_engine, "close", _hang_up)
    if url.keepalives:
        event.listen(
            engine.sync_engine,
            "connect",
            lambda connection, record: _keep_alive(connection.driver_connection, url.keepalives),
        )
    return engine


def _keep_alive(driver: Any, keepalives: Mapping[str, int]) -> None:
    # asyncpg has no public way to its socket.
    found = driver._transport.get_extra_info("socket")
    if found is None or found.family == socket.AF_UNIX:
        return
    found.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for key, number in keepalives.items():
        option = getattr(socket, _SOCKET_OPTIONS[key], None)
        # 0 stands for the system's own, as in libpq.
        if option is not None and number:
            found.setsockopt(socket.IPPROTO_TCP, option, number)


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
