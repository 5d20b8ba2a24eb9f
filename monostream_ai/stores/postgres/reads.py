"""The Postgres statements that read chunks, for version 13 and later; each is one snapshot.

`READ` runs for every poll and every wake-up of a reader, so it is written to suit the planner.
"""

# ruff: noqa: S608  (only constants of this module are put into the text; every value is bound)

from __future__ import annotations

from typing import Final

from monostream_ai.stores.postgres.connections import Statement
from monostream_ai.stores.postgres.statements import LAPSES, STORED

# Chunks up to a bound in bytes. `pg_column_size` knows the stored size, up to 4 bytes of header,
# without unpacking a value: big values past the end of a page are not unpacked only to be measured.
_ROWS: Final = """
SELECT r.id, CAST(r.chunk AS text) AS chunk FROM (
  SELECT c.id, c.chunk,
         sum(pg_column_size(c.chunk) - 4) OVER (ORDER BY c.id)
           - pg_column_size(c.chunk) AS stored_before
    FROM (
    SELECT id, chunk FROM stream_chunk
     WHERE stream_id = {stream} AND version = {version} AND id >= {first}
     ORDER BY id LIMIT CAST(:max_rows AS bigint)) AS c) AS r
 WHERE r.stored_before < CAST(:max_bytes AS bigint)
"""

# The shortcut for most pages, which are dense and fit: `_FIT` measures the rows and `_PAGE` returns
# them, at half the cost of running sums. Postgres packs no row below 2,000 bytes, so a small value
# is cheap to measure; a big one counts as 2 GiB, so the rows do not fit and the shortcut is left.
_FIT: Final = """
SELECT count(*) AS n, max(r.id) AS last,
       sum(CASE WHEN pg_column_size(r.chunk) < 2000 THEN octet_length(CAST(r.chunk AS text))
                ELSE 2147483647 END) AS size
  FROM (SELECT id, chunk FROM stream_chunk
         WHERE stream_id = {stream} AND version = {version} AND id >= {first}
         ORDER BY id LIMIT CAST(:max_rows AS bigint)) AS r
"""
_PAGE: Final = """
SELECT CAST(chunk AS text) FROM stream_chunk
 WHERE stream_id = {stream} AND version = {version} AND id >= {first}
 ORDER BY id LIMIT CAST(:max_rows AS bigint)
"""
_ASKED: Final = {"stream": "asked.stream_id", "version": "head.version", "first": "head.first_id"}

# One page for each position, with its head, all of one snapshot.
#
# A page ends before a gap in the ids: in `p`, id - n is constant up to the first gap. A version in
# stream_chunk that is newer than any in stream_version (`foreign_rows`) was written by another
# program; it counts as open, without a lease.
#
# LIMIT 1 and OFFSET 0 keep the planner from merging a subquery into the query around it, which
# would repeat it at each use of its columns and take ten times as long.
READ = Statement(
    f"""
SELECT head.version, CASE WHEN foreign_rows.id IS NULL THEN v.state ELSE 'open' END AS state,
       coalesce(foreign_rows.id + 1, v.next_id) AS next_id,
       CASE WHEN foreign_rows.id IS NULL
            THEN date_part('epoch', {LAPSES} - clock_timestamp()) END AS lease_left,
       CASE WHEN foreign_rows.id IS NULL THEN v.opener END AS opener,
       CASE WHEN foreign_rows.id IS NULL THEN v.deleted_to END AS deleted_to,
       CASE WHEN foreign_rows.id IS NULL THEN v.writer END AS writer, head.first_id,
       CASE WHEN fit.n > 0 AND fit.size <= CAST(:max_bytes AS bigint)
                 AND fit.last = head.first_id + fit.n - 1
            THEN ARRAY({_PAGE.format(**_ASKED)})
            WHEN fit.n > 0 THEN (
              SELECT array_agg(p.chunk ORDER BY p.id) FROM (
                SELECT n.id, n.chunk, row_number() OVER w AS n,
                       sum(octet_length(n.chunk)) OVER w - octet_length(n.chunk) AS before
                  FROM ({_ROWS.format(**_ASKED)}) AS n WINDOW w AS (ORDER BY n.id)) AS p
               WHERE p.before < CAST(:max_bytes AS bigint)
                 AND p.id = head.first_id + p.n - 1) END AS payloads,
       CASE WHEN foreign_rows.id IS NULL AND v.state || '' = 'open' THEN v.holder END AS holder
  FROM unnest(CAST(:streams AS text[]), CAST(:versions AS bigint[]), CAST(:nexts AS bigint[]))
       WITH ORDINALITY AS asked (stream_id, version, next_id, place)
  LEFT JOIN LATERAL (
    SELECT * FROM stream_version AS v
     WHERE v.stream_id = asked.stream_id AND {STORED} ORDER BY v.version DESC LIMIT 1) AS v ON true
  LEFT JOIN LATERAL (
    SELECT c.version, c.id FROM stream_chunk AS c
     WHERE c.stream_id = asked.stream_id AND c.version > coalesce(v.version, -1)
     ORDER BY c.version DESC, c.id DESC LIMIT 1) AS foreign_rows ON true
 CROSS JOIN LATERAL (
    SELECT coalesce(foreign_rows.version, v.version) AS version,
           CASE WHEN coalesce(foreign_rows.version, v.version) = asked.version
                THEN asked.next_id ELSE 0 END AS first_id
    OFFSET 0) AS head
 CROSS JOIN LATERAL ({_FIT.format(**_ASKED)}) AS fit
 ORDER BY asked.place
"""
)

_GIVEN: Final = {
    "stream": ":stream",
    "version": "CAST(:version AS bigint)",
    "first": "CAST(:first AS bigint)",
}

# Payloads of any version, also a superseded one.
PAYLOADS = Statement(
    f"""
SELECT array_agg(p.chunk ORDER BY p.id) FROM (
  SELECT n.id, n.chunk,
         sum(octet_length(n.chunk)) OVER (ORDER BY n.id) - octet_length(n.chunk) AS before FROM (
    {_ROWS.format(**_GIVEN)}) AS n) AS p
 WHERE p.before < CAST(:max_bytes AS bigint)
"""
)

# Whether these payloads are stored from id `:first` on, so that a repeated append counts as landed.
# A jsonb column, as the TypeScript package makes it, rewrites its text; there, values are compared.
HOLDS = Statement(
    """
SELECT count(*) = cardinality(CAST(:payloads AS text[]))
       AND bool_and(CASE WHEN pg_typeof(c.chunk) = CAST('jsonb' AS regtype)
                         THEN CAST(c.chunk AS text) = CAST(CAST(t.payload AS jsonb) AS text)
                         ELSE CAST(c.chunk AS text) = t.payload END)
  FROM unnest(CAST(:payloads AS text[])) WITH ORDINALITY AS t (payload, n)
  JOIN stream_chunk AS c ON c.stream_id = :stream AND c.version = CAST(:version AS bigint)
                        AND c.id = CAST(:first AS bigint) + t.n - 1
"""
)
