"""The SQLite statements; each writing one runs in a transaction that holds the write lock.

The write lock makes a fence simple: nobody commits between a check and the write after it. A chunk
is fenced in `_APPENDABLE`, older versions are fenced in `FENCE`, and a stop is stored by `CLAIM`.
A lease is judged by comparing `LAPSES` with `NOW`.

Instants are seconds since 1970 by the host's clock, which all processes of a file share.
"""

# ruff: noqa: S608  (only constants of this module are put into the text; every value is bound)

from __future__ import annotations

from typing import Final

from monostream_ai.types import MAX_DOUBLINGS

NOW: Final = "((julianday('now') - 2440587.5) * 86400.0)"

# When the lease of `v` lapses: at once if its process is known to be dead. `lives` is a function of
# ours (see `presence`). The lease of a closed version is that of an earlier release, which settles
# it and names no holder.
LAPSES: Final = f"""
(CASE WHEN state <> 'open' OR lives(holder) THEN lease_until ELSE min(lease_until, {NOW}) END)
"""

# The newest version of a stream, also the number that a deleted one keeps. Other programs write
# chunks without a version row, so both tables are asked.
LATEST: Final = """
SELECT max(version) FROM (
  SELECT max(version) AS version FROM stream_version WHERE stream_id = :stream
  UNION ALL SELECT max(version) FROM stream_chunk WHERE stream_id = :stream)
"""

# Whether `v` is a version: a deleted stream leaves the number of its newest one, without an opener.
_STORED: Final = "opener <> ''"

# As LATEST, without the number of a deleted stream.
LATEST_STORED: Final = f"""
SELECT max(version) FROM (
  SELECT max(version) AS version FROM stream_version WHERE stream_id = :stream AND {_STORED}
  UNION ALL SELECT max(version) FROM stream_chunk WHERE stream_id = :stream)
"""

# The version that this token opened before, so that a repeated acquire is harmless. `writer` would
# not do: it changes when a version is fenced.
OPENED_BEFORE: Final = """
SELECT version FROM stream_version WHERE stream_id = :stream AND opener = :writer
"""

# Whether a version may be repeated: it is lost, and no stop was requested.
REPEATABLE: Final = f"""
SELECT 1 FROM stream_version
 WHERE stream_id = :stream AND version = :latest AND state = 'open'
   AND stop_requested_at IS NULL AND {LAPSES} <= {NOW}
"""

# Fences all versions of a stream. Runs in one transaction with OPEN, before it.
FENCE: Final = """
UPDATE stream_version SET writer = NULL, settler = NULL, attendant = NULL
 WHERE stream_id = :stream AND state = 'open' AND writer IS NOT NULL
"""

OPEN: Final = f"""
INSERT INTO stream_version (stream_id, version, writer, opener, state, next_id, lease_seconds,
                            lease_until, message_id, owner,
                            attempt, handovers, metadata, created_at, attendant, holder,
                            deleted_to)
VALUES (:stream, :version, :writer, :writer, 'open', 0, :lease,
        {NOW} + :lease, :message_id, :owner,
        :attempt, :handovers, :metadata, {NOW}, CASE WHEN :watched THEN :writer END, :holder,
        (SELECT CASE WHEN {_STORED} THEN deleted_to ELSE version END FROM stream_version
          WHERE stream_id = :stream ORDER BY version DESC LIMIT 1))
"""

# An earlier release leaves the request behind when it deletes or prunes a version.
STORE_REQUEST: Final = """
INSERT OR REPLACE INTO stream_request (stream_id, version, request)
VALUES (:stream, :version, :request)
"""

REQUEST: Final = """
SELECT coalesce(v.request, r.request) FROM stream_version AS v
  LEFT JOIN stream_request AS r ON r.stream_id = v.stream_id AND r.version = v.version
 WHERE v.stream_id = ? AND v.version = ?
"""

CLOCK: Final = f"SELECT {NOW}"

# The fence of a chunk: the token holds the version, the chunks follow the stored ones, and the
# version is open and the newest.
_APPENDABLE: Final = """
 WHERE stream_id = ? AND version = ? AND writer = ? AND next_id = ? AND state = 'open'
   AND NOT EXISTS (SELECT 1 FROM stream_version WHERE stream_id = ? AND version > ?)
"""

# Two statements, since SQLite rewrites each index whose columns, or whose condition's columns, are
# assigned to, changed or not. An append that leaves `state` alone touches no index: 64 × 2 rows
# take 470 µs, not 726 µs. Named parameters, and the time computed for each row, would add 70 µs.
APPEND: Final = f"""
UPDATE stream_version SET next_id = ?, lease_seconds = ?, lease_until = ? {_APPENDABLE}
"""

APPEND_AND_CLOSE: Final = f"""
UPDATE stream_version SET next_id = ?, lease_seconds = ?, lease_until = ?, closed_at = ?,
       state = 'closed', attended = 0, attended_until = NULL {_APPENDABLE}
"""

INSERT_CHUNKS: Final = """
INSERT INTO stream_chunk (stream_id, version, id, created_at, chunk) VALUES (?, ?, ?, ?, ?)
"""

HEAD: Final = f"""
SELECT state, next_id, {LAPSES} - {NOW}, opener, coalesce(deleted_to, -1), writer
  FROM stream_version WHERE stream_id = ? AND version = ?
"""

# The next id of a version that another program wrote, and that has no version row.
FOREIGN_NEXT_ID: Final = "SELECT max(id) + 1 FROM stream_chunk WHERE stream_id = ? AND version = ?"

ROWS: Final = """
SELECT id, chunk FROM stream_chunk
 WHERE stream_id = ? AND version = ? AND id >= ? ORDER BY id LIMIT ?
"""

# All that `fencing.refusal` needs for a verdict on a lease.
CHECK: Final = """
SELECT writer, state, next_id, stop_requested_at IS NOT NULL,
       (SELECT max(version) FROM stream_version WHERE stream_id = :stream)
  FROM stream_version WHERE stream_id = :stream AND version = :version
"""

# A renewal that is late must not touch a version that its publisher has left to wait.
RENEW: Final = f"""
UPDATE stream_version SET lease_seconds = :lease, lease_until = {NOW} + :lease
 WHERE stream_id = :stream AND version = :version AND writer = :writer AND state = 'open'
   AND holder IS NOT ''
   AND NOT EXISTS (SELECT 1 FROM stream_version WHERE stream_id = :stream AND version > :version)
"""

# Takes an open version from its publisher. This stores a stop: with `:stop` a running lease is no
# obstacle, except that of an earlier stop. Without `:stop` only a lapsed lease is taken. Replacing
# `writer` fences the publisher. A repeated call by the same taker matches its own token.
#
# With `:waits` the version has an empty holder from then on, and is taken for an attempt whatever
# its lease says.
CLAIM: Final = f"""
UPDATE stream_version
   SET writer = :writer, holder = CASE WHEN :waits THEN '' ELSE :holder END,
       lease_seconds = :lease, lease_until = {NOW} + :lease,
       stop_requested_at = CASE WHEN :stop THEN coalesce(stop_requested_at, {NOW})
                                ELSE stop_requested_at END,
       attempt = coalesce(:attempt, attempt),
       attended = CASE WHEN :attempt IS NOT NULL THEN 0 WHEN NOT :waits THEN attended
                       WHEN holder = '' THEN coalesce(attended, 0) + (writer IS NOT :writer)
                       ELSE 0 END,
       attended_until = CASE WHEN :attempt IS NULL AND NOT :waits THEN attended_until END
 WHERE stream_id = :stream AND version = :version AND state = 'open'
   AND NOT EXISTS (SELECT 1 FROM stream_version WHERE stream_id = :stream AND version > :version)
   AND (writer = :writer OR {LAPSES} <= {NOW} OR (:stop AND stop_requested_at IS NULL)
        OR (:attempt IS NOT NULL AND holder = ''))
   AND (writer = :writer OR :attempt IS NULL
        OR (stop_requested_at IS NULL AND coalesce(attempt, 1) = :attempt - 1))
"""

NEXT_ID: Final = """
SELECT next_id FROM stream_version WHERE stream_id = :stream AND version = :version
"""

# Lets a held lease lapse now. A repeated call counts no second handover, as the lease has lapsed.
RELEASE: Final = f"""
UPDATE stream_version
   SET handovers = coalesce(handovers, 0) + (:handover AND lease_until > {NOW}), lease_until = {NOW}
 WHERE stream_id = :stream AND version = :version AND writer = :writer AND state = 'open'
"""

# Whether somebody looks after the version `v` some time; else it is not watched, or settled.
_WATCHED: Final = "(attendant IS NOT NULL OR settler IS NOT NULL)"

# The fields of VersionInfo, by name.
_FIELDS: Final = f"""
stream_id, version, state, next_id, {LAPSES} - {NOW} AS lease_left, created_at, closed_at,
       {NOW} - closed_at AS closed_for, stop_requested_at, message_id, owner, attempt, metadata,
       coalesce(attended, 0) AS attended, abandoned_at, coalesce(handovers, 0) AS handovers,
       coalesce(state = 'open' AND holder = '', 0) AS waiting, {_WATCHED} AS watched
"""
_INFO: Final = f"SELECT {_FIELDS} FROM stream_version AS v"

INFO: Final = f"{_INFO} WHERE stream_id = :stream AND version = :version AND {_STORED}"

# The latest version of each stream with this prefix. `substr` compares exactly; LIKE would ignore
# case and give `%` and `_` a meaning.
STREAMS: Final = f"""
{_INFO} WHERE substr(stream_id, 1, length(:prefix)) = :prefix
          AND (:after IS NULL OR stream_id > :after) AND {_STORED}
          AND NOT EXISTS (SELECT 1 FROM stream_version AS n
                           WHERE n.stream_id = v.stream_id AND n.version > v.version)
 ORDER BY stream_id LIMIT :limit
"""

# Open versions and those closed since, found by the two partial indexes on the state: with OR,
# SQLite would take neither. CROSS JOIN keeps it from reading the other table first.
CHANGES: Final = f"""
SELECT {_FIELDS}
  FROM (SELECT stream_id AS changed, version AS number FROM stream_version AS v
         WHERE state = 'open' AND NOT EXISTS (SELECT 1 FROM stream_version AS n
                WHERE n.stream_id = v.stream_id AND n.version > v.version)
        UNION ALL SELECT stream_id, version FROM stream_version
         WHERE state = 'closed' AND closed_at >= :since)
 CROSS JOIN stream_version AS v ON v.stream_id = changed AND v.version = number
 WHERE substr(stream_id, 1, length(:prefix)) = :prefix AND {_STORED}
   AND (:after IS NULL OR (stream_id, version) > (:after, :number))
 ORDER BY stream_id, version LIMIT :limit
"""

VERSIONS: Final = f"""
{_INFO} WHERE stream_id = :stream AND (:before IS NULL OR version < :before) AND {_STORED}
 ORDER BY version DESC LIMIT :limit
"""

# `length` of text counts characters; of a blob, bytes.
TIMELINE: Final = """
SELECT id, created_at, length(CAST(chunk AS blob)) FROM stream_chunk
 WHERE stream_id = ? AND version = ? AND id >= ?
 ORDER BY id LIMIT ?
"""

# Whether the version `v` may be taken: it is lost or closed, and nobody attends to it.
_FREE: Final = f"{LAPSES} <= {NOW} AND coalesce(attended_until, 0) <= {NOW}"

# An open version that was superseded is the business of the newer one. A process of an earlier
# release that prunes a version leaves its attendant.
_OWN_BUSINESS: Final = """(state = 'closed' OR state = 'open' AND NOT EXISTS (
   SELECT 1 FROM stream_version AS n WHERE n.stream_id = v.stream_id AND n.version > v.version))"""

# Watched versions, found by the two indexes on them: with OR, SQLite would take neither. CROSS JOIN
# keeps it from reading the other table first.
UNATTENDED: Final = f"""
SELECT {_FIELDS}
  FROM (SELECT stream_id AS watched, version AS number FROM stream_version
         WHERE attendant IS NOT NULL
        UNION ALL SELECT stream_id, version FROM stream_version
         WHERE settler IS NOT NULL AND attendant IS NULL)
 CROSS JOIN stream_version AS v ON v.stream_id = watched AND v.version = number
 WHERE substr(stream_id, 1, length(:prefix)) = :prefix AND (:state IS NULL OR state = :state)
   AND {_OWN_BUSINESS} AND abandoned_at IS NULL AND {_FREE}
 ORDER BY coalesce(attended, 0), lease_until LIMIT :limit
"""

# An abandoned version is taken by hand only, and waits no longer than it is worked on.
_GROWTH: Final = f"""
(CASE WHEN abandoned_at IS NULL THEN 1 << min(coalesce(attended, 0), {MAX_DOUBLINGS}) ELSE 1 END)
"""

# Whether this taker has taken it before. The token of the opener stands there from the start.
_TAKEN: Final = "(attendant IS :writer AND coalesce(attended, 0) > 0)"

# Takes a version to look after it; of many takers one gets it.
ATTEND: Final = f"""
UPDATE stream_version AS v
   SET attendant = :writer, settler = NULL,
       attended = coalesce(attended, 0) + (NOT {_TAKEN}),
       attended_until = CASE WHEN {_TAKEN} THEN attended_until
                             ELSE {NOW} + :lease * {_GROWTH} END
 WHERE stream_id = :stream AND version = :version AND state = :state
   AND {_WATCHED} AND {_OWN_BUSINESS} AND ({_TAKEN} OR {_FREE})
"""

ATTENDED: Final = """
SELECT attended FROM stream_version WHERE stream_id = :stream AND version = :version
"""

ABANDON: Final = f"""
UPDATE stream_version SET attended_until = {NOW}, abandoned_at = {NOW}
 WHERE stream_id = :stream AND version = :version AND attendant = :writer
"""

# Ends the watch over a version, if this taker still has it.
SETTLE: Final = """
UPDATE stream_version SET attendant = NULL, abandoned_at = NULL
 WHERE stream_id = :stream AND version = :version AND attendant = :writer
"""

# Deletes a stream: all statements in one transaction, after LATEST. KEEP_NUMBER leaves a row that
# earlier releases take for a pruned version.
DELETE_VERSIONS: Final = "DELETE FROM stream_version WHERE stream_id = :stream"
DELETE_CHUNKS: Final = "DELETE FROM stream_chunk WHERE stream_id = :stream"
DELETE_REQUESTS: Final = "DELETE FROM stream_request WHERE stream_id = :stream"
KEEP_NUMBER: Final = f"""
INSERT INTO stream_version (stream_id, version, opener, state, next_id, lease_seconds, lease_until,
                            attempt, created_at)
VALUES (:stream, :latest, '', 'pruned', 0, 0, {NOW}, 1, {NOW})
"""
