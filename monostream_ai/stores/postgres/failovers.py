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
from collections.abc import MutableMapping
from datetime import datetime
from typing import Any, Final

from monostream_ai.stores.sql.translation import sqlstate

logger = logging.getLogger(__name__)

LOOK_AGAIN: Final = 1.0
"""Seconds after which a connection through a pooler is asked again: it may outlive a failover. A
direct connection does not, so it is asked once.
"""

_LOOKED: Final = "monostream_ai.looked_for_failovers"
_READ_ONLY: Final = "25006"

# Timeline 1 is the one that a cluster begins with: there was no promotion. A row that another
# process is just inserting is not visible yet; it is of this moment. Source of the name's format:
# Postgres, "WAL Internals".
_NOTE: Final = """
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


class Failovers:
    """Failovers of a database, as far as this process has noticed them.

    Args:
        pooler: Whether a pooler may switch the server behind an open connection.
        timeout: Seconds that asking a connection may take.
    """

    def __init__(self, *, pooler: bool, timeout: float) -> None:
        self.promoted_at: datetime | None = None
        """When a standby was first seen in charge, by its own clock; None if there was no failover,
        or the database does not tell.
        """
        self._look_again = LOOK_AGAIN if pooler else math.inf
        self._timeout = timeout

    async def look(self, driver: Any, info: MutableMapping[Any, Any]) -> None:
        """Ask a connection, unless that was done.

        Args:
            driver: An asyncpg connection outside of a transaction.
            info: The dictionary that the pool keeps with that connection.
        """
        now = time.monotonic()
        if now - info.get(_LOOKED, -math.inf) < self._look_again:
            return
        try:
            seen = await driver.fetchval(_NOTE, timeout=self._timeout)
        except Exception as error:
            state = sqlstate(error)
            if state is None or driver.is_closed():
                raise
            # The table or a privilege is missing, or the engine has no timelines.
            logger.debug("no failover can be noticed on this connection: SQLSTATE %s", state)
            if state == _READ_ONLY:
                # A standby, which may be promoted while the connection lasts.
                return
        else:
            self.promoted_at = max(filter(None, (self.promoted_at, seen)), default=None)
        info[_LOOKED] = now
