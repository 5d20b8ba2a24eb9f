"""The advisory lock by which a process shows that it lives, and the names of these locks.

A holder is `<start of the server>:<key>`, so that a name means nothing to another server, or to the
same one after a restart.

Source: PostgreSQL, "Advisory Locks" and "pg_locks": of a lock with two keys, `classid` and `objid`
are the keys and `objsubid` is 2; advisory locks are local to a database. Every role may read
`pg_locks` and the start of the server.
"""

# ruff: noqa: S608  (only constants of this module are put into the text; every value is bound)

from __future__ import annotations

import secrets
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, NamedTuple

from monostream_ai.stores.postgres.connections import Statement, leads_through_pooler
from monostream_ai.stores.postgres.sessions import Session
from monostream_ai.stores.postgres.statements import LAPSES
from monostream_ai.stores.sql.translation import INSUFFICIENT_PRIVILEGE, sqlstate

NAMESPACE: Final = 0x6D6F6E70
"""First key of the lock of a process, "monp"; the second one is drawn by the process."""

KEY_TRIES: Final = 5

BEAT_TIMEOUT: Final = 2.0
"""Seconds after which the session that holds the lock counts as silent."""

# In microseconds since 1970.
_SERVER: Final = """
CAST(CAST(extract(epoch FROM pg_postmaster_start_time()) * 1000000 AS bigint) AS text)"""

_LIVING: Final = f"""
SELECT {_SERVER} || ':' || l.objid AS holder, l.pid FROM pg_locks AS l
   WHERE l.locktype = 'advisory' AND l.classid = {NAMESPACE} AND l.objsubid = 2 AND l.granted
     AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())"""

_LOCK = Statement(
    f"""
SELECT pg_try_advisory_lock_shared({NAMESPACE}, CAST(:key AS integer)),
       {_SERVER} || ':' || CAST(CAST(:key AS integer) AS text)
"""
)

# Whether a session holds its lock, which holders are gone, and how many sessions of the database
# were ended by an administrator so far. Since Postgres 14 the server counts those apart from the
# ones whose client went away: `sessions_abandoned`, or `sessions_fatal` if it was just being sent
# an answer. Source: PostgreSQL, "pg_stat_database".
LOOK = Statement(
    f"""
WITH living AS MATERIALIZED ({_LIVING})
SELECT EXISTS (SELECT 1 FROM living WHERE holder = :own AND pid = CAST(:pid AS integer)),
       ARRAY(SELECT asked.holder FROM unnest(CAST(:holders AS text[])) AS asked (holder)
              WHERE split_part(asked.holder, ':', 1) = {_SERVER}
                AND NOT EXISTS (SELECT 1 FROM living WHERE living.holder = asked.holder)),
       (SELECT CAST(to_jsonb(d) ->> 'sessions_killed' AS bigint)
          FROM pg_stat_database AS d WHERE d.datname = current_database())
"""
)

# The session with the lock of an open version. Of the sessions of other roles, only members of
# `pg_read_all_stats` see more than the number.
HOLDER_OF = Statement(
    f"""
WITH living AS MATERIALIZED ({_LIVING})
SELECT living.pid, host(a.client_addr), a.application_name
  FROM stream_version AS v
  JOIN living ON living.holder = v.holder
  LEFT JOIN pg_stat_activity AS a ON a.pid = living.pid
 WHERE v.stream_id = :stream AND v.version = :version AND v.state = 'open'
 LIMIT 1
"""
)

# Leaves the versions of holders that are gone `:grace` seconds of lease; all holders if `:holders`
# is NULL. With `:spare` it takes the holder from them instead, so that their leases decide. Returns
# in each row how many such versions there are, and one that was changed.
#
# A lease that was renewed since the snapshot is left alone, and so is a locked row: its publisher
# is writing. `lease_seconds` goes down as well, or LAPSES would give the version a whole lease
# after the start of the server.
CUT_SHORT = Statement(
    f"""
WITH living AS MATERIALIZED ({_LIVING}),
orphans AS MATERIALIZED (
  SELECT v.stream_id, v.version, v.lease_until FROM stream_version AS v
   WHERE v.state = 'open' AND v.holder IS NOT NULL
     AND (CAST(:holders AS text[]) IS NULL
          OR v.holder IN (SELECT unnest(CAST(:holders AS text[]))))
     AND split_part(v.holder, ':', 1) = {_SERVER}
     AND NOT EXISTS (SELECT 1 FROM living WHERE living.holder = v.holder)
     AND {LAPSES} > clock_timestamp()),
cut AS (
  SELECT o.stream_id, o.version FROM orphans AS o CROSS JOIN LATERAL (
    SELECT 1 FROM stream_version AS v
     WHERE v.stream_id = o.stream_id AND v.version = o.version AND v.lease_until = o.lease_until
       AND {LAPSES} > clock_timestamp() + make_interval(secs => :grace)
       FOR NO KEY UPDATE OF v SKIP LOCKED) AS held),
shortened AS (
  UPDATE stream_version AS v
     SET holder = CASE WHEN CAST(:spare AS boolean) THEN NULL ELSE v.holder END,
         lease_until = CASE WHEN CAST(:spare AS boolean) THEN v.lease_until
                            ELSE clock_timestamp() + make_interval(secs => :grace) END,
         lease_seconds = CASE WHEN CAST(:spare AS boolean) THEN v.lease_seconds ELSE :grace END
    FROM cut WHERE v.stream_id = cut.stream_id AND v.version = cut.version
  RETURNING v.stream_id, v.version, v.next_id)
SELECT (SELECT count(*) FROM orphans), s.stream_id, s.version, s.next_id
  FROM (SELECT 1) AS one LEFT JOIN shortened AS s ON true
"""
)

# Gives the versions of a holder their full leases back, unless they have lapsed.
_RESTORE = Statement(
    f"""
UPDATE stream_version AS v
   SET lease_seconds = :lease,
       lease_until = greatest(v.lease_until, clock_timestamp() + make_interval(secs => :lease))
 WHERE v.state = 'open' AND v.holder = :holder AND v.writer IS NOT NULL
   AND {LAPSES} > clock_timestamp()
"""
)


def session_named(pid: int, address: str | None, application: str | None) -> str:
    """Return a session of the server for people; one by a socket of the machine has no address."""
    known = [f"Postgres session {pid}"]
    if address:
        known.append(f"from {address}")
    if application:
        known.append(f"({application})")
    return " ".join(known)


class Held(NamedTuple):
    """A lock that is held: its name, and the process number of the session on the server."""

    holder: str
    pid: int

    def parameters(self, holders: Sequence[str]) -> dict[str, Any]:
        """Return those of LOOK."""
        return {"own": self.holder, "pid": self.pid, "holders": holders}


class NoLock(Exception):
    """No lock can be held on this connection, now or later.

    Args:
        reason: Of the finding of `doctor`, with its advice.
    """

    def __init__(self, reason: str, advice: str) -> None:
        super().__init__(reason)
        self.reason = reason
        self.advice = advice


class ProcessLock:
    """The lock of one service: the same key for its whole life, on one session after another.

    It is a shared lock. A session that the server still takes for alive, although this process has
    lost it, is no obstacle to the next one.

    Args:
        text_of: Gives the SQL of a statement, qualified.
    """

    def __init__(self, text_of: Callable[[Statement], str]) -> None:
        self._text_of = text_of
        self._key: int | None = None

    async def take(self, session: Session, *, lease: float) -> Held:
        """Lock on a session. If this service held the lock before, its versions get their full
        leases of so many seconds back.

        Raises:
            NoLock
            TimeoutError: The session is silent.
        """
        try:
            if await leads_through_pooler(session.driver):
                raise NoLock(
                    "the connection leads through a pooler",
                    "pass a direct connection as listen_url",
                )
            again = self._key is not None
            held = await self._take_key(session)
            ((visible, _, _),) = await self._ask(session, LOOK, held.parameters([]))
            if not visible:
                raise NoLock("the server keeps no advisory locks", "")
            if again:
                await self._ask(session, _RESTORE, {"holder": held.holder, "lease": lease})
            return held
        except Exception as error:
            state = sqlstate(error)
            if state is None or session.driver.is_closed():
                raise
            if state != INSUFFICIENT_PRIVILEGE:
                raise NoLock(f"the server refuses the lock (SQLSTATE {state})", "") from error
            raise NoLock(
                "the database role may not use advisory locks, or not see them",
                "GRANT SELECT ON pg_locks and EXECUTE ON FUNCTION "
                "pg_try_advisory_lock_shared(integer, integer) to it",
            ) from error

    async def _take_key(self, session: Session) -> Held:
        for _ in range(KEY_TRIES):
            # Drawn here and not before: a server that forks has made its store already.
            key = secrets.randbits(31) if self._key is None else self._key
            ((locked, holder),) = await self._ask(session, _LOCK, {"key": key})
            if locked:
                self._key = key
                return Held(holder, session.driver.get_server_pid())
            # Another program has this one for itself.
            self._key = None
        raise NoLock("another program holds the advisory locks", "")

    async def _ask(
        self, session: Session, statement: Statement, parameters: Mapping[str, Any]
    ) -> Sequence[Any]:
        text = self._text_of(statement)
        return await session.fetch(text, *statement.arguments(parameters), timeout=BEAT_TIMEOUT)
