"""The Postgres statements (13 and later). Each is one atomic statement unless its comment says
otherwise.

Those that read chunks are in `postgres_reads`.
"""

# ruff: noqa: S608  (only constants of this module are put into the text; every value is bound)

from __future__ import annotations

from typing import Final

from monostream_ai.stores.postgres.connections import Statement
from monostream_ai.stores.postgres.reads import LAPSES

_LEASE_END: Final = "clock_timestamp() + make_interval(secs => CAST(:lease AS double precision))"
# Concatenated, so that no partial index on the state suits a lookup by key: until statistics know
# better it looks small, and each lookup would go through every open version.
OPEN: Final = "v.state || '' = 'open'"
NEWER: Final = "SELECT 1 FROM stream_version AS newer WHERE newer.stream_id = v.stream_id AND newer.version > v.version"

# Insert first, fence second, so that all racers queue on the primary key. The fence waits for an
# append in flight.
ACQUIRE = Statement(
    f"""
WITH mine AS (
  SELECT version FROM stream_version WHERE stream_id = :stream AND opener = :writer),
latest AS (
  SELECT greatest((SELECT max(version) FROM stream_version WHERE stream_id = :stream),
                  (SELECT max(version) FROM stream_chunk WHERE stream_id = :stream)) AS version),
opened AS (
  INSERT INTO stream_version (stream_id, version, writer, opener, state, next_id, lease_seconds, lease_until, message_id, owner,
                              attempt, request, metadata, created_at, settler)
  SELECT :stream, coalesce(CAST(:explicit AS bigint), coalesce(latest.version, -1) + 1), :writer, :writer, 'open', 0,
         CAST(:lease AS double precision), {_LEASE_END}, CAST(:message_id AS text), CAST(:owner AS text),
         CAST(:attempt AS integer), CAST(:request AS text), CAST(:metadata AS text), clock_timestamp(),
         CASE WHEN CAST(:watched AS boolean) THEN :writer END
    FROM latest
   WHERE NOT EXISTS (SELECT 1 FROM mine) AND coalesce(latest.version, -1) < 9223372036854775807
     AND (CAST(:explicit AS bigint) IS NULL OR CAST(:explicit AS bigint) > coalesce(latest.version, -1))
  ON CONFLICT DO NOTHING RETURNING version),
fenced AS (
  UPDATE stream_version AS v SET writer = NULL, settler = NULL FROM opened
   WHERE v.stream_id = :stream AND v.version < opened.version AND {OPEN} AND v.writer IS NOT NULL
  RETURNING v.version)
SELECT version, (SELECT count(*) FROM fenced) FROM opened UNION ALL SELECT version, 0 FROM mine
"""
)

LATEST = Statement(
    """
SELECT greatest((SELECT max(version) FROM stream_version WHERE stream_id = :stream),
                (SELECT max(version) FROM stream_chunk WHERE stream_id = :stream))
"""
)

# LATERAL, so that each version is found by its key: a join is planned for ten rows, and loops over
# all rows for each of hundreds. Refused versions are simply not returned; the others land. A locked
# row is skipped, so that a version which somebody is about to fence or delete does not hold up all
# the others of this process.
APPEND = Statement(
    f"""
WITH b AS (
  SELECT * FROM unnest(CAST(:streams AS text[]), CAST(:versions AS bigint[]), CAST(:writers AS text[]), CAST(:firsts AS bigint[]),
                       CAST(:counts AS bigint[]), CAST(:closes AS boolean[]))
                WITH ORDINALITY AS b (stream_id, version, writer, first_id, n, closes, place)),
mine AS (
  SELECT b.* FROM b CROSS JOIN LATERAL (
    SELECT 1 FROM stream_version AS v
     WHERE v.stream_id = b.stream_id AND v.version = b.version AND v.writer = b.writer AND v.next_id = b.first_id
       AND {OPEN} AND NOT EXISTS ({NEWER}) FOR NO KEY UPDATE OF v SKIP LOCKED) AS held),
head AS (
  UPDATE stream_version AS v
     SET next_id = mine.first_id + mine.n,
         lease_seconds = CASE WHEN mine.closes THEN 0 ELSE CAST(:lease AS double precision) END,
         lease_until = CASE WHEN mine.closes THEN clock_timestamp() ELSE {_LEASE_END} END,
         state = CASE WHEN mine.closes THEN 'closed' ELSE 'open' END,
         closed_at = CASE WHEN mine.closes THEN clock_timestamp() END
    FROM mine WHERE v.stream_id = mine.stream_id AND v.version = mine.version
  RETURNING mine.place, v.stream_id, v.version),
landed AS (
  INSERT INTO stream_chunk (stream_id, version, id, chunk)
  SELECT head.stream_id, head.version, c.id, CAST(c.chunk AS json)
    FROM unnest(CAST(:chunk_places AS bigint[]), CAST(:chunk_ids AS bigint[]), CAST(:chunks AS text[])) AS c (place, id, chunk)
    JOIN head ON head.place = c.place)
SELECT place FROM head
"""
)

CHECK = Statement(
    """
SELECT v.writer, v.state, v.next_id, v.stop_requested_at IS NOT NULL,
       (SELECT max(version) FROM stream_version AS m WHERE m.stream_id = b.stream_id)
  FROM unnest(CAST(:streams AS text[]), CAST(:versions AS bigint[])) WITH ORDINALITY AS b (stream_id, version, place)
  LEFT JOIN stream_version AS v ON v.stream_id = b.stream_id AND v.version = b.version
 ORDER BY b.place
"""
)

# A locked row is being appended to, which renews it: skip it rather than deadlock with a batch that
# locks in another order.
RENEW = Statement(
    f"""
WITH mine AS (
  SELECT m.stream_id, m.version, m.place
    FROM unnest(CAST(:streams AS text[]), CAST(:versions AS bigint[]), CAST(:writers AS text[]))
         WITH ORDINALITY AS m (stream_id, version, writer, place)
   CROSS JOIN LATERAL (
    SELECT 1 FROM stream_version AS v
     WHERE v.stream_id = m.stream_id AND v.version = m.version AND v.writer = m.writer
       AND {OPEN} AND NOT EXISTS ({NEWER}) FOR NO KEY UPDATE OF v SKIP LOCKED) AS held)
UPDATE stream_version AS v SET lease_seconds = CAST(:lease AS double precision), lease_until = {_LEASE_END} FROM mine
 WHERE v.stream_id = mine.stream_id AND v.version = mine.version RETURNING mine.place
"""
)

CLAIM = Statement(
    f"""
UPDATE stream_version AS v
   SET writer = :writer, lease_seconds = CAST(:lease AS double precision), lease_until = {_LEASE_END},
       stop_requested_at = CASE WHEN CAST(:stop AS boolean) THEN coalesce(v.stop_requested_at, clock_timestamp())
                                ELSE v.stop_requested_at END
 WHERE v.stream_id = :stream AND v.version = CAST(:version AS bigint) AND {OPEN} AND NOT EXISTS ({NEWER})
   AND (v.writer = :writer OR {LAPSES} <= clock_timestamp() OR (CAST(:stop AS boolean) AND v.stop_requested_at IS NULL))
RETURNING v.next_id
"""
)

# The lease length goes too: it would shield the version after a restart of the server.
RELEASE = Statement(
    f"""
UPDATE stream_version AS v SET lease_until = clock_timestamp(), lease_seconds = 0
 WHERE v.stream_id = :stream AND v.version = CAST(:version AS bigint) AND v.writer = :writer AND {OPEN}
"""
)

_INFO: Final = f"""
CAST(coalesce(extract(epoch FROM {LAPSES} - clock_timestamp()), 'Infinity') AS double precision) AS lease_left, v.created_at,
v.closed_at, CAST(extract(epoch FROM clock_timestamp() - v.closed_at) AS double precision) AS closed_for, v.stop_requested_at,
v.message_id, v.owner, coalesce(v.attempt, 1) AS attempt, v.request, v.metadata
"""

# A version that another program wrote has rows and no version row.
INFO = Statement(
    f"""
SELECT wanted.version, coalesce(v.state, 'open') AS state, coalesce(v.next_id, f.next_id) AS next_id, {_INFO}
  FROM (SELECT coalesce(CAST(:version AS bigint),
                        greatest((SELECT max(version) FROM stream_version WHERE stream_id = :stream),
                                 (SELECT max(version) FROM stream_chunk WHERE stream_id = :stream))) AS version) AS wanted
  LEFT JOIN stream_version AS v ON v.stream_id = :stream AND v.version = wanted.version
  LEFT JOIN LATERAL (SELECT max(id) + 1 AS next_id FROM stream_chunk AS c
                      WHERE v.version IS NULL AND c.stream_id = :stream AND c.version = wanted.version) AS f ON true
 WHERE coalesce(v.next_id, f.next_id) IS NOT NULL
"""
)

STREAMS = Statement(
    f"""
SELECT DISTINCT ON (v.stream_id) v.stream_id, v.version, v.state, v.next_id, {_INFO} FROM stream_version AS v
 WHERE starts_with(v.stream_id, :prefix) AND (CAST(:after AS text) IS NULL OR v.stream_id > CAST(:after AS text))
 ORDER BY v.stream_id, v.version DESC LIMIT :limit
"""
)

VERSIONS = Statement(
    f"""
SELECT v.stream_id, v.version, v.state, v.next_id, {_INFO} FROM stream_version AS v
 WHERE v.stream_id = :stream AND (CAST(:before AS bigint) IS NULL OR v.version < CAST(:before AS bigint))
 ORDER BY v.version DESC LIMIT :limit
"""
)

TIMELINE = Statement(
    """
SELECT id, CAST(created_at AS timestamptz), octet_length(CAST(chunk AS text)) FROM stream_chunk
 WHERE stream_id = :stream AND version = CAST(:version AS bigint) AND id >= CAST(:first AS bigint) ORDER BY id LIMIT :max_rows
"""
)

UNATTENDED = Statement(
    f"""
SELECT v.stream_id, v.version, v.state, v.next_id, {_INFO} FROM stream_version AS v
 WHERE v.settler IS NOT NULL AND starts_with(v.stream_id, :prefix) AND {LAPSES} <= clock_timestamp() LIMIT :limit
"""
)

ATTEND = Statement(
    f"""
UPDATE stream_version AS v SET settler = :writer, lease_seconds = CAST(:lease AS double precision), lease_until = {_LEASE_END}
 WHERE v.stream_id = :stream AND v.version = CAST(:version AS bigint) AND v.state || '' = 'closed' AND v.settler IS NOT NULL
   AND (v.settler = :writer OR {LAPSES} <= clock_timestamp())
RETURNING v.version
"""
)

SETTLE = Statement(
    "UPDATE stream_version SET settler = NULL "
    "WHERE stream_id = :stream AND version = CAST(:version AS bigint) AND settler = :writer"
)

# Two statements in one transaction, after LATEST: the second sees what an append landed while the
# first waited for its lock, and neither touches a version that was opened meanwhile.
DELETE_VERSIONS = Statement(
    "DELETE FROM stream_version WHERE stream_id = :stream AND version <= CAST(:latest AS bigint)"
)
DELETE_CHUNKS = Statement(
    "DELETE FROM stream_chunk WHERE stream_id = :stream AND version <= CAST(:latest AS bigint)"
)
