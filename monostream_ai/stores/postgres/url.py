"""Postgres URLs and connection settings, shared by the store and the notifier."""

from __future__ import annotations

from typing import Any, Final
from uuid import uuid4

from sqlalchemy import URL, make_url
from sqlalchemy.exc import ArgumentError

from monostream_ai.errors import InvalidURL

CONNECT_ARGUMENTS: Final[dict[str, Any]] = {
    # Seconds to connect, and for any one statement: a server that is frozen without closing its
    # sockets must not hang us.
    "timeout": 10.0,
    "command_timeout": 30.0,
    # Seconds that a statement stays prepared. Its plan is made for tables of the size that they
    # have then, and what suits an empty one goes through every row of one that has filled since.
    "max_cached_statement_lifetime": 10,
    "server_settings": {"application_name": "monostream_ai"},
}

POOLER_ARGUMENTS: Final[dict[str, Any]] = {
    "statement_cache_size": 0,
    # Two clients of a pooler must not give one name to two statements on one server connection.
    "prepared_statement_name_func": lambda: f"__monostream_{uuid4().hex}__",
}


def postgres_url(url: str, *, pooler: bool = False) -> URL:
    """Return the URL for asyncpg; `postgresql://` and `postgres://` are understood too.

    Args:
        pooler: Let SQLAlchemy keep no prepared statement.

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
    if pooler:
        query["prepared_statement_cache_size"] = "0"
    return parsed.set(drivername="postgresql+asyncpg", query=query)
