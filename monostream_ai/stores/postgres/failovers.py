"""Notices that a standby has been promoted, and remembers since when.

While a failover goes on, nobody can renew a lease, so each publisher gets one more lease after it,
as after a restart. A restart shows in `pg_postmaster_start_time()`; Postgres tells the time of a
promotion to privileged roles only. But a promoted standby begins a new timeline, whose number
anyone may see, so the first process that sees a number notes the time in `monostream_timeline`.
"""

from __future__ import annotations

import logging
import math
import time
from datetime import datetime
from typing import Final

from monostream_ai.stores.postgres.connections import DriverConnection, Statement
from monostream_ai.stores.sql.translation import sqlstate

logger = logging.getLogger(__name__)

LOOK_AGAIN: Final = 1.0
"""Seconds after which a connection through a pooler is asked again: it may outlive a failover. A
direct connection does not, so it is asked once.
"""

_ASKED: Final = "monostream_ai.asked_for_failovers"
_READ_ONLY: Final = "25006"

# Timeline 1 is the one that a cluster begins with: there was no promotion. A row that another
# process is just inserting is not visible yet; it is of this moment. Source of the name's format:
# Postgres, "WAL Internals".
_NOTE = Statement(
    """
WITH current AS (
  SELECT CAST(CAST('x' || left(pg_walfile_name(pg_current_wal_lsn()), 8) AS bit(32)) AS integer)
         AS timeline),
noted AS (
  INSERT INTO monostream_timeline (timeline, seen_at)
  SELECT timeline, clock_timestamp() FROM current WHERE timeline > 1 ON CONFLICT DO NOTHING)
SELECT coalesce(t.seen_at, clock_timestamp())
  FROM current LEFT JOIN monostream_timeline AS t ON t.timeline = current.timeline
 WHERE current.timeline > 1
"""
)


class Failovers:
    """Failovers of a database, as far as this process has noticed them.

    Args:
        timeout: Seconds that asking a connection may take.
    """

    def __init__(self, *, timeout: float) -> None:
        self.promoted_at: datetime | None = None
        """When a standby was first seen in charge, by its own clock; None if there was no failover,
        or the database does not tell.
        """
        self._timeout = timeout

    async def look(self, connection: DriverConnection) -> None:
        """Ask a connection unless that was done, and give it `promoted_at`.

        Raises:
            TimeoutError: It took too long.
        """
        now = time.monotonic()
        asked: float = connection.info.get(_ASKED, -math.inf)
        look_again = LOOK_AGAIN if connection.pooled else math.inf
        if now - asked >= look_again and await self._answers(connection):
            connection.info[_ASKED] = now
        connection.promoted_at = self.promoted_at

    async def _answers(self, connection: DriverConnection) -> bool:
        """Ask the connection; return False if it may answer differently later."""
        try:
            seen = await self._ask(connection)
        except Exception as error:
            state = sqlstate(error)
            if state is None or connection.driver.is_closed():
                raise
            # The table or a privilege is missing, or the engine has no timelines.
            logger.debug("no failover can be noticed on this connection: SQLSTATE %s", state)
            # A standby may be promoted while the connection lasts.
            return state != _READ_ONLY
        self.promoted_at = max(filter(None, (self.promoted_at, seen)), default=None)
        return True

    async def _ask(self, connection: DriverConnection) -> datetime | None:
        rows = await connection.execute(_NOTE, {}, timeout=self._timeout)
        return rows[0][0] if rows else None
