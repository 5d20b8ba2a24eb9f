"""Run statements on Postgres: connections, errors, retries, and the schema."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any, Final, TypeVar

from sqlalchemy import Connection, select, text
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine
from sqlalchemy.schema import CreateTable

from monostream_ai.errors import MonostreamError, StoreUnavailable
from monostream_ai.stores.postgres.connections import Connections, DriverConnection, Statement
from monostream_ai.stores.postgres.engine import address_of
from monostream_ai.stores.postgres.failovers import Failovers
from monostream_ai.stores.sql.migrations import Schema, is_current, problem_with, upgrade
from monostream_ai.stores.sql.schema import metadata, schema_version
from monostream_ai.stores.sql.translation import (
    UNDEFINED_COLUMN,
    UNDEFINED_TABLE,
    as_unavailable,
    sqlstate,
)

logger = logging.getLogger(__name__)

T = TypeVar("T")

SETUP_LOCK: Final = 0x6D6F6E6F73747265
"""Key of the advisory lock under which tables are created ("monostre" in ASCII)."""

STEP_LOCK_TIMEOUT: Final = "5s"

_COLUMNS = text(
    """
SELECT attname FROM pg_attribute
 WHERE attrelid = to_regclass(quote_ident(:table)) AND attnum > 0 AND NOT attisdropped
"""
)


class PostgresSchema(Schema):
    """Our tables, as the connection's search path finds them."""

    instant = "timestamptz"

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def columns(self, table: str) -> set[str]:
        return set(self._connection.scalars(_COLUMNS, {"table": table}))

    def create_missing(self) -> None:
        for table in metadata.sorted_tables:
            self._connection.execute(CreateTable(table, if_not_exists=True))

    def execute(self, statement: str) -> None:
        self._connection.execute(text(statement))

    def steps_taken(self) -> set[int]:
        return set(self._connection.scalars(select(schema_version.c.version)))


class PostgresDatabase:
    """Single statements in autocommit, a few short transactions, and schema upgrades.

    Args:
        owned: Whether `aclose` disposes of the engine.
        statement_timeout: Seconds for a single statement. Transactions and the schema have the
            engine's timeout.
        pooler: Run single statements in a transaction too. Without one, a pooler in transaction
            mode may switch the server connection between preparing a statement and running it.
    """

    def __init__(
        self, engine: AsyncEngine, *, owned: bool, statement_timeout: float, pooler: bool = False
    ) -> None:
        self._engine = engine
        self._connections = Connections(engine)
        self._failovers = Failovers(pooler=pooler, timeout=statement_timeout)
        self.statement_timeout = statement_timeout
        self._pooler = pooler
        self._transactional = engine.execution_options(isolation_level="READ COMMITTED")
        self._owned = owned

    @property
    def address(self) -> str:
        """The URL without its secrets."""
        return address_of(self._engine)

    async def execute(self, statement: Statement, parameters: Mapping[str, Any]) -> Sequence[Any]:
        """Run one statement, which must be safe to repeat, and return its rows.

        Raises:
            StoreUnavailable: The outcome is unknown.
            SchemaMissing, SchemaMismatch, SchemaOutdated: The tables do not exist, are not ours, or
                are older than this package.
        """
        timeout = self.statement_timeout

        async def attempt() -> Sequence[Any]:
            async with self._lend() as connection:
                if not self._pooler:
                    return await connection.execute(statement, parameters, timeout=timeout)
                async with connection.transaction(timeout=timeout):
                    return await connection.execute(statement, parameters, timeout=timeout)

        return await self._run(attempt)

    async def transaction(
        self, work: Callable[[DriverConnection], Awaitable[T]], *, timeout: float | None = None
    ) -> T:
        """Run the work in one transaction, which must be safe to repeat. Raises as `execute`.

        Args:
            timeout: Seconds for its begin and its end; by default the engine's timeout.
        """

        async def attempt() -> T:
            async with self._lend() as connection:
                async with connection.transaction(timeout=timeout):
                    return await work(connection)

        return await self._run(attempt)

    async def setup(self) -> None:
        """Create or upgrade the tables. Raises SchemaMismatch, SchemaTooNew, StoreUnavailable."""
        if await self._schema_transaction(
            lambda connection: connection.run_sync(lambda sync: is_current(PostgresSchema(sync)))
        ):
            return

        async def work(connection: AsyncConnection) -> None:
            # Two processes that create one table at once collide in the catalog, even with IF NOT
            # EXISTS.
            await connection.execute(
                text("SELECT pg_advisory_xact_lock(:key)"), {"key": SETUP_LOCK}
            )
            # A step that waits for a long transaction blocks every later statement on its table.
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

    @asynccontextmanager
    async def _lend(self) -> AsyncIterator[DriverConnection]:
        async with self._connections.lend() as connection:
            await self._failovers.look(connection)
            yield connection

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
                # A connection that died in the pool says nothing about the server: try once more.
                if not isinstance(error, StoreUnavailable) and not getattr(
                    error, "connection_invalidated", False
                ):
                    raise
                logger.debug("a connection to Postgres broke: tries again on another one")
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
