"""Fencing: only the holder of a version's lease may write to it.

Acquiring a version gives its publisher a token, and takes the token of every older version of the
stream away. An append names its token and its first id. It lands only if, in the same atomic step,
the store finds that the token still holds the version, that the version is open and the newest of
its stream, and that the first id is the next one. So the store refuses a publisher that slept
while its successor started, even if it still believes that it holds the version.

In each store, that step is:

| | a chunk is fenced in | older versions are fenced in | a stop is stored in |
|---|---|---|---|
| Postgres | `postgres/statements.py`: `APPEND` | the same: `ACQUIRE` | the same: `CLAIM` |
| SQLite | `sqlite/statements.py`: `_APPENDABLE` | the same: `FENCE` | the same: `CLAIM` |
| memory | `memory.py`: `MemoryStore._append` | `MemoryStore.acquire` | `MemoryStore.claim` |

The store's own clock judges whether a lease has lapsed: it is compared with `LAPSES` of the same
files, in memory with `lease_until`. The lease of a process that is known to be dead lapses early:
at once by `LAPSES` of SQLite, within seconds by `CUT_SHORT` of `postgres/holders.py`.

This module has the verdicts that all stores share: why a lease may not write any more, and whether
a repeated append has closed its version before.
"""

from __future__ import annotations

from monostream_ai.errors import Fenced, MonostreamError, StreamClosed, StreamDeleted, StreamStopped
from monostream_ai.types import Append, Lease


def refusal(
    lease: Lease, *, token: str | None, state: str | None, stopped: bool, latest: int | None
) -> MonostreamError | None:
    """Return why the lease is lost, or None if it is held.

    A lapsed lease is still held, until another program takes it.

    Args:
        token: The token that holds the version now.
        state: The state of the version, None if it does not exist.
        stopped: Whether a stop of the version is stored.
        latest: The newest version of the stream, None if it has none.
    """
    if state is None or state == "pruned" or latest is None:
        return StreamDeleted(lease.stream_id)
    # Before `closed`: a stop closes the version too, and its publisher is to learn of the stop.
    if stopped and token != lease.token:
        return StreamStopped(lease.stream_id, lease.version)
    if state != "open" and token == lease.token:
        return StreamClosed(lease.stream_id, lease.version)
    # Also if the program that took the version has ended it since.
    if token != lease.token or latest > lease.version:
        return Fenced(lease.stream_id, lease.version, latest)
    return None


def closed_by(append: Append, *, token: str | None, state: str | None, next_id: int) -> bool:
    """Return whether an append without payloads has landed before: it closed the version.

    One with payloads has landed if they are stored, which each store finds out its own way.

    Args:
        token: The token that holds the version now.
        next_id: The next id of the version.
    """
    return (
        not append.payloads
        and state == "closed"
        and token == append.lease.token
        and next_id == append.first
    )
