"""Running statements on Postgres: connections, errors, and one retry for a connection that had died
in the pool.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, Final, TypeVar

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from monostream_ai.errors import MonostreamError, StoreUnavailable
from monostream_ai.stores.postgres.connections import Connections, DriverConnection, Statement
from monostream_ai.stores.postgres.setup import PostgresSchema
from monostream_ai.stores.sql.migrations import is_current, problem_with, upgrade
from monostream_ai.stores.sql.translation import (
    UNDEFINED_COLUMN,
    UNDEFINED_TABLE,
    as_unavailable,
    sqlstate,
)

T = TypeVar("T")

SETUP_LOCK: Final = 0x6D6F6E6F73747265
"""Key of the advisory lock under which tables are created ("monostre" in ASCII)."""

STEP_LOCK_TIMEOUT: Final = "5s"


class PostgresDatabase:
    """An engine as a store uses it: single statements in autocommit, a few short transactions.

    Args:
        statement_timeout: Seconds for a single statement; transactions and the schema have the
            engine's timeout.
        pooler: Give single statements a transaction too: without one, a pooler in transaction mode
            may change the server connection between preparing a statement and running it.
    """

    def __init__(
        self, engine: AsyncEngine, *, owned: bool, statement_timeout: float, pooler: bool = False
    ) -> None:
        self._engine = engine
        self._connections = Connections(engine)
        self._statement_timeout = statement_timeout
        self._pooler = pooler
        self._transactional = engine.execution_options(isolation_level="READ COMMITTED")
        self._owned = owned

    async def execute(self, statement: Statement, parameters: Mapping[str, Any]) -> Sequence[Any]:
        """Run one statement, atomic and safe to repeat, and return its rows.

        Raises:
            StoreUnavailable: The outcome is unknown.
            SchemaMissing, SchemaMismatch, SchemaOutdated: The tables are not there, not ours, or
                older than this package.
        """
        timeout = self._statement_timeout

        async def attempt() -> Sequence[Any]:
            async with self._connections.lend() as connection:
                if not self._pooler:
                    return await connection.execute(statement, parameters, timeout=timeout)
                async with connection.transaction(timeout=timeout):
                    return await connection.execute(statement, parameters, timeout=timeout)

        return await self._run(attempt)

    async def transaction(self, work: Callable[[DriverConnection], Awaitable[T]]) -> T:
        """Run the work in one transaction that is safe to repeat. Raises as `execute`."""

        async def attempt() -> T:
            async with self._connections.lend() as connection, connection.transaction():
                return await work(connection)

        return await self._run(attempt)

    async def setup(self) -> None:
        """Create or upgrade the tables. Raises SchemaMismatch, SchemaTooNew, StoreUnavailable."""
        if await self._schema_transaction(
            lambda connection: connection.run_sync(lambda sync: is_current(PostgresSchema(sync)))
        ):
            return

        async def work(connection: AsyncConnection) -> None:
            # Two processes that create one table at once collide in the catalog, IF NOT EXISTS or
            # not.
            await connection.execute(
                text("SELECT pg_advisory_xact_lock(:key)"), {"key": SETUP_LOCK}
            )
            # A step that waits for somebody's long transaction makes everybody else wait behind it.
            await connection.execute(
                text("SELECT set_config('lock_timeout', :timeout, true)"),
                {"timeout": STEP_LOCK_TIMEOUT},
            )
            await connection.run_sync(lambda sync: upgrade(PostgresSchema(sync)))

        await self._schema_transaction(work)

    async def schema_version(self) -> int:
        """Return the version of the schema; 0 if there is none."""
        return await self._schema_transaction(
            lambda connection: connection.run_sync(lambda sync: PostgresSchema(sync).version())
        )

    async def aclose(self) -> None:
        """Close the engine if it is ours."""
        if self._owned:
            await self._engine.dispose()

    async def _schema_transaction(self, work: Callable[[AsyncConnection], Awaitable[T]]) -> T:
        async def attempt() -> T:
            async with self._transactional.begin() as connection:
                return await work(connection)

        return await self._run(attempt)

    async def _run(self, attempt: Callable[[], Awaitable[T]]) -> T:
        try:
            try:
                return await attempt()
            except Exception as error:
                # A connection that had died in the pool is not the server's last word.
                if not isinstance(error, StoreUnavailable) and not getattr(
                    error, "connection_invalidated", False
                ):
                    raise
            return await attempt()
        except MonostreamError:
            raise
        except Exception as error:
            translated = await self._translated(error)
            if translated is None:
                raise
            raise translated from error

    async def _translated(self, error: Exception) -> MonostreamError | None:
        state = sqlstate(error)
        if state in (UNDEFINED_TABLE, UNDEFINED_COLUMN):
            async with self._transactional.connect() as connection:
                return await connection.run_sync(lambda sync: problem_with(PostgresSchema(sync)))
        return as_unavailable(error)
