"""Retention on Postgres: small transactions find old versions by index and wait for no lock."""

# ruff: noqa: S608  (only constants of this module are put into the text; every value is bound)

from __future__ import annotations

from typing import Any, Final

from monostream_ai.stores.postgres.connections import DriverConnection, Statement
from monostream_ai.stores.postgres.statements import LAPSES, NEWER
from monostream_ai.stores.sql.schema import PRUNED_CHUNKS

# Not clock_timestamp(): it may change from row to row, so no index could look it up.
_HORIZON: Final = (
    "statement_timestamp() - make_interval(secs => CAST(:older_than AS double precision))"
)

# Versions to prune, locked for this transaction. Each half has its index. No index covers the
# lease, so it is judged only for open versions that were created long enough ago. SKIP LOCKED
# leaves versions in use to the next run. `chunks_before` ends the list once it names many chunks,
# so that the transaction stays short.
PRUNABLE = Statement(
    f"""
WITH closed AS (
  SELECT v.stream_id, v.version, v.next_id FROM stream_version AS v
   WHERE v.state = 'closed' AND v.closed_at < {_HORIZON}
   ORDER BY v.closed_at LIMIT :limit FOR UPDATE SKIP LOCKED),
dead AS (
  SELECT v.stream_id, v.version, v.next_id FROM stream_version AS v
   WHERE v.state = 'open' AND v.created_at < {_HORIZON} AND {LAPSES} < {_HORIZON}
   ORDER BY v.created_at LIMIT :limit FOR UPDATE SKIP LOCKED)
SELECT v.stream_id, v.version, EXISTS ({NEWER}) AS superseded FROM (
  SELECT *, sum(next_id) OVER (ORDER BY stream_id, version) - next_id AS chunks_before
    FROM (SELECT * FROM closed UNION ALL SELECT * FROM dead) AS old) AS v
 WHERE v.chunks_before < CAST(:chunks AS bigint) ORDER BY v.stream_id, v.version LIMIT :limit
"""
)

_THESE: Final = (
    "unnest(CAST(:streams AS text[]), CAST(:versions AS bigint[])) AS t (stream_id, version)"
)

CHUNKS = Statement(
    f"""
DELETE FROM stream_chunk AS c USING {_THESE}
 WHERE c.stream_id = t.stream_id AND c.version = t.version
"""
)

# Also those that an earlier release left behind when it pruned older versions.
REQUESTS = Statement(
    f"""
DELETE FROM stream_request AS r USING {_THESE}
 WHERE r.stream_id = t.stream_id
   AND (r.version = t.version OR r.version < t.version AND NOT EXISTS (
     SELECT 1 FROM stream_version AS v
      WHERE v.stream_id = r.stream_id AND v.version = r.version AND v.state <> 'pruned'))
"""
)

SUPERSEDED = Statement(
    f"""
DELETE FROM stream_version AS v USING {_THESE}
 WHERE v.stream_id = t.stream_id AND v.version = t.version
"""
)

# The newest version keeps its row, so that version numbers never start over. A publisher that comes
# back to it gets StreamDeleted.
NEWEST = Statement(
    f"""
UPDATE stream_version AS v
   SET state = 'pruned', writer = NULL, settler = NULL, attendant = NULL, request = NULL
  FROM {_THESE}
 WHERE v.stream_id = t.stream_id AND v.version = t.version
"""
)

# Rows that earlier runs kept for their number. The newer version keeps it now.
NUMBERS = Statement(
    f"""
DELETE FROM stream_version AS v USING (
  SELECT old.stream_id, old.version FROM {_THESE}
    JOIN stream_version AS old
      ON old.stream_id = t.stream_id AND old.version < t.version AND old.state = 'pruned'
     FOR UPDATE OF old SKIP LOCKED) AS o
 WHERE v.stream_id = o.stream_id AND v.version = o.version
"""
)


async def prune(connection: DriverConnection, *, older_than: float, limit: int) -> int:
    """Prune in the connection's transaction; return the number of versions.

    Args:
        older_than: Seconds since the last activity of a version.
    """
    asked = {"older_than": older_than, "limit": limit, "chunks": PRUNED_CHUNKS}
    rows = await connection.execute(PRUNABLE, asked)
    if rows:
        await connection.execute(CHUNKS, _these(rows))
        await connection.execute(REQUESTS, _these(rows))
        await connection.execute(SUPERSEDED, _these([row for row in rows if row["superseded"]]))
        await connection.execute(NEWEST, _these([row for row in rows if not row["superseded"]]))
        await connection.execute(NUMBERS, _these(rows))
    return len(rows)


def _these(rows: Any) -> dict[str, Any]:
    return {
        "streams": [row["stream_id"] for row in rows],
        "versions": [row["version"] for row in rows],
    }
