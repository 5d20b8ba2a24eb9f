"""Retention on SQLite, in small transactions, since each one keeps other writers waiting."""

# ruff: noqa: S608  (only constants of this module are put into the text; every value is bound)

from __future__ import annotations

import sqlite3
from typing import Final

from monostream_ai.stores.sql.schema import PRUNED_CHUNKS
from monostream_ai.stores.sqlite.statements import NOW

# Versions to prune. Each half has its index. No index covers the lease, so it is judged only for
# open versions that were created long enough ago.
PRUNABLE: Final = f"""
SELECT v.stream_id, v.version, v.next_id,
       EXISTS (SELECT 1 FROM stream_version AS n
                WHERE n.stream_id = v.stream_id AND n.version > v.version)
  FROM (SELECT * FROM (SELECT stream_id, version, next_id FROM stream_version
                        WHERE state = 'closed' AND closed_at < {NOW} - :older_than
                        ORDER BY closed_at LIMIT :limit)
        UNION ALL
        SELECT * FROM (SELECT stream_id, version, next_id FROM stream_version
                        WHERE state = 'open' AND created_at < {NOW} - :older_than
                          AND lease_until < {NOW} - :older_than
                        ORDER BY created_at LIMIT :limit)) AS v
 LIMIT :limit
"""

# Also those that an earlier release left behind when it pruned older versions.
REQUESTS: Final = """
DELETE FROM stream_request AS r
 WHERE r.stream_id = :stream AND (r.version = :version OR r.version < :version AND NOT EXISTS (
   SELECT 1 FROM stream_version AS v
    WHERE v.stream_id = r.stream_id AND v.version = r.version AND v.state <> 'pruned'))
"""

CHUNKS: Final = "DELETE FROM stream_chunk WHERE stream_id = :stream AND version = :version"

SUPERSEDED: Final = "DELETE FROM stream_version WHERE stream_id = :stream AND version = :version"

# The newest version keeps its row, so that version numbers never start over. A publisher that comes
# back to it gets StreamDeleted.
NEWEST: Final = """
UPDATE stream_version
   SET state = 'pruned', writer = NULL, settler = NULL, attendant = NULL, request = NULL
 WHERE stream_id = :stream AND version = :version
"""

# Rows that earlier runs kept for their number. The newer version keeps it now.
NUMBERS: Final = """
DELETE FROM stream_version WHERE stream_id = :stream AND version < :version AND state = 'pruned'
"""


def prune(connection: sqlite3.Connection, *, older_than: float, limit: int) -> int:
    """Prune in the caller's transaction; return the number of versions.

    Args:
        older_than: Seconds since the last activity of a version.
    """
    pruned = chunks = 0
    for stream_id, version, next_id, superseded in connection.execute(
        PRUNABLE, {"older_than": older_than, "limit": limit}
    ).fetchall():
        if chunks >= PRUNED_CHUNKS:
            break
        for statement in (CHUNKS, REQUESTS, SUPERSEDED if superseded else NEWEST, NUMBERS):
            connection.execute(statement, {"stream": stream_id, "version": version})
        pruned += 1
        chunks += next_id
    return pruned
