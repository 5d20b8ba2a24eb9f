"""The Postgres statements, for version 13 and later; those that read chunks are in `reads`.

Three conditions at the top decide each write: `OPEN`, `NEWER` and `LAPSES`. A chunk is fenced in
`APPEND`, older versions are fenced in `ACQUIRE`, and a stop is stored by `CLAIM`. Each statement is
atomic by itself unless its comment says otherwise.
"""

# ruff: noqa: S608  (only constants of this module are put into the text; every value is bound)

from __future__ import annotations

from typing import Final

from monostream_ai.stores.postgres.connections import Statement
from monostream_ai.types import MAX_DOUBLINGS

# Whether version `v` is open. The concatenation keeps a lookup by key off the partial indexes on
# the state. Without statistics such an index looks as if it held one row, and each lookup would go
# through every open version: 2.3 ms of CPU for an append to 64 of 256 open streams, not 0.6 ms.
OPEN: Final = "v.state || '' = 'open'"

# Whether `v` is a version: a deleted stream leaves the number of its newest one, without an opener.
STORED: Final = "v.opener <> ''"

# Finds a version newer than `v` of its stream; for EXISTS.
NEWER: Final = """
SELECT 1 FROM stream_version AS newer
         WHERE newer.stream_id = v.stream_id AND newer.version > v.version"""

# When the lease of `v` lapses; each statement that judges a lease uses this. The lease of a process
# that has died was shortened before (see CUT_SHORT in `holders`). After a restart of the server
# every publisher has one more lease to come back, since none could renew while it was down. So it
# has after a failover; `connections` adds the moment when the standby was first seen in charge.
LAPSES: Final = """greatest(v.lease_until,
         greatest(pg_postmaster_start_time(), CAST(:promoted_at AS timestamptz))
         + make_interval(secs => v.lease_seconds))"""

_LEASE_END: Final = "clock_timestamp() + make_interval(secs => CAST(:lease AS double precision))"

# The newest version of a stream, also the number that a deleted one keeps. Other programs write
# chunks without a version row, so both tables are asked.
LATEST = Statement(
    """
SELECT greatest((SELECT max(version) FROM stream_version WHERE stream_id = :stream),
                (SELECT max(version) FROM stream_chunk WHERE stream_id = :stream))
"""
)

# Admits one racer for the versions of a stream at a time, until its transaction ends. ACQUIRE
# follows in a statement of its own, whose snapshot then shows every version opened before. Without
# this, racers for 5 and for 7 do not see each other: 5 is neither refused nor fenced.
#
# It does not wait: a racer that is frozen while it holds the lock would keep the connections of
# all others. The server ends such a transaction after `:idle` milliseconds.
LOCK_STREAM = Statement(
    """
SELECT pg_try_advisory_xact_lock(CAST(:lock AS integer), hashtext(:stream)),
       set_config('idle_in_transaction_session_timeout', CAST(:idle AS text), true)
"""
)

# Opens a version and fences all older ones; runs under LOCK_STREAM. Returns the version, or nothing
# if a newer one exists, or one that another program opened meanwhile.
#
# `fenced` waits for an append in flight, which holds its row: once this returns, no append to an
# older version can land. `mine` makes a repeated call with the same token harmless; `opener` keeps
# that token even after `writer` was fenced. `repeated` locks the version before, so that it sees an
# ending that is in flight.
ACQUIRE = Statement(
    f"""
WITH mine AS (
  SELECT version FROM stream_version WHERE stream_id = :stream AND opener = :writer),
latest AS (
  SELECT greatest((SELECT max(version) FROM stream_version WHERE stream_id = :stream),
                  (SELECT max(version) FROM stream_chunk WHERE stream_id = :stream)) AS version),
before AS (
  SELECT CASE WHEN {STORED} THEN v.deleted_to ELSE v.version END AS deleted_to
    FROM stream_version AS v WHERE v.stream_id = :stream ORDER BY v.version DESC LIMIT 1),
repeated AS (
  SELECT 1 FROM stream_version AS v JOIN latest ON v.version = latest.version
   WHERE v.stream_id = :stream AND {OPEN} AND v.stop_requested_at IS NULL
     AND {LAPSES} <= clock_timestamp()
     FOR NO KEY UPDATE OF v),
opened AS (
  INSERT INTO stream_version (stream_id, version, writer, opener, state, next_id, lease_seconds,
                              lease_until, message_id, owner,
                              attempt, handovers, metadata, created_at, attendant, holder,
                              deleted_to)
  SELECT :stream, coalesce(CAST(:explicit AS bigint), coalesce(latest.version, -1) + 1),
         :writer, :writer, 'open', 0,
         CAST(:lease AS double precision), {_LEASE_END},
         CAST(:message_id AS text), CAST(:owner AS text),
         CAST(:attempt AS integer), CAST(:handovers AS integer), CAST(:metadata AS text),
         clock_timestamp(),
         CASE WHEN CAST(:watched AS boolean) THEN :writer END, CAST(:holder AS text),
         (SELECT deleted_to FROM before)
    FROM latest
   WHERE NOT EXISTS (SELECT 1 FROM mine)
     AND coalesce(latest.version, -1) < 9223372036854775807
     AND (CAST(:explicit AS bigint) IS NULL
          OR CAST(:explicit AS bigint) > coalesce(latest.version, -1))
     AND (NOT CAST(:repeats AS boolean) OR EXISTS (SELECT 1 FROM repeated))
  ON CONFLICT DO NOTHING RETURNING version),
asked AS (
  INSERT INTO stream_request (stream_id, version, request)
  SELECT :stream, opened.version, CAST(:request AS text) FROM opened
   WHERE CAST(:request AS text) IS NOT NULL
  ON CONFLICT (stream_id, version) DO UPDATE SET request = EXCLUDED.request),
fenced AS (
  UPDATE stream_version AS v SET writer = NULL, settler = NULL, attendant = NULL FROM opened
   WHERE v.stream_id = :stream AND v.version < opened.version AND {OPEN} AND v.writer IS NOT NULL
  RETURNING v.version)
SELECT version, (SELECT count(*) FROM fenced) FROM opened UNION ALL SELECT version, 0 FROM mine
"""
)

# Appends to several versions at once and returns the places, from 1, of those that landed. The
# fence is the condition in `mine`: the token holds the version, the chunks follow the stored ones,
# and the version is open and the newest. `FOR NO KEY UPDATE` checks the row as it is now, not as of
# the snapshot, and holds it until the commit. So a fence waits for the append, or is seen by it.
#
# A refused version is not returned, and the others land. A locked row is skipped like a refused
# one: a version that is just being fenced or deleted must not hold up all the others of this
# process. The caller tells the two apart with CHECK and tries again.
#
# LATERAL finds each version by its key. As a join, the plan that Postgres keeps for an empty table
# compares every version of the batch with every row: 66 ms of CPU for 256 streams, not 3 ms.
#
# While a transaction holds an old snapshot, each append leaves a dead row under the key of its
# version, before the living one. So `held` reads the index backwards: for a range, since an
# equality would make the order meaningless to the planner. `head` finds the row by its place. If it
# was updated between the snapshot and the lock, `head` misses it there, as if it were locked.
APPEND = Statement(
    f"""
WITH b AS (
  SELECT * FROM unnest(CAST(:streams AS text[]), CAST(:versions AS bigint[]),
                       CAST(:writers AS text[]), CAST(:firsts AS bigint[]),
                       CAST(:counts AS bigint[]), CAST(:closes AS boolean[]))
                WITH ORDINALITY AS b (stream_id, version, writer, first_id, n, closes, place)),
mine AS (
  SELECT b.*, held.row_place FROM b CROSS JOIN LATERAL (
    SELECT v.ctid AS row_place FROM stream_version AS v
     WHERE v.stream_id = b.stream_id AND v.version BETWEEN b.version AND b.version
       AND v.writer = b.writer AND v.next_id = b.first_id AND {OPEN}
       AND NOT EXISTS (SELECT 1 FROM stream_version AS newer
                        WHERE newer.stream_id = b.stream_id AND newer.version > b.version)
     ORDER BY v.version DESC LIMIT 1
       FOR NO KEY UPDATE OF v SKIP LOCKED) AS held),
head AS (
  UPDATE stream_version AS v
     SET next_id = mine.first_id + mine.n,
         lease_seconds = CASE WHEN mine.closes THEN 0 ELSE CAST(:lease AS double precision) END,
         lease_until = CASE WHEN mine.closes THEN clock_timestamp() ELSE {_LEASE_END} END,
         state = CASE WHEN mine.closes THEN 'closed' ELSE 'open' END,
         closed_at = CASE WHEN mine.closes THEN clock_timestamp() END,
         attended = CASE WHEN mine.closes THEN 0 ELSE v.attended END,
         attended_until = CASE WHEN mine.closes THEN NULL ELSE v.attended_until END
    FROM mine
   WHERE v.ctid = mine.row_place AND v.stream_id = mine.stream_id AND v.version = mine.version
  RETURNING mine.place, v.stream_id, v.version),
landed AS (
  INSERT INTO stream_chunk (stream_id, version, id, chunk)
  SELECT head.stream_id, head.version, c.id, CAST(c.chunk AS json)
    FROM unnest(CAST(:chunk_places AS bigint[]), CAST(:chunk_ids AS bigint[]),
                CAST(:chunks AS text[])) AS c (place, id, chunk)
    JOIN head ON head.place = c.place)
SELECT place FROM head
"""
)

# Returns all that `fencing.refusal` needs for a verdict on each lease, in order, and locks nothing.
CHECK = Statement(
    """
SELECT v.writer, v.state, v.next_id, v.stop_requested_at IS NOT NULL,
       (SELECT max(version) FROM stream_version AS m WHERE m.stream_id = b.stream_id)
  FROM unnest(CAST(:streams AS text[]), CAST(:versions AS bigint[]))
       WITH ORDINALITY AS b (stream_id, version, place)
  LEFT JOIN stream_version AS v ON v.stream_id = b.stream_id AND v.version = b.version
 ORDER BY b.place
"""
)

# Renews the leases that are still held and returns their places, from 1.
#
# A locked row is skipped: an append holds it, which renews the lease itself. Waiting for it could
# deadlock with a batch that locks the same rows in another order. A renewal that is late must not
# touch a version that its publisher has left to wait.
RENEW = Statement(
    f"""
WITH mine AS (
  SELECT m.stream_id, m.version, m.place
    FROM unnest(CAST(:streams AS text[]), CAST(:versions AS bigint[]), CAST(:writers AS text[]))
         WITH ORDINALITY AS m (stream_id, version, writer, place)
   CROSS JOIN LATERAL (
    SELECT 1 FROM stream_version AS v
     WHERE v.stream_id = m.stream_id AND v.version = m.version AND v.writer = m.writer
       AND v.holder IS DISTINCT FROM '' AND {OPEN} AND NOT EXISTS ({NEWER})
       FOR NO KEY UPDATE OF v SKIP LOCKED) AS held)
UPDATE stream_version AS v
   SET lease_seconds = CAST(:lease AS double precision), lease_until = {_LEASE_END},
       holder = CAST(:holder AS text)
  FROM mine
 WHERE v.stream_id = mine.stream_id AND v.version = mine.version RETURNING mine.place
"""
)

# Takes an open version from its publisher and returns its next id; of many takers one gets it.
# This stores a stop: with `:stop` a running lease is no obstacle, except that of an earlier stop.
# Without `:stop` only a lapsed lease is taken. Replacing `writer` fences the publisher. A repeated
# call by the same taker matches its own token.
#
# With `:waits` the version has an empty holder from then on, and is taken for an attempt whatever
# its lease says. No process has this name, so none is found to be dead.
CLAIM = Statement(
    f"""
UPDATE stream_version AS v
   SET writer = :writer,
       holder = CASE WHEN CAST(:waits AS boolean) THEN '' ELSE CAST(:holder AS text) END,
       lease_seconds = CAST(:lease AS double precision), lease_until = {_LEASE_END},
       stop_requested_at = CASE WHEN CAST(:stop AS boolean)
                                THEN coalesce(v.stop_requested_at, clock_timestamp())
                                ELSE v.stop_requested_at END,
       attempt = coalesce(CAST(:attempt AS integer), v.attempt),
       attended = CASE WHEN CAST(:attempt AS integer) IS NOT NULL THEN 0
                       WHEN NOT CAST(:waits AS boolean) THEN v.attended
                       WHEN v.holder = '' THEN coalesce(v.attended, 0)
                            + CASE WHEN v.writer = :writer THEN 0 ELSE 1 END
                       ELSE 0 END,
       attended_until = CASE WHEN CAST(:attempt AS integer) IS NULL AND NOT CAST(:waits AS boolean)
                             THEN v.attended_until END
 WHERE v.stream_id = :stream AND v.version = CAST(:version AS bigint)
   AND {OPEN} AND NOT EXISTS ({NEWER})
   AND (v.writer = :writer OR {LAPSES} <= clock_timestamp()
        OR (CAST(:stop AS boolean) AND v.stop_requested_at IS NULL)
        OR (CAST(:attempt AS integer) IS NOT NULL AND v.holder = ''))
   AND (v.writer = :writer OR CAST(:attempt AS integer) IS NULL
        OR (v.stop_requested_at IS NULL
            AND coalesce(v.attempt, 1) = CAST(:attempt AS integer) - 1))
RETURNING v.next_id
"""
)

# Lets a held lease lapse now. `lease_seconds` goes to 0 as well, or a restart of the server would
# revive the lease (see LAPSES). A repeated call counts no second handover, as the lease has lapsed.
RELEASE = Statement(
    f"""
UPDATE stream_version AS v
   SET handovers = coalesce(v.handovers, 0)
                   + CAST(CAST(:handover AS boolean) AND {LAPSES} > clock_timestamp() AS integer),
       lease_until = clock_timestamp(), lease_seconds = 0
 WHERE v.stream_id = :stream AND v.version = CAST(:version AS bigint)
   AND v.writer = :writer AND {OPEN}
"""
)

# Whether somebody looks after `v` some time; else it is not watched, or settled.
_WATCHED: Final = "(v.attendant IS NOT NULL OR v.settler IS NOT NULL)"

# The fields of VersionInfo after `next_id`.
_INFO: Final = f"""
CAST(coalesce(extract(epoch FROM {LAPSES} - clock_timestamp()), 'Infinity') AS double precision)
       AS lease_left, v.created_at, v.closed_at,
       CAST(extract(epoch FROM clock_timestamp() - v.closed_at) AS double precision) AS closed_for,
       v.stop_requested_at, v.message_id, v.owner, coalesce(v.attempt, 1) AS attempt, v.metadata,
       coalesce(v.attended, 0) AS attended, v.abandoned_at,
       coalesce(v.handovers, 0) AS handovers,
       coalesce({OPEN} AND v.holder = '', false) AS waiting, {_WATCHED} AS watched
"""

# One version, the latest if `:version` is NULL. A version of another program has chunks and no
# version row; its next id comes from the chunks.
INFO = Statement(
    f"""
SELECT wanted.version, coalesce(v.state, 'open') AS state,
       coalesce(v.next_id, f.next_id) AS next_id, {_INFO}
  FROM (SELECT coalesce(CAST(:version AS bigint),
                        greatest((SELECT max(v.version) FROM stream_version AS v
                                   WHERE v.stream_id = :stream AND {STORED}),
                                 (SELECT max(version) FROM stream_chunk
                                   WHERE stream_id = :stream))) AS version) AS wanted
  LEFT JOIN stream_version AS v
    ON v.stream_id = :stream AND v.version = wanted.version AND {STORED}
  LEFT JOIN LATERAL (SELECT max(id) + 1 AS next_id FROM stream_chunk AS c
                      WHERE v.version IS NULL
                        AND c.stream_id = :stream AND c.version = wanted.version) AS f ON true
 WHERE coalesce(v.next_id, f.next_id) IS NOT NULL
"""
)

# The latest version of each stream with this prefix, in the order of stream ids.
STREAMS = Statement(
    f"""
SELECT DISTINCT ON (v.stream_id) v.stream_id, v.version, v.state, v.next_id, {_INFO}
  FROM stream_version AS v
 WHERE starts_with(v.stream_id, :prefix) AND {STORED}
   AND (CAST(:after AS text) IS NULL OR v.stream_id > CAST(:after AS text))
 ORDER BY v.stream_id, v.version DESC LIMIT :limit
"""
)

# The store's clock, for `Store.changes`.
NOW = Statement("SELECT clock_timestamp()")

# Open versions and those closed since, found by the two partial indexes on the state: with OR,
# Postgres might take neither.
CHANGES = Statement(
    f"""
SELECT v.stream_id, v.version, v.state, v.next_id, {_INFO}
  FROM (SELECT * FROM stream_version AS v WHERE v.state = 'open' AND NOT EXISTS ({NEWER})
        UNION ALL SELECT * FROM stream_version AS v
         WHERE v.state = 'closed' AND v.closed_at >= CAST(:since AS timestamptz)) AS v
 WHERE starts_with(v.stream_id, :prefix) AND {STORED}
   AND (CAST(:after AS text) IS NULL
        OR (v.stream_id, v.version) > (CAST(:after AS text), CAST(:number AS bigint)))
 ORDER BY v.stream_id, v.version LIMIT :limit
"""
)

# The versions of one stream, the newest first.
VERSIONS = Statement(
    f"""
SELECT v.stream_id, v.version, v.state, v.next_id, {_INFO} FROM stream_version AS v
 WHERE v.stream_id = :stream AND {STORED}
   AND (CAST(:before AS bigint) IS NULL OR v.version < CAST(:before AS bigint))
 ORDER BY v.version DESC LIMIT :limit
"""
)

# When each chunk was stored, and its size in bytes. The TypeScript package's column has no time
# zone, so it is cast.
TIMELINE = Statement(
    """
SELECT id, CAST(created_at AS timestamptz), octet_length(CAST(chunk AS text)) FROM stream_chunk
 WHERE stream_id = :stream AND version = CAST(:version AS bigint) AND id >= CAST(:first AS bigint)
 ORDER BY id LIMIT :max_rows
"""
)

# The request of a version; an earlier release kept it in the row of the version.
REQUEST = Statement(
    """
SELECT coalesce(v.request, r.request) FROM stream_version AS v
  LEFT JOIN stream_request AS r ON r.stream_id = v.stream_id AND r.version = v.version
 WHERE v.stream_id = :stream AND v.version = CAST(:version AS bigint)
"""
)

# Whether `v` may be taken: it is lost or closed, and nobody attends to it.
_FREE: Final = (
    f"{LAPSES} <= clock_timestamp() AND coalesce(v.attended_until <= clock_timestamp(), true)"
)

# An open version that was superseded is the business of the newer one. A process of an earlier
# release that prunes a version leaves its attendant.
_OWN_BUSINESS: Final = (
    f"(v.state || '' = 'closed' OR v.state || '' = 'open' AND NOT EXISTS ({NEWER}))"
)

# By the indexes on `attendant IS NOT NULL` and `settler IS NOT NULL`.
UNATTENDED = Statement(
    f"""
SELECT v.stream_id, v.version, v.state, v.next_id, {_INFO} FROM stream_version AS v
 WHERE {_WATCHED} AND starts_with(v.stream_id, :prefix)
   AND (CAST(:state AS text) IS NULL OR v.state || '' = :state)
   AND {_OWN_BUSINESS} AND v.abandoned_at IS NULL AND {_FREE}
 ORDER BY coalesce(v.attended, 0), v.lease_until LIMIT :limit
"""
)

# An abandoned version is taken by hand only, and waits no longer than it is worked on.
_GROWTH: Final = f"""
(CASE WHEN v.abandoned_at IS NULL
      THEN 1 << least(coalesce(v.attended, 0), {MAX_DOUBLINGS}) ELSE 1 END)
"""

# Whether this taker has taken it before. The token of the opener stands there from the start.
_TAKEN: Final = "(v.attendant = :writer AND v.attended > 0)"

# Takes a version to look after it and returns how often it was taken; of many takers one gets it.
ATTEND = Statement(
    f"""
UPDATE stream_version AS v
   SET attendant = :writer, settler = NULL,
       attended = CASE WHEN {_TAKEN} THEN v.attended
                       ELSE coalesce(v.attended, 0) + 1 END,
       attended_until = CASE WHEN {_TAKEN} THEN v.attended_until
                             ELSE clock_timestamp() + make_interval(secs =>
                               CAST(:lease AS double precision) * {_GROWTH}) END
 WHERE v.stream_id = :stream AND v.version = CAST(:version AS bigint)
   AND v.state || '' = :state AND {_WATCHED} AND {_OWN_BUSINESS}
   AND ({_TAKEN} OR {_FREE})
RETURNING v.attended
"""
)

# Lists a version no longer that this taker attends to.
ABANDON = Statement(
    """
UPDATE stream_version SET attended_until = clock_timestamp(), abandoned_at = clock_timestamp()
 WHERE stream_id = :stream AND version = CAST(:version AS bigint) AND attendant = :writer
"""
)

# Ends the watch over a version, if this taker still has it.
SETTLE = Statement(
    """
UPDATE stream_version SET attendant = NULL, abandoned_at = NULL
 WHERE stream_id = :stream AND version = CAST(:version AS bigint) AND attendant = :writer
"""
)

# Delete a stream: all in one transaction, after LATEST. The chunks of an append that
# DELETE_VERSIONS had to wait for are seen by DELETE_CHUNKS. None touches a version opened after
# LATEST, so a turn that begins meanwhile is kept. KEEP_NUMBER leaves a row that earlier releases
# take for a pruned version; another deletion may have left it.
DELETE_VERSIONS = Statement(
    """
DELETE FROM stream_version
 WHERE stream_id = :stream AND version <= CAST(:latest AS bigint) RETURNING opener
"""
)
DELETE_CHUNKS = Statement(
    """
WITH deleted AS (
  DELETE FROM stream_chunk
   WHERE stream_id = :stream AND version <= CAST(:latest AS bigint) RETURNING 1)
SELECT count(*) FROM deleted
"""
)
DELETE_REQUESTS = Statement(
    "DELETE FROM stream_request WHERE stream_id = :stream AND version <= CAST(:latest AS bigint)"
)
KEEP_NUMBER = Statement(
    """
INSERT INTO stream_version (stream_id, version, opener, state, next_id, lease_seconds, lease_until,
                            attempt, created_at)
VALUES (:stream, CAST(:latest AS bigint), '', 'pruned', 0, 0, clock_timestamp(), 1,
        clock_timestamp())
ON CONFLICT DO NOTHING
"""
)
