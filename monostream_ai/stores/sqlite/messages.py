"""The histories of chats in a SQLite file."""

# ruff: noqa: S608  (only constants of this module are put into the text; every value is bound)

from __future__ import annotations

from datetime import UTC, datetime
from typing import Final

from monostream_ai.interfaces import Messages
from monostream_ai.stores.sqlite.statements import NOW
from monostream_ai.stores.sqlite.thread import SQLiteThread
from monostream_ai.types import LatestMessage, StoredMessage

# In milliseconds, which survive the way to a datetime and back: the last one of a page must compare
# equal to itself.
_NOW: Final = f"round({NOW}, 3)"

PUT: Final = f"""
INSERT INTO monostream_message AS m
       (stream_id, role, message_id, version, since, owner, message, beginning, stored_at)
VALUES (:stream_id, :role, :message_id, :version, :since, :owner, :message, :beginning,
        {_NOW})
ON CONFLICT (stream_id, role, message_id) DO UPDATE SET
  version = max(m.version, excluded.version),
  since = min(m.since, excluded.since),
  message = CASE WHEN m.version <= excluded.version THEN excluded.message ELSE m.message END,
  beginning = CASE WHEN m.version <= excluded.version THEN excluded.beginning
                   ELSE m.beginning END,
  stored_at = CASE WHEN m.version < excluded.version THEN excluded.stored_at ELSE m.stored_at END
"""

OF_STREAM: Final = """
SELECT stream_id, role, message_id, version, since, owner, message, beginning
  FROM monostream_message
 WHERE stream_id = :stream ORDER BY version, role DESC
"""

LATEST: Final = """
SELECT latest.stream_id, latest.stored_at,
       coalesce((SELECT m.beginning FROM monostream_message AS m
                  WHERE m.stream_id = latest.stream_id AND m.role = 'user'
                  ORDER BY m.since LIMIT 1), '')
  FROM (SELECT stream_id, max(stored_at) AS stored_at FROM monostream_message
                WHERE owner IS :owner AND substr(stream_id, 1, length(:prefix)) = :prefix
                GROUP BY stream_id) AS latest
 WHERE :at IS NULL OR (stored_at, stream_id) < (:at, :before)
 ORDER BY stored_at DESC, stream_id DESC LIMIT :limit
"""

DELETE: Final = """
DELETE FROM monostream_message
 WHERE stream_id = :stream AND (:version IS NULL OR version = :version)
"""


class SQLiteMessages(Messages):
    """Keeps messages in the table `monostream_message`, on the connections of a store."""

    def __init__(self, writer: SQLiteThread, reader: SQLiteThread) -> None:
        self._writer = writer
        self._reader = reader

    async def put(self, message: StoredMessage) -> None:
        await self._writer.write(lambda connection: connection.execute(PUT, message._asdict()))

    async def of_stream(self, stream_id: str) -> list[StoredMessage]:
        return await self._reader.run(
            lambda connection: [
                StoredMessage(*row)
                for row in connection.execute(OF_STREAM, {"stream": stream_id}).fetchall()
            ]
        )

    async def latest(
        self, owner: str | None, *, prefix: str, before: LatestMessage | None, limit: int
    ) -> list[LatestMessage]:
        parameters = {
            "owner": owner,
            "prefix": prefix,
            "at": None if before is None else before.stored_at.timestamp(),
            "before": None if before is None else before.stream_id,
            "limit": limit,
        }
        return await self._reader.run(
            lambda connection: [
                LatestMessage(stream_id, datetime.fromtimestamp(stored_at, UTC), title)
                for stream_id, stored_at, title in connection.execute(LATEST, parameters).fetchall()
            ]
        )

    async def delete(self, stream_id: str, version: int | None = None) -> bool:
        parameters = {"stream": stream_id, "version": version}
        return await self._writer.write(
            lambda connection: connection.execute(DELETE, parameters).rowcount > 0
        )
