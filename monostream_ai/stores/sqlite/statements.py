"""The SQLite statements. Instants are seconds since 1970; the clock is the host's, which all
processes share.
"""

# ruff: noqa: S608  (only constants of this module are put into the text; every value is bound)

from __future__ import annotations

from typing import Final

NOW: Final = "((julianday('now') - 2440587.5) * 86400.0)"

# Rows that another program wrote may have no version row.
LATEST: Final = """
SELECT max(version) FROM (SELECT max(version) AS version FROM stream_version WHERE stream_id = :stream
                          UNION ALL SELECT max(version) FROM stream_chunk WHERE stream_id = :stream)
"""

# The writer changes when a version is fenced, so the token that opened it is kept beside it.
OPENED_BEFORE: Final = (
    "SELECT version FROM stream_version WHERE stream_id = :stream AND opener = :writer"
)

FENCE: Final = """
UPDATE stream_version SET writer = NULL, settler = NULL WHERE stream_id = :stream AND state = 'open' AND writer IS NOT NULL
"""

OPEN: Final = f"""
INSERT INTO stream_version (stream_id, version, writer, opener, state, next_id, lease_seconds, lease_until, message_id, owner,
                            attempt, request, metadata, created_at, settler)
VALUES (:stream, :version, :writer, :writer, 'open', 0, :lease, {NOW} + :lease, :message_id, :owner,
        :attempt, :request, :metadata, {NOW}, CASE WHEN :watched THEN :writer END)
"""

_APPENDABLE: Final = """
 WHERE stream_id = :stream AND version = :version AND writer = :writer AND next_id = :first AND state = 'open'
   AND NOT EXISTS (SELECT 1 FROM stream_version WHERE stream_id = :stream AND version > :version)
"""

# Not one statement for both: SQLite writes each index anew whose columns, or whose condition's, are
# assigned to, changed or not.
APPEND: Final = f"""
UPDATE stream_version SET next_id = :end, lease_seconds = :lease, lease_until = {NOW} + :lease {_APPENDABLE}
"""

APPEND_AND_CLOSE: Final = f"""
UPDATE stream_version
   SET next_id = :end, lease_seconds = :lease, lease_until = {NOW}, state = 'closed', closed_at = {NOW} {_APPENDABLE}
"""

INSERT_CHUNKS: Final = (
    "INSERT INTO stream_chunk (stream_id, version, id, created_at, chunk) VALUES (?, ?, ?, ?, ?)"
)

HEAD: Final = f"SELECT state, next_id, lease_until - {NOW}, opener FROM stream_version WHERE stream_id = ? AND version = ?"

FOREIGN_NEXT_ID: Final = "SELECT max(id) + 1 FROM stream_chunk WHERE stream_id = ? AND version = ?"

ROWS: Final = "SELECT id, chunk FROM stream_chunk WHERE stream_id = ? AND version = ? AND id >= ? ORDER BY id LIMIT ?"

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

CLAIM: Final = f"""
UPDATE stream_version
   SET writer = :writer, lease_seconds = :lease, lease_until = {NOW} + :lease,
       stop_requested_at = CASE WHEN :stop THEN coalesce(stop_requested_at, {NOW}) ELSE stop_requested_at END
 WHERE stream_id = :stream AND version = :version AND state = 'open'
   AND NOT EXISTS (SELECT 1 FROM stream_version WHERE stream_id = :stream AND version > :version)
   AND (writer = :writer OR lease_until <= {NOW} OR (:stop AND stop_requested_at IS NULL))
"""

NEXT_ID: Final = (
    "SELECT next_id FROM stream_version WHERE stream_id = :stream AND version = :version"
)

RELEASE: Final = f"""
UPDATE stream_version SET lease_until = {NOW}
 WHERE stream_id = :stream AND version = :version AND writer = :writer AND state = 'open'
"""

_INFO: Final = f"""
SELECT stream_id, version, state, next_id, lease_until - {NOW} AS lease_left, created_at, closed_at,
       {NOW} - closed_at AS closed_for, stop_requested_at, message_id, owner, attempt, request, metadata
  FROM stream_version AS v
"""

INFO: Final = f"{_INFO} WHERE stream_id = :stream AND version = :version"

STREAMS: Final = f"""
{_INFO} WHERE substr(stream_id, 1, length(:prefix)) = :prefix AND (:after IS NULL OR stream_id > :after)
          AND NOT EXISTS (SELECT 1 FROM stream_version AS n WHERE n.stream_id = v.stream_id AND n.version > v.version)
 ORDER BY stream_id LIMIT :limit
"""

VERSIONS: Final = f"""
{_INFO} WHERE stream_id = :stream AND (:before IS NULL OR version < :before) ORDER BY version DESC LIMIT :limit
"""

TIMELINE: Final = """
SELECT id, created_at, length(CAST(chunk AS blob)) FROM stream_chunk WHERE stream_id = ? AND version = ? AND id >= ?
 ORDER BY id LIMIT ?
"""

UNATTENDED: Final = f"""
{_INFO} WHERE settler IS NOT NULL AND substr(stream_id, 1, length(:prefix)) = :prefix AND lease_until <= {NOW} LIMIT :limit
"""

ATTEND: Final = f"""
UPDATE stream_version SET settler = :writer, lease_seconds = :lease, lease_until = {NOW} + :lease
 WHERE stream_id = :stream AND version = :version AND state = 'closed' AND settler IS NOT NULL
   AND (settler = :writer OR lease_until <= {NOW})
"""

SETTLE: Final = "UPDATE stream_version SET settler = NULL WHERE stream_id = :stream AND version = :version AND settler = :writer"
