"""Statements on asyncpg's own connections, borrowed from an SQLAlchemy engine's pool.

The pool, its settings and its events stay the engine's. Past the checkout, a statement costs as
much as with asyncpg alone, some 200 µs less than through a SQLAlchemy connection.

A pooler in transaction mode, such as pgbouncer, gives a client another server connection for each
transaction. It is recognised by itself: behind it, each statement gets a transaction, and none
stays prepared.
"""

from __future__ import annotations

import logging
import re
import time
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, MutableMapping, Sequence
from contextlib import asynccontextmanager
from datetime import datetime
from typing import Any, Final

from sqlalchemy import PoolProxiedConnection
from sqlalchemy.ext.asyncio import AsyncEngine
from sqlalchemy.util import greenlet_spawn

from monostream_ai.errors import StoreUnavailable
from monostream_ai.stores.sql.schema import metadata
from monostream_ai.stores.sql.translation import as_unavailable

logger = logging.getLogger(__name__)

_SINCE: Final = "monostream_ai.since"
_PARAMETER: Final = re.compile(r"(?<!:):([a-z_]+)")
_ARRAY: Final = re.compile(r"CAST\(:([a-z_]+) AS ([a-z]+)\[\]\)")


_TABLE: Final = re.compile(rf"\b({'|'.join(metadata.tables)})\b")

LOOK_TIMEOUT: Final = 5.0
"""Seconds that a new connection has to say whether it leads through a pooler."""


def in_schema(sql: str, schema: str | None) -> str:
    """Return the SQL with our tables qualified, unless the search path is to find them.

    A search path set in the session would be lost behind a pooler, with the server connection.
    """
    if schema is None:
        return sql
    prefix = quoted(schema)
    return _TABLE.sub(lambda match: f"{prefix}.{match[0]}", sql)


def quoted(name: str) -> str:
    """Return a name as an identifier."""
    return '"' + name.replace('"', '""') + '"'


class Statement:
    """SQL with `:name` parameters, rewritten with `$1` for asyncpg; each name gets one number."""

    def __init__(self, sql: str) -> None:
        # Each array is wrapped in a subquery, which hides its length from the planner. Postgres
        # would otherwise plan the statement anew at each run, which takes longer than running it:
        # a tail read of one stream took 413 µs of the server's CPU, and takes 53 µs.
        #
        # Numbers travel as the text of their array: asyncpg tests each element of a list twice for
        # being a list itself, which for a number takes longer than to print and to parse it.
        self._literals = {name for name, kind in _ARRAY.findall(sql) if kind != "text"}
        sql = _ARRAY.sub(_hidden, sql)
        self._names = [*dict.fromkeys(_PARAMETER.findall(sql))]
        self.sql: Final = _PARAMETER.sub(lambda match: f"${self._names.index(match[1]) + 1}", sql)

    def arguments(self, parameters: Mapping[str, Any]) -> list[Any]:
        """Return the values in the order of their numbers; surplus parameters are ignored, and
        `promoted_at` and `holder` are None unless they are given.
        """
        values = {"promoted_at": None, "holder": None, **parameters}
        return [
            _literal(values[name]) if name in self._literals else values[name]
            for name in self._names
        ]


def _hidden(array: re.Match[str]) -> str:
    name, kind = array.groups()
    given = f":{name}" if kind == "text" else f"CAST(:{name} AS text)"
    return f"(SELECT CAST({given} AS {kind}[]))"


def _literal(values: Iterable[int | None]) -> str:
    """Return numbers or booleans as Postgres writes an array."""
    return f"{{{','.join(map(str, values))}}}".replace("None", "NULL")


class DriverConnection:
    """An asyncpg connection, in autocommit outside of `transaction`.

    Args:
        info: The dictionary that the pool keeps with the connection.
        text_of: Gives the SQL of a statement, qualified.
        pooled: It leads through a pooler.
    """

    def __init__(
        self,
        driver: Any,
        info: MutableMapping[Any, Any],
        text_of: Callable[[Statement], str],
        *,
        pooled: bool,
    ) -> None:
        self.driver = driver
        self.info = info
        self.pooled = pooled
        self.promoted_at: datetime | None = None
        """When a failover was noticed: a parameter of the statements that judge leases."""
        self._text_of = text_of
        self._in_transaction = False

    async def execute(
        self, statement: Statement, parameters: Mapping[str, Any], *, timeout: float | None = None
    ) -> Sequence[Any]:
        """Run one statement and return its rows; it stays prepared on a direct connection.

        Args:
            timeout: In seconds, by default the engine's.

        Raises:
            TimeoutError: The statement took longer.
        """
        sql = self._text_of(statement)
        arguments = statement.arguments({"promoted_at": self.promoted_at, **parameters})
        if not self.pooled:
            rows: Sequence[Any] = await self.driver.fetch(sql, *arguments, timeout=timeout)
            return rows
        if not self._in_transaction:
            async with self.transaction(timeout=timeout):
                return await self.execute(statement, parameters, timeout=timeout)
        # Without a name, so that it lives no longer than this transaction.
        prepared = await self.driver.prepare(sql, name="", timeout=timeout)
        rows = await prepared.fetch(*arguments, timeout=timeout)
        return rows

    @asynccontextmanager
    async def transaction(self, *, timeout: float | None = None) -> AsyncIterator[None]:
        """Run the block in a transaction: commit at its end, roll back if it raises.

        Args:
            timeout: Seconds for each of BEGIN, COMMIT and ROLLBACK; by default the engine's.
        """
        await self.driver.execute("BEGIN ISOLATION LEVEL READ COMMITTED", timeout=timeout)
        self._in_transaction = True
        try:
            yield
        # A silent connection would not answer ROLLBACK either. Its lender drops it, which rolls
        # back.
        except TimeoutError:
            raise
        except Exception:
            await self.driver.execute("ROLLBACK", timeout=timeout)
            raise
        finally:
            self._in_transaction = False
        await self.driver.execute("COMMIT", timeout=timeout)


class Connections:
    """Lends connections of an engine's pool.

    Args:
        schema: Of the tables; by default the search path finds them.
        pooler: They lead through a pooler. Otherwise the first connection shows it.
    """

    def __init__(
        self, engine: AsyncEngine, *, schema: str | None = None, pooler: bool = False
    ) -> None:
        self._engine = engine
        self._schema = schema
        self._texts: dict[Statement, str] = {}
        self._pooled = True if pooler else None
        # By the monotonic clock: connections opened before this moment are dropped, not lent.
        self._trusted_from = 0.0

    def forgets_statements(self) -> bool:
        """Note that a prepared statement was lost, as behind a pooler that we did not recognise.

        Returns:
            Whether it is news: a repeated call will not prepare it.
        """
        news = not self._pooled
        self._pooled = True
        if news:
            logger.info("the server forgets prepared statements: uses none from now on")
        return news

    @asynccontextmanager
    async def lend(self) -> AsyncIterator[DriverConnection]:
        """Lend a connection that is not known to be dead.

        Raises:
            StoreUnavailable: The connection broke while it was lent.
        """
        pooled = await self._engine.raw_connection()
        # After a restart of the server the pool is full of dead connections, most of which know it.
        while self._is_stale(pooled):
            pooled.invalidate()
            pooled = await self._engine.raw_connection()
        driver: Any = pooled.driver_connection
        try:
            if self._pooled is None:
                self._pooled = await leads_through_pooler(driver)
                if self._pooled:
                    logger.info("the connection leads through a pooler: prepares no statements")
            if self._pooled:
                # asyncpg takes this at the connect only, before a pooler can be recognised. It
                # prepares statements of its own, which look up types.
                driver._stmt_cache_enabled = False
            yield DriverConnection(driver, pooled.info, self.text_of, pooled=self._pooled)
        except BaseException as error:
            broken = driver.is_closed()
            if isinstance(error, TimeoutError):
                # One connection going silent means the others have too, and each would cost the
                # full timeout of a statement.
                self._trusted_from = time.monotonic()
                logger.debug("a statement timed out: replaces all connections of the pool")
            if broken or not isinstance(error, Exception) or isinstance(error, TimeoutError):
                # After a timeout or a cancellation, the answer to the abandoned statement may still
                # arrive; the next borrower would take it for its own.
                pooled.invalidate(error)
            if broken and isinstance(error, Exception):
                raise as_unavailable(error) or StoreUnavailable("the connection broke") from error
            raise
        finally:
            # The pool's event listeners expect to run in a greenlet.
            await greenlet_spawn(pooled.close)

    def _is_stale(self, pooled: PoolProxiedConnection) -> bool:
        driver: Any = pooled.driver_connection
        return (
            bool(driver.is_closed())
            or pooled.info.setdefault(_SINCE, time.monotonic()) < self._trusted_from
        )

    def text_of(self, statement: Statement) -> str:
        """Return the SQL of a statement with our tables qualified."""
        text = self._texts.get(statement)
        if text is None:
            text = self._texts[statement] = in_schema(statement.sql, self._schema)
        return text


async def leads_through_pooler(driver: Any) -> bool:
    """Return whether a pooler stands between us and the server: it tells its clients a process
    number that it made up, since the processes behind it change.
    """
    answer = bytearray()

    async def keep(data: bytes) -> None:
        answer.extend(data)

    # COPY is one message that prepares nothing, so that a pooler cannot take it apart.
    await driver.copy_from_query("SELECT pg_backend_pid()", output=keep, timeout=LOOK_TIMEOUT)
    return int(answer) != int(driver.get_server_pid())
