"""Engines of our own for Postgres, which wait for no connection that has gone silent."""

from __future__ import annotations

from typing import Any

from sqlalchemy import event
from sqlalchemy.engine import ExceptionContext
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from monostream_ai.stores.postgres.url import CONNECT_ARGUMENTS, POOLER_ARGUMENTS, postgres_url


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
    # What froze one connection has frozen the others too, and each would cost the whole timeout of
    # a statement.
    if isinstance(context.original_exception, TimeoutError):
        context.is_disconnect = True
        context.invalidate_pool_on_disconnect = True


def _hang_up(connection: Any, record: object) -> None:
    # No goodbye: the server answers it, and it may be the server, or the way there, that does not
    # answer.
    connection.driver_connection.terminate()
