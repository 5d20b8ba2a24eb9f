"""Postgres keeps the plans of the hot statements, and they find versions by key."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Any

import asyncpg
import pytest

from monostream_ai.stores.postgres.connections import Statement
from monostream_ai.stores.postgres.reads import READ
from monostream_ai.stores.postgres.rows import append_parameters, lease_parameters
from monostream_ai.stores.postgres.statements import APPEND, ATTEND, CHECK, CLAIM, RELEASE, RENEW
from monostream_ai.stores.sql import PostgresStore
from monostream_ai.stores.sql.translation import held_by
from monostream_ai.types import Append, Lease
from tests.plugins.postgres import asyncpg_dsn

LEASES = [Lease(f"s{n}", 0, "w") for n in range(3)]
PARAMETERS: dict[str, Any] = {
    "lease": 15.0,
    "stop": False,
    "state": "closed",
    "attempt": None,
    "waits": False,
    "holder": "1:7",
    "nexts": [0] * 3,
    "max_rows": 9,
    "max_bytes": 99,
}

OPEN_VERSIONS = """
INSERT INTO stream_version (stream_id, version, writer, opener, state, next_id, lease_seconds,
                            lease_until, attempt, created_at)
SELECT 's' || n, 0, 'w', 'w', 'open', 0, 15, now(), 1, now() FROM generate_series(1, 300) AS n
"""


@pytest.fixture
async def database(postgres_url: str) -> AsyncIterator[asyncpg.Connection]:
    store = PostgresStore.from_url(postgres_url)
    await store.setup()
    await store.aclose()
    connection = await asyncpg.connect(asyncpg_dsn(postgres_url))
    yield connection
    await connection.close()


def arguments(statement: Statement, leases: list[Lease]) -> list[Any]:
    appends = append_parameters([Append(lease, 0, ["{}"], False) for lease in leases], 15.0)
    return statement.arguments(
        {
            **PARAMETERS,
            **appends,
            **lease_parameters(leases),
            **held_by(leases[0]),
            "lease": 15.0,
            "handover": True,
        }
    )


@pytest.mark.parametrize(
    "statement", [APPEND, READ, RENEW, CHECK], ids=["append", "read", "renew", "check"]
)
async def test_the_plan_is_kept_however_many_streams_are_asked_for(
    database: asyncpg.Connection, statement: Statement
) -> None:
    counts = "SELECT generic_plans FROM pg_prepared_statements WHERE statement = $1"
    if database.get_server_version() < (14,):
        pytest.skip("Postgres 13 does not count plans")
    # Postgres plans the first five runs for their values, and then compares with a generic plan.
    for number in range(9):
        await database.fetch(statement.sql, *arguments(statement, LEASES[: 1 + number % 3]))
    assert await database.fetchval(counts, statement.sql) == 4


@pytest.mark.parametrize(
    "statement",
    [APPEND, RENEW, CLAIM, RELEASE, ATTEND],
    ids=["append", "renew", "claim", "release", "attend"],
)
async def test_versions_are_found_by_key_however_many_are_open(
    database: asyncpg.Connection, statement: Statement
) -> None:
    # Without ANALYZE, a partial index on open versions looks like one of a single row.
    await database.execute(OPEN_VERSIONS)
    plan = "\n".join(
        row[0]
        for row in await database.fetch(f"EXPLAIN {statement.sql}", *arguments(statement, LEASES))
    )
    assert "Index Cond: ((stream_id = " in plan
    assert "stream_version_open" not in plan
    assert "stream_version_closed" not in plan


def lookups(plan: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the nodes of a plan that look versions up by their key."""
    below = [node for child in plan.get("Plans", ()) for node in lookups(child)]
    return [plan] * (plan.get("Index Name") == "stream_version_pkey") + below


async def test_dead_rows_are_not_read_while_a_snapshot_is_held(
    database: asyncpg.Connection, postgres_url: str
) -> None:
    holder = await asyncpg.connect(asyncpg_dsn(postgres_url))
    await database.execute(OPEN_VERSIONS)
    await holder.execute("BEGIN ISOLATION LEVEL REPEATABLE READ")
    await holder.fetchval("SELECT count(*) FROM stream_version")
    for _ in range(100):
        await database.execute("UPDATE stream_version SET lease_until = now()")
    explained = await database.fetchval(
        f"EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) {APPEND.sql}", *arguments(APPEND, LEASES[1:])
    )
    await holder.close()
    plan = json.loads(explained)[0]["Plan"]
    assert plan["Actual Rows"] == 2
    # Forwards it would be 300: each page with a row of these versions, once to find the row and
    # once to update it.
    assert sum(node["Shared Hit Blocks"] for node in lookups(plan)) <= 150
