"""Connections that stay with us for as long as they last, taken out of an engine's pool."""

from __future__ import annotations

import asyncio
import os
import weakref
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Sequence
from contextlib import asynccontextmanager, suppress
from typing import Any, Final, TypeVar

from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from monostream_ai.errors import MissingPrivilege, StoreError, StoreUnavailable
from monostream_ai.stores.postgres.engine import servers_of
from monostream_ai.stores.sql.translation import (
    INSUFFICIENT_PRIVILEGE,
    UNFIT_PARAMETERS,
    as_unavailable,
    driver_error,
    sqlstate,
)

PROBE_INTERVAL: Final = 15.0
PROBE_TIMEOUT: Final = 5.0
"""Seconds of silence before a probe, and until its answer, as of the notifiers."""

CANCEL_PATIENCE: Final = 1.0
"""Seconds that a connect or a statement gets to end by itself when it is cancelled."""

MOST_DEAD: Final = 10
"""Connections of the pool that may have died before one that lives is asked for in vain."""

T = TypeVar("T")

_sessions: weakref.WeakSet[Session] = weakref.WeakSet()


class Session:
    """asyncpg's connection, and an event that is set when it ends. One statement at a time."""

    def __init__(self, driver: Any) -> None:
        self.driver = driver
        self.lost = asyncio.Event()
        self._turn = asyncio.Lock()
        driver.add_termination_listener(lambda _: self.lost.set())
        _sessions.add(self)

    async def fetch(self, sql: str, *arguments: Any, timeout: float) -> list[Any]:
        """Run a statement. Raises TimeoutError."""
        return await unbroken(self._fetch(sql, arguments, timeout))

    async def _fetch(self, sql: str, arguments: Sequence[Any], timeout: float) -> list[Any]:
        async with asyncio.timeout(timeout):
            async with self._turn:
                rows: list[Any] = await self.driver.fetch(sql, *arguments)
                return rows

    async def until_lost(
        self, *, interval: float = PROBE_INTERVAL, timeout: float = PROBE_TIMEOUT
    ) -> None:
        """Return once the connection has ended.

        Args:
            interval: Seconds of silence between probes; nothing else notices a server that froze
                without closing its socket.

        Raises:
            TimeoutError: A probe was not answered.
        """
        while not self.lost.is_set():
            try:
                async with asyncio.timeout(interval):
                    await self.lost.wait()
            except TimeoutError:
                await self.fetch("SELECT 1", timeout=timeout)

    def leave(self) -> None:
        """Let go of the socket in a forked child, whose copy would keep the session alive after the
        death of the parent. The server is told nothing.
        """
        # asyncpg has no public way to its socket.
        transport = self.driver._transport
        found = None if transport is None else transport.get_extra_info("socket")
        if found is None or found.fileno() < 0:
            return
        # Replaced, not closed: the child may collect the connection, which closes the number.
        nothing = os.open(os.devnull, os.O_RDWR)
        os.dup2(nothing, found.fileno(), inheritable=False)
        os.close(nothing)


async def unbroken(
    work: Coroutine[Any, Any, T], give_back: Callable[[T], Awaitable[object]] | None = None
) -> T:
    """Await work of the driver; a cancellation waits for its end, at most `CANCEL_PATIENCE`.

    A connect that asyncpg has to break off leaves an error that nobody retrieves, and to break a
    statement off it opens one more connection.

    Args:
        give_back: Takes a result that came after the cancellation.
    """
    task = asyncio.get_running_loop().create_task(work)
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        try:
            await asyncio.wait([task], timeout=CANCEL_PATIENCE)
        finally:
            task.cancel()
        # The error of a task that has failed is retrieved here; the cancellation counts.
        if task.done() and not task.cancelled() and task.exception() is None and give_back:
            await give_back(task.result())
        raise


@asynccontextmanager
async def open_session(engine: AsyncEngine) -> AsyncIterator[Session]:
    """Open a connection outside of the pool for the block, and hang up at its end.

    Raises:
        StoreUnavailable, MissingPrivilege
    """
    connection = await unbroken(connect(engine), AsyncConnection.close)
    driver: Any = None
    try:
        driver = (await connection.get_raw_connection()).driver_connection
        # Out of the pool, which would lend it to others. Its slot becomes free for statements.
        await connection.run_sync(lambda sync: sync.detach())
        yield Session(driver)
    finally:
        # Terminate, do not close: closing waits for the server, which may be silent.
        if driver is not None:
            driver.terminate()
        with suppress(Exception):
            await connection.close()


async def connect(engine: AsyncEngine) -> AsyncConnection:
    """Return a connection of the pool that is not known to be dead.

    Raises:
        StoreUnavailable, MissingPrivilege
    """
    try:
        connection = await engine.connect()
        for _ in range(MOST_DEAD):
            driver: Any = (await connection.get_raw_connection()).driver_connection
            if not driver.is_closed():
                break
            # After a restart of the server the pool is full of dead connections.
            await connection.invalidate()
            await connection.close()
            connection = await engine.connect()
        return connection
    except Exception as error:
        cause = driver_error(error)
        translated = connect_refusal(error, engine)
    if translated is None:
        raise cause
    raise translated from cause


def connect_refusal(error: Exception, engine: AsyncEngine) -> StoreError | None:
    """Return the error of a failed connect as ours; None if it means none of our states."""
    state = sqlstate(error)
    # A parameter may need a privilege too. Poolers need not pass the routine on.
    routine = getattr(driver_error(error), "server_source_function", None)
    if state == INSUFFICIENT_PRIVILEGE and routine in (None, "CheckMyDatabase"):
        role, database = engine.url.username or "…", engine.url.database or "…"
        quote = engine.dialect.identifier_preparer.quote
        grant = f"GRANT CONNECT ON DATABASE {quote(database)} TO {quote(role)}"
        return MissingPrivilege(role, [grant])
    if state in (INSUFFICIENT_PRIVILEGE, *UNFIT_PARAMETERS):
        return StoreUnavailable(
            "the server refused a parameter of the session, as options= in the URL sets them "
            f"(SQLSTATE {state})"
        )
    return as_unavailable(error, servers_of(engine))


def _leave_to_parent() -> None:
    for session in [*_sessions]:
        with suppress(Exception):
            session.leave()
    _sessions.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_leave_to_parent)
