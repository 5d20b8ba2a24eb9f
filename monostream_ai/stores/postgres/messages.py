"""The histories of chats in Postgres."""

from __future__ import annotations

from typing import Final

from monostream_ai.interfaces import Messages
from monostream_ai.stores.postgres.connections import Statement
from monostream_ai.stores.postgres.database import PostgresDatabase
from monostream_ai.types import LatestMessage, StoredMessage

PUT: Final = Statement(
    """
INSERT INTO monostream_message AS m
       (stream_id, role, message_id, version, since, owner, message, beginning, stored_at)
VALUES (:stream_id, :role, :message_id, :version, :since, :owner,
        CAST(CAST(:message AS text) AS json), :beginning, clock_timestamp())
ON CONFLICT (stream_id, role, message_id) DO UPDATE SET
  version = greatest(m.version, EXCLUDED.version),
  since = least(m.since, EXCLUDED.since),
  message = CASE WHEN m.version <= EXCLUDED.version THEN EXCLUDED.message ELSE m.message END,
  beginning = CASE WHEN m.version <= EXCLUDED.version THEN EXCLUDED.beginning
                   ELSE m.beginning END,
  stored_at = CASE WHEN m.version < EXCLUDED.version THEN EXCLUDED.stored_at ELSE m.stored_at END
"""
)

OF_STREAM: Final = Statement(
    """
SELECT stream_id, role, message_id, version, since, owner, CAST(message AS text),
       beginning
  FROM monostream_message
 WHERE stream_id = :stream ORDER BY version, role DESC
"""
)

_LATEST: Final = """
SELECT latest.stream_id, latest.stored_at,
       coalesce((SELECT m.beginning FROM monostream_message AS m
                  WHERE m.stream_id = latest.stream_id AND m.role = 'user'
                  ORDER BY m.since LIMIT 1), '')
  FROM (SELECT stream_id, max(stored_at) AS stored_at FROM monostream_message
                WHERE {owned} AND starts_with(stream_id, :prefix) GROUP BY stream_id) AS latest
 WHERE CAST(:at AS timestamptz) IS NULL OR (stored_at, stream_id) < (:at, CAST(:before AS text))
 ORDER BY stored_at DESC, stream_id DESC LIMIT :limit
"""

# Two statements: no index serves IS NOT DISTINCT FROM.
LATEST_OF_OWNER: Final = Statement(_LATEST.format(owned="owner = :owner"))
LATEST_OF_NOBODY: Final = Statement(_LATEST.format(owned="owner IS NULL"))

DELETE: Final = Statement(
    """
DELETE FROM monostream_message
 WHERE stream_id = :stream
   AND (CAST(:version AS bigint) IS NULL OR version = CAST(:version AS bigint))
RETURNING 1
"""
)


class PostgresMessages(Messages):
    """Keeps messages in the table `monostream_message`."""

    def __init__(self, database: PostgresDatabase) -> None:
        self._database = database

    async def put(self, message: StoredMessage) -> None:
        await self._database.execute(PUT, message._asdict())

    async def of_stream(self, stream_id: str) -> list[StoredMessage]:
        rows = await self._database.execute(OF_STREAM, {"stream": stream_id})
        return [StoredMessage(*row) for row in rows]

    async def latest(
        self, owner: str | None, *, prefix: str, before: LatestMessage | None, limit: int
    ) -> list[LatestMessage]:
        parameters = {
            "owner": owner,
            "prefix": prefix,
            "at": None if before is None else before.stored_at,
            "before": None if before is None else before.stream_id,
            "limit": limit,
        }
        statement = LATEST_OF_NOBODY if owner is None else LATEST_OF_OWNER
        rows = await self._database.execute(statement, parameters)
        return [LatestMessage(*row) for row in rows]

    async def delete(self, stream_id: str, version: int | None = None) -> bool:
        parameters = {"stream": stream_id, "version": version}
        return len(await self._database.execute(DELETE, parameters)) > 0
