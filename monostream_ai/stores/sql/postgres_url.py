"""Postgres URLs and connection settings, shared by the store and the notifier."""

from __future__ import annotations

from typing import Any, Final

from sqlalchemy import URL, make_url
from sqlalchemy.exc import ArgumentError

from monostream_ai.errors import InvalidURL

CONNECT_ARGUMENTS: Final[dict[str, Any]] = {
    # Seconds to connect, and for any one statement: a server that is frozen without closing its sockets must not hang us.
    "timeout": 10.0,
    "command_timeout": 30.0,
    "server_settings": {"application_name": "monostream_ai", "lock_timeout": "5s"},
}


def postgres_url(url: str) -> URL:
    """Return the URL for asyncpg; `postgresql://` and `postgres://` are understood too.

    Raises:
        InvalidURL: It cannot be read, or it names another driver.
    """
    try:
        parsed = make_url(url)
    except (ArgumentError, ValueError) as error:
        raise InvalidURL("the URL cannot be read") from error
    if parsed.drivername not in ("postgresql", "postgres", "postgresql+asyncpg"):
        raise InvalidURL(f"the driver {parsed.drivername!r} is not asyncpg")
    # libpq's name for what asyncpg calls ssl; hosted databases hand out URLs with it.
    query = {("ssl" if key == "sslmode" else key): value for key, value in parsed.query.items()}
    return parsed.set(drivername="postgresql+asyncpg", query=query)
