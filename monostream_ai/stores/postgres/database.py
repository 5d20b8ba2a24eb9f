"""Run statements on Postgres: connections, errors, retries, and the schema."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any, Final, TypeVar

from sqlalchemy import Connection, text
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine
from sqlalchemy.schema import CreateTable

from monostream_ai.errors import (
    InvalidSchema,
    MissingPrivilege,
    MonostreamError,
    StoreUnavailable,
)
from monostream_ai.stores.postgres.connections import (
    Connections,
    DriverConnection,
    Statement,
    in_schema,
    quoted,
)
from monostream_ai.stores.postgres.engine import address_of, servers_of
from monostream_ai.stores.postgres.failovers import Failovers
from monostream_ai.stores.postgres.privileges import missing_privilege
from monostream_ai.stores.postgres.sessions import connect
from monostream_ai.stores.sql.migrations import Schema, is_current, problem_with, upgrade
from monostream_ai.stores.sql.schema import metadata_in
from monostream_ai.stores.sql.translation import (
    INSUFFICIENT_PRIVILEGE,
    LOST_STATEMENTS,
    UNDEFINED_COLUMN,
    UNDEFINED_TABLE,
    UNFIT_PARAMETERS,
    as_unavailable,
    driver_error,
    sqlstate,
)

logger = logging.getLogger(__name__)

T = TypeVar("T")

SETUP_LOCK: Final = 0x6D6F6E6F73747265
"""Key of the advisory lock under which tables are created ("monostre" in ASCII)."""

STEP_LOCK_TIMEOUT: Final = "5s"

MAX_NAME: Final = 63
"""Bytes of a name in Postgres, which cuts a longer one short."""

_LOOKED_INTO: Final = (UNDEFINED_TABLE, UNDEFINED_COLUMN, INSUFFICIENT_PRIVILEGE, *UNFIT_PARAMETERS)
"""States whose reason another connection tells: by the catalogs, or by failing to connect too."""

_COLUMNS = text(
    """
SELECT attname FROM pg_attribute
 WHERE attrelid = to_regclass(:table) AND attnum > 0 AND NOT attisdropped
"""
)


class PostgresSchema(Schema):
    """Our tables.

    Args:
        schema: Where they are; by default the connection's search path finds them.
    """

    instant = "timestamptz"

    def __init__(self, connection: Connection, schema: str | None = None) -> None:
        self._connection = connection
        self._schema = schema

    def columns(self, table: str) -> set[str]:
        return set(self._connection.scalars(_COLUMNS, {"table": in_schema(table, self._schema)}))

    def create_missing(self) -> None:
        if self._schema is not None and not self._schema_exists():
            self._connection.exec_driver_sql(f"CREATE SCHEMA {quoted(self._schema)}")
        for table in metadata_in(self._schema).sorted_tables:
            self._connection.execute(CreateTable(table, if_not_exists=True))

    def execute(self, statement: str) -> None:
        self._connection.exec_driver_sql(in_schema(statement, self._schema))

    def steps_taken(self) -> set[int]:
        taken = in_schema("SELECT version FROM monostream_schema", self._schema)
        return {version for (version,) in self._connection.exec_driver_sql(taken)}

    def _schema_exists(self) -> bool:
        asked = text("SELECT to_regnamespace(quote_ident(:schema)) IS NOT NULL")
        return bool(self._connection.scalar(asked, {"schema": self._schema}))


def checked_schema(schema: str | None) -> str | None:
    """Return the name of a schema. Raises InvalidSchema."""
    if schema is None:
        return None
    if not isinstance(schema, str) or not schema or "\0" in schema or not schema.isprintable():
        raise InvalidSchema(schema, "use the name of a Postgres schema")
    if len(schema.encode()) > MAX_NAME:
        raise InvalidSchema(schema, f"a name in Postgres has at most {MAX_NAME} bytes")
    return schema


class PostgresDatabase:
    """Single statements in autocommit, a few short transactions, and schema upgrades.

    Args:
        owned: Whether `aclose` disposes of the engine.
        statement_timeout: Seconds for a single statement. Transactions and the schema have the
            engine's timeout.
        schema: Of the tables; by default the search path finds them.
        pooler: The engine leads through a pooler, which is recognised otherwise.
    """

    def __init__(
        self,
        engine: AsyncEngine,
        *,
        owned: bool,
        statement_timeout: float,
        schema: str | None = None,
        pooler: bool = False,
    ) -> None:
        self._engine = engine
        self.schema = checked_schema(schema)
        self._connections = Connections(engine, schema=schema, pooler=pooler)
        self._failovers = Failovers(timeout=statement_timeout)
        self.statement_timeout = statement_timeout
        self._transactional = engine.execution_options(isolation_level="READ COMMITTED")
        self._owned = owned

    @property
    def address(self) -> str:
        """The URL without its secrets."""
        return address_of(self._engine)

    def text_of(self, statement: Statement) -> str:
        """Return the SQL of a statement, for a connection that is not of the pool."""
        return self._connections.text_of(statement)

    def lock_name(self, stream_id: str) -> str:
        """Return the name under which a stream is locked; advisory locks know no schemas."""
        return stream_id if self.schema is None else f"{quoted(self.schema)}.{stream_id}"

    async def execute(self, statement: Statement, parameters: Mapping[str, Any]) -> Sequence[Any]:
        """Run one statement, which must be safe to repeat, and return its rows.

        Raises:
            StoreUnavailable: The outcome is unknown.
            MissingPrivilege: The role may not do it, or may not connect.
            SchemaMissing, SchemaMismatch, SchemaOutdated: The tables do not exist, are not ours, or
                are older than this package.
        """
        timeout = self.statement_timeout

        async def attempt() -> Sequence[Any]:
            async with self._lend() as connection:
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
        """Create or upgrade the tables, unless the role may not and they can be used as they are.

        Raises:
            SchemaMismatch, SchemaTooNew, StoreUnavailable, MissingPrivilege
        """
        if await self._schema_transaction(
            lambda connection: connection.run_sync(
                lambda sync: is_current(PostgresSchema(sync, self.schema))
            )
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
            await connection.run_sync(lambda sync: upgrade(PostgresSchema(sync, self.schema)))

        try:
            await self._schema_transaction(work, setup=True)
        except MissingPrivilege:
            # Migrations of the application may have made them, and keep no record.
            if await self._schema_transaction(
                lambda connection: connection.run_sync(
                    lambda sync: problem_with(PostgresSchema(sync, self.schema))
                )
            ):
                raise
            logger.info("the role may not upgrade the tables; they have all columns as they are")

    async def schema_version(self) -> int:
        """Return the version of the schema; 0 if there is none."""
        return await self._schema_transaction(
            lambda connection: connection.run_sync(
                lambda sync: PostgresSchema(sync, self.schema).version()
            )
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

    async def _schema_transaction(
        self, work: Callable[[AsyncConnection], Awaitable[T]], *, setup: bool = False
    ) -> T:
        async def attempt() -> T:
            async with self._transactional.begin() as connection:
                return await work(connection)

        return await self._run(attempt, setup=setup)

    async def _run(self, attempt: Callable[[], Awaitable[T]], *, setup: bool = False) -> T:
        try:
            try:
                return await attempt()
            except Exception as error:
                if not self._may_repeat(error):
                    raise
            return await attempt()
        except MonostreamError:
            raise
        except Exception as error:
            # SQLAlchemy's error shows the statement and its values, so it is not even the cause.
            cause = driver_error(error)
            translated = await self._translated(error, setup=setup)
        if translated is None:
            raise cause
        raise translated from cause

    def _may_repeat(self, error: Exception) -> bool:
        """Return whether a second attempt may succeed at once."""
        if sqlstate(error) in LOST_STATEMENTS:
            return self._connections.forgets_statements()
        # A connection that died in the pool says nothing about the server.
        broken = isinstance(error, StoreUnavailable) or getattr(
            error, "connection_invalidated", False
        )
        if broken:
            logger.debug("a connection to Postgres broke: tries again on another one")
        return broken

    async def _translated(self, error: Exception, *, setup: bool) -> MonostreamError | None:
        state = sqlstate(error)
        if state not in _LOOKED_INTO:
            return as_unavailable(error, servers_of(self._engine))

        def reason(sync: Connection) -> MonostreamError | None:
            if state == INSUFFICIENT_PRIVILEGE:
                return missing_privilege(sync, self.schema, setup=setup)
            if state in UNFIT_PARAMETERS:
                return None
            return problem_with(PostgresSchema(sync, self.schema))

        try:
            connection = await connect(self._transactional)
        # The error was that of the connect, or the server is away by now.
        except MonostreamError as refused:
            return refused
        try:
            return await connection.run_sync(reason)
        finally:
            await connection.close()
