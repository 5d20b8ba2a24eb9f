"""Breakages of stores and notifiers. The fence of a database is in its statements, so their text is
changed.

Each function runs in place of the one it is given first, or takes a statement and returns the
broken one (see `table.py`).
"""

from __future__ import annotations

import copy
from typing import Any

from monostream_ai.errors import Fenced
from monostream_ai.types import WakeUp


def fence_skipped(refusal: Any, *args: Any, **facts: Any) -> Any:
    """A publisher that was fenced may write on."""
    verdict = refusal(*args, **facts)
    return None if isinstance(verdict, Fenced) else verdict


def sqlite_append_without_token(statement: str) -> str:
    """In SQLite, anybody that knows the next id may append."""
    return _replaced(statement, " AND writer = ?", " AND length(?) > 0")


def postgres_append_without_token(statement: Any) -> Any:
    """In Postgres, anybody that knows the next id may append."""
    broken = copy.copy(statement)
    broken.sql = _without(statement.sql, " AND v.writer = b.writer")
    return broken


def versions_opened_without_a_lock(statement: Any) -> Any:
    """In Postgres, a publisher writes on below a version that was opened at the same time."""
    broken = copy.copy(statement)
    broken.sql = _replaced(statement.sql, "pg_try_advisory_xact_lock(", "num_nonnulls(")
    return broken


def _without(statement: str, part: str) -> str:
    return _replaced(statement, part, "")


def _replaced(statement: str, part: str, other: str) -> str:
    if statement.count(part) != 1:
        raise LookupError(f"{statement.count(part)} times {part!r} in {statement}")
    return statement.replace(part, other)


async def number_of_a_deleted_stream_forgotten(delete: Any, store: Any, stream_id: str) -> Any:
    """A cursor of a deleted stream names a chunk of its successor."""
    deleted = await delete(store, stream_id)
    store._deleted.clear()
    return deleted


async def claim_shared_by_successors(
    claim: Any, store: Any, taker: Any, *, attempt: int | None = None, **options: Any
) -> Any:
    """Several processes go on with one lost version at the same time."""
    next_id = await claim(store, taker, attempt=attempt, **options)
    row = store._row(taker)
    return row.next_id if attempt is not None and next_id is None and row else next_id


async def waits_in_vain_not_counted(
    claim: Any, store: Any, taker: Any, *, waits: bool = False, **options: Any
) -> Any:
    """A version that nobody takes is made to wait again for ever."""
    next_id = await claim(store, taker, waits=waits, **options)
    if waits and next_id is not None:
        store._row(taker).attended = 0
    return next_id


async def attempts_not_counted(
    attend: Any, store: Any, taker: Any, *, lease: float, state: Any = "closed"
) -> Any:
    """Work that fails is tried again and again, as soon as its time is over."""
    attempt = await attend(store, taker, lease=lease, state=state)
    if attempt is not None:
        row = store._row(taker)
        row.attended, row.attended_until = 1, store._clock() + lease
    return attempt


async def listening_connection_never_probed(
    watch: Any, notifier: Any, subscription: Any, listener: Any
) -> None:
    """A listening connection that has gone silent is believed for ever."""
    await subscription.lost.wait()


async def missed_wake_ups_not_looked_for(
    listen: Any, notifier: Any, listener: Any, on_error: Any
) -> Any:
    """Wake-ups sent while nobody listened are found by the next poll only."""
    return await listen(notifier, _WithoutResync(listener), on_error)


class _WithoutResync:
    def __init__(self, inner: Any) -> None:
        self._inner = inner

    def on_wake_up(self, wake_up: WakeUp) -> None:
        self._inner.on_wake_up(wake_up)

    def on_resync(self) -> None:
        """Say nothing of it."""
