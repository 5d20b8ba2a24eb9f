"""The SQLite statements; each writing one runs in a transaction that holds the write lock.

The write lock makes a fence simple: nobody commits between a check and the write after it. A chunk
is fenced in `_APPENDABLE`, older versions are fenced in `FENCE`, and a stop is stored by `CLAIM`.
A lease is judged by comparing `lease_until` with `NOW`.

Instants are seconds since 1970 by the host's clock, which all processes of a file share.
"""

# ruff: noqa: S608  (only constants of this module are put into the text; every value is bound)

from __future__ import annotations

from typing import Final

NOW: Final = "((julianday('now') - 2440587.5) * 86400.0)"

# The newest version of a stream. Other programs write chunks without a version row, so both tables
# are asked.
LATEST: Final = """
SELECT max(version) FROM (
  SELECT max(version) AS version FROM stream_version WHERE stream_id = :stream
  UNION ALL SELECT max(version) FROM stream_chunk WHERE stream_id = :stream)
"""

# The version that this token opened before, so that a repeated acquire is harmless. `writer` would
# not do: it changes when a version is fenced.
OPENED_BEFORE: Final = """
SELECT version FROM stream_version WHERE stream_id = :stream AND opener = :writer
"""

# Fences all versions of a stream. Runs in one transaction with OPEN, before it.
FENCE: Final = """
UPDATE stream_version SET writer = NULL, settler = NULL
 WHERE stream_id = :stream AND state = 'open' AND writer IS NOT NULL
"""

OPEN: Final = f"""
INSERT INTO stream_version (stream_id, version, writer, opener, state, next_id, lease_seconds,
                            lease_until, message_id, owner,
                            attempt, request, metadata, created_at, settler)
VALUES (:stream, :version, :writer, :writer, 'open', 0, :lease,
        {NOW} + :lease, :message_id, :owner,
        :attempt, :request, :metadata, {NOW}, CASE WHEN :watched THEN :writer END)
"""

# The fence of a chunk: the token holds the version, the chunks follow the stored ones, and the
# version is open and the newest.
_APPENDABLE: Final = """
 WHERE stream_id = :stream AND version = :version AND writer = :writer AND next_id = :first
   AND state = 'open'
   AND NOT EXISTS (SELECT 1 FROM stream_version WHERE stream_id = :stream AND version > :version)
"""

# Two statements, since SQLite rewrites each index whose columns, or whose condition's columns, are
# assigned to, changed or not. An append that leaves `state` alone touches no index: 64 × 2 rows
# take 470 µs, not 726 µs.
APPEND: Final = f"""
UPDATE stream_version
   SET next_id = :end, lease_seconds = :lease, lease_until = {NOW} + :lease {_APPENDABLE}
"""

APPEND_AND_CLOSE: Final = f"""
UPDATE stream_version
   SET next_id = :end, lease_seconds = :lease, lease_until = {NOW},
       state = 'closed', closed_at = {NOW} {_APPENDABLE}
"""

INSERT_CHUNKS: Final = """
INSERT INTO stream_chunk (stream_id, version, id, created_at, chunk) VALUES (?, ?, ?, ?, ?)
"""

HEAD: Final = f"""
SELECT state, next_id, lease_until - {NOW}, opener FROM stream_version
 WHERE stream_id = ? AND version = ?
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

RENEW: Final = f"""
UPDATE stream_version SET lease_seconds = :lease, lease_until = {NOW} + :lease
 WHERE stream_id = :stream AND version = :version AND writer = :writer AND state = 'open'
   AND NOT EXISTS (SELECT 1 FROM stream_version WHERE stream_id = :stream AND version > :version)
"""

# Takes an open version from its publisher. This stores a stop: with `:stop` a running lease is no
# obstacle, except that of an earlier stop. Without `:stop` only a lapsed lease is taken. Replacing
# `writer` fences the publisher. A repeated call by the same taker matches its own token.
CLAIM: Final = f"""
UPDATE stream_version
   SET writer = :writer, lease_seconds = :lease, lease_until = {NOW} + :lease,
       stop_requested_at = CASE WHEN :stop THEN coalesce(stop_requested_at, {NOW})
                                ELSE stop_requested_at END
 WHERE stream_id = :stream AND version = :version AND state = 'open'
   AND NOT EXISTS (SELECT 1 FROM stream_version WHERE stream_id = :stream AND version > :version)
   AND (writer = :writer OR lease_until <= {NOW} OR (:stop AND stop_requested_at IS NULL))
"""

NEXT_ID: Final = """
SELECT next_id FROM stream_version WHERE stream_id = :stream AND version = :version
"""

# Lets a held lease lapse now.
RELEASE: Final = f"""
UPDATE stream_version SET lease_until = {NOW}
 WHERE stream_id = :stream AND version = :version AND writer = :writer AND state = 'open'
"""

# The fields of VersionInfo, by name.
_INFO: Final = f"""
SELECT stream_id, version, state, next_id, lease_until - {NOW} AS lease_left, created_at, closed_at,
       {NOW} - closed_at AS closed_for, stop_requested_at, message_id, owner, attempt, request,
       metadata
  FROM stream_version AS v
"""

INFO: Final = f"{_INFO} WHERE stream_id = :stream AND version = :version"

# The latest version of each stream with this prefix. `substr` compares exactly; LIKE would ignore
# case and give `%` and `_` a meaning.
STREAMS: Final = f"""
{_INFO} WHERE substr(stream_id, 1, length(:prefix)) = :prefix
          AND (:after IS NULL OR stream_id > :after)
          AND NOT EXISTS (SELECT 1 FROM stream_version AS n
                           WHERE n.stream_id = v.stream_id AND n.version > v.version)
 ORDER BY stream_id LIMIT :limit
"""

VERSIONS: Final = f"""
{_INFO} WHERE stream_id = :stream AND (:before IS NULL OR version < :before)
 ORDER BY version DESC LIMIT :limit
"""

# `length` of text counts characters; of a blob, bytes.
TIMELINE: Final = """
SELECT id, created_at, length(CAST(chunk AS blob)) FROM stream_chunk
 WHERE stream_id = ? AND version = ? AND id >= ?
 ORDER BY id LIMIT ?
"""

# Watched versions without a running lease, by the index on `settler IS NOT NULL`.
UNATTENDED: Final = f"""
{_INFO} WHERE settler IS NOT NULL AND substr(stream_id, 1, length(:prefix)) = :prefix
          AND lease_until <= {NOW} LIMIT :limit
"""

# Takes a closed version that is still to be settled; of many takers one gets it.
ATTEND: Final = f"""
UPDATE stream_version SET settler = :writer, lease_seconds = :lease, lease_until = {NOW} + :lease
 WHERE stream_id = :stream AND version = :version AND state = 'closed' AND settler IS NOT NULL
   AND (settler = :writer OR lease_until <= {NOW})
"""

# Ends the watch over a version, if this taker still has it.
SETTLE: Final = """
UPDATE stream_version SET settler = NULL
 WHERE stream_id = :stream AND version = :version AND settler = :writer
"""

DELETE_VERSIONS: Final = "DELETE FROM stream_version WHERE stream_id = ?"
DELETE_CHUNKS: Final = "DELETE FROM stream_chunk WHERE stream_id = ?"
