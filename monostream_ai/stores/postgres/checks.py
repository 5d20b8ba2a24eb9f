"""The checks of `monostream-ai doctor` on a Postgres database, each with its advice."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Final

from sqlalchemy import Connection, NullPool, text
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine

from monostream_ai.errors import MissingPrivilege, MonostreamError, StoreUnavailable
from monostream_ai.stores.postgres.database import PostgresSchema
from monostream_ai.stores.postgres.engine import connect_arguments, make_engine
from monostream_ai.stores.postgres.holders import NoLock, ProcessLock
from monostream_ai.stores.postgres.privileges import missing_privilege, outsider
from monostream_ai.stores.postgres.sessions import connect_refusal, open_session
from monostream_ai.stores.postgres.urls import read_url
from monostream_ai.stores.sql.migrations import finding_on
from monostream_ai.stores.sql.translation import INSUFFICIENT_PRIVILEGE, sqlstate
from monostream_ai.types import Finding

OLDEST_SERVER: Final = 13

SKEW: Final = 1.0
"""Seconds between two clocks; beyond it, times in logs mislead."""

LONG_WAIT: Final = 1.0
"""Seconds that a session may wait for a lock."""

STATEMENT_TIMEOUT: Final = 5.0
"""Seconds for a question about roles."""

LONG_TRANSACTION: Final = 300.0
"""Seconds that a transaction may stay open."""

QUEUE_WARN, QUEUE_FAIL = 0.1, 0.5
"""Fractions of the notification queue in use; it holds 8 GiB by default."""

_WAITING = text(
    """
SELECT count(*),
       coalesce(CAST(max(extract(epoch FROM clock_timestamp() - state_change))
                     AS double precision), 0)
  FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'
"""
)

_LONGEST = text(
    """
SELECT coalesce(CAST(max(extract(epoch FROM clock_timestamp() - xact_start))
                     AS double precision), 0)
  FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()
                          AND backend_type = 'client backend'
"""
)


async def check_postgres(url: str, *, has_listen_url: bool) -> AsyncIterator[Finding]:
    """Yield a finding for each check.

    Args:
        has_listen_url: Wake-ups do not go through `url`.
    """
    address = read_url(url)
    # A statement cache of asyncpg's own would not survive a pooler.
    arguments = connect_arguments(address) | {"statement_cache_size": 0}
    engine = create_async_engine(address.url, poolclass=NullPool, connect_args=arguments)

    async def pooler(connection: AsyncConnection) -> Finding:
        return await _pooler(connection, has_listen_url)

    checks: dict[str, Callable[[AsyncConnection], Awaitable[Finding]]] = {
        "connect": _connect,
        "schema": lambda connection: connection.run_sync(
            lambda sync: finding_on(PostgresSchema(sync, address.schema))
        ),
        "privileges": lambda connection: connection.run_sync(
            lambda sync: _privileges(sync, address.schema)
        ),
        "pooler": pooler,
        "durability": _durability,
        "locks": _locks,
        "transactions": _transactions,
        "queue": _queue,
        "clock": _clock,
    }
    for name, check in checks.items():
        try:
            async with engine.begin() as connection:
                finding = await check(connection)
        # Any failure is the finding of its check.
        except Exception as error:
            finding = _failure(name, error, engine)
        yield finding
    await engine.dispose()


def _failure(check: str, error: Exception, engine: AsyncEngine) -> Finding:
    refusal = connect_refusal(error, engine)
    if isinstance(refusal, MissingPrivilege) and check == "connect":
        found = f"the database role {refusal.role!r} may not connect"
        return Finding(check, "fail", found, refusal.advice)
    if sqlstate(error) == INSUFFICIENT_PRIVILEGE and check != "connect":
        found = "the database role may not read what this needs"
        return Finding(check, "fail", found, "see the check 'privileges'")
    if isinstance(refusal, StoreUnavailable):
        return Finding(check, "fail", refusal.reason)
    return Finding(check, "fail", type(error).__name__)


async def check_presence(url: str) -> Finding:
    """Find out whether the death of a process is noticed at once.

    Args:
        url: Of the connection that holds the lock, the one that listens.
    """
    engine = make_engine(url, pool_size=1)
    found, advice = "", ""
    try:
        async with open_session(engine) as session:
            await ProcessLock(lambda statement: statement.sql).take(session, lease=0.0)
    except NoLock as error:
        found, advice = str(error), error.advice
    # Any failure is the finding of this check.
    except Exception as error:
        found = str(error) if isinstance(error, MonostreamError) else type(error).__name__
    await engine.dispose()
    if found:
        waits = "a death is noticed when the lease runs out"
        return Finding("presence", "warn", f"{waits}: {found}", advice)
    return Finding("presence", "ok", "the death of a process is noticed within 3 s")


async def check_inline(url: str) -> Finding:
    """Find out whether wake-ups carry chunks with `inline="auto"`, and if not, why."""
    address = read_url(url)
    engine = make_engine(address, pool_size=1)
    try:
        async with open_session(engine) as session:
            role = await outsider(session, address.schema, timeout=STATEMENT_TIMEOUT)
    # Any failure is the finding of this check.
    except Exception as error:
        return Finding("inline", "warn", f"cannot tell who hears wake-ups: {type(error).__name__}")
    finally:
        await engine.dispose()
    if role is None:
        return Finding("inline", "ok", "wake-ups carry chunks, by which readers see them sooner")
    found = f"wake-ups carry no chunks: by them, the role {role!r} could learn or forge some"
    advice = (
        "unless it should: let it connect no longer (REVOKE CONNECT ON DATABASE … FROM PUBLIC), or "
        "let it read stream_chunk, without row-level security, and not stream_version.writer"
    )
    return Finding("inline", "ok", found, advice)


async def _connect(connection: AsyncConnection) -> Finding:
    started = time.perf_counter()
    number = int(
        await connection.scalar(
            text("SELECT CAST(current_setting('server_version_num') AS integer)")
        )
    )
    took = (time.perf_counter() - started) * 1000
    found = f"Postgres {number // 10000}.{number % 10000}, a statement took {took:.1f} ms"
    if number // 10000 < OLDEST_SERVER:
        return Finding("connect", "fail", found, f"use Postgres {OLDEST_SERVER} or later")
    return Finding("connect", "ok", found)


def _privileges(connection: Connection, schema: str | None) -> Finding:
    there = PostgresSchema(connection, schema).columns("stream_version")
    lacking = missing_privilege(connection, schema, setup=not there)
    if lacking.grants:
        found = "lacks some" if there else "may not create the tables"
        return Finding("privileges", "fail", f"the database role {found}", lacking.advice)
    if not there:
        return Finding("privileges", "ok", "the database role may create the tables")
    return Finding("privileges", "ok", "the database role may read and write the tables")


async def _pooler(connection: AsyncConnection, has_listen_url: bool) -> Finding:
    driver = (await connection.get_raw_connection()).driver_connection
    # A pooler tells its clients a process number that it made up.
    told = driver.get_server_pid() if driver is not None else None
    if told == await connection.scalar(text("SELECT pg_backend_pid()")):
        return Finding("pooler", "ok", "none: the connection is direct")
    if has_listen_url:
        return Finding("pooler", "ok", "a pooler, and wake-ups do not go through it")
    advice = (
        "if it pools transactions, it delivers no wake-ups, and readers poll: "
        "pass a direct connection as listen_url"
    )
    return Finding("pooler", "warn", "the connection leads through a pooler", advice)


async def _durability(connection: AsyncConnection) -> Finding:
    for name in ("fsync", "full_page_writes", "synchronous_commit"):
        if await connection.scalar(text("SELECT current_setting(:name)"), {"name": name}) == "off":
            return Finding(
                "durability",
                "warn",
                f"{name} is off",
                "a crash of the server may lose chunks that readers have seen",
            )
    return Finding("durability", "ok", "commits survive a crash of the server")


async def _locks(connection: AsyncConnection) -> Finding:
    count, longest = (await connection.execute(_WAITING)).one()
    if longest > LONG_WAIT:
        advice = (
            "find the session that holds the lock: "
            "SELECT pid, pg_blocking_pids(pid), query FROM pg_stat_activity"
        )
        return Finding(
            "locks",
            "warn",
            f"{count} sessions wait for a lock, the longest for {longest:.0f} s",
            advice,
        )
    return Finding("locks", "ok", "no session waits long for a lock")


async def _transactions(connection: AsyncConnection) -> Finding:
    longest = float(await connection.scalar(_LONGEST))
    if longest > LONG_TRANSACTION:
        advice = (
            "it keeps dead rows and notifications from being cleaned up: "
            "end it, or set idle_in_transaction_session_timeout"
        )
        return Finding(
            "transactions", "warn", f"one has been open for {longest / 60:.0f} minutes", advice
        )
    return Finding("transactions", "ok", "none has been open for long")


async def _queue(connection: AsyncConnection) -> Finding:
    usage = float(await connection.scalar(text("SELECT pg_notification_queue_usage()")))
    found = f"{usage:.1%} of the notification queue is in use"
    if usage < QUEUE_WARN:
        return Finding("queue", "ok", found)
    advice = (
        "a listening session stays in a transaction: "
        "end it before the queue is full and every NOTIFY fails"
    )
    return Finding("queue", "warn" if usage < QUEUE_FAIL else "fail", found, advice)


async def _clock(connection: AsyncConnection) -> Finding:
    before = time.time()
    server = float(
        await connection.scalar(
            text("SELECT CAST(extract(epoch FROM clock_timestamp()) AS double precision)")
        )
    )
    after = time.time()
    # The server may have read its clock at any moment of the round trip.
    skew = max(before - server, server - after, 0.0)
    if skew > SKEW:
        advice = (
            "synchronise this host's clock: leases follow the server's clock alone, "
            "but times in this host's logs mislead"
        )
        return Finding(
            "clock", "warn", f"the server's clock is {skew:.1f} s off this host's", advice
        )
    return Finding(
        "clock", "ok", f"within {max(skew, after - before) * 1000:.0f} ms of this host's"
    )
