"""Streams in this process's memory, for tests, demonstrations, and answers that may end with it.

Methods stand in the order of `Store`. A chunk is fenced in `_append`, a stop is stored in `claim`,
and a lease is judged by comparing `lease_until` with the clock.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime

from monostream_ai.errors import (
    ChunksMissing,
    MonostreamError,
    NotLost,
    StreamDeleted,
    VersionConflict,
)
from monostream_ai.interfaces import Messages, Store
from monostream_ai.stores.fencing import closed_by, refusal
from monostream_ai.types import (
    MAX_DOUBLINGS,
    MAX_VERSION,
    Append,
    Changes,
    Head,
    LatestMessage,
    Lease,
    Opening,
    Page,
    Position,
    State,
    StoredChunk,
    StoredMessage,
    VersionInfo,
    WatchedState,
)


@dataclass(slots=True)
class _Version:
    number: int
    opening: Opening
    # The token that may write now; None once the version is fenced.
    token: str | None
    # By the store's clock, as `closed` is.
    lease_until: float
    attempt: int = 1
    handovers: int = 0
    waiting: bool = False
    state: State = "open"
    payloads: list[str] = field(default_factory=list)
    stored_at: list[datetime] = field(default_factory=list)
    next_id: int = 0
    closed: float | None = None
    stop_requested_at: datetime | None = None
    created_at: datetime = field(default_factory=lambda: datetime.now(UTC))
    closed_at: datetime | None = None
    # The newest version deleted before this one was opened.
    deleted_to: int = -1
    # The token that looks after the version, from its opener on; None if it is not watched, or is
    # settled.
    attendant: str | None = None
    attended: int = 0
    attended_until: float = -math.inf
    abandoned_at: datetime | None = None


class MemoryMessages(Messages):
    """Keeps messages in memory. As in `MemoryStore`, no method awaits anything."""

    def __init__(self) -> None:
        self._streams: dict[str, dict[tuple[str, str], tuple[StoredMessage, datetime]]] = {}

    async def put(self, message: StoredMessage) -> None:
        stored = self._streams.setdefault(message.stream_id, {})
        key = (message.role, message.message_id)
        old, stored_at = stored.get(key, (message, datetime.now(UTC)))
        newest = message if old.version <= message.version else old
        if old.version < message.version:
            stored_at = datetime.now(UTC)
        stored[key] = (newest._replace(since=min(old.since, message.since)), stored_at)

    async def of_stream(self, stream_id: str) -> list[StoredMessage]:
        stored = [message for message, _ in self._streams.get(stream_id, {}).values()]
        return sorted(stored, key=lambda message: (message.version, message.role == "assistant"))

    async def latest(
        self, owner: str | None, *, prefix: str, before: LatestMessage | None, limit: int
    ) -> list[LatestMessage]:
        found = [
            LatestMessage(name, max(times), _title(stored.values()))
            for name, stored in self._streams.items()
            if name.startswith(prefix)
            and (times := [at for message, at in stored.values() if message.owner == owner])
        ]
        found.sort(key=_by_time, reverse=True)
        return [each for each in found if before is None or _by_time(each) < _by_time(before)][
            :limit
        ]

    async def delete(self, stream_id: str, version: int | None = None) -> bool:
        stored = self._streams.get(stream_id, {})
        left = {
            key: kept
            for key, kept in stored.items()
            if version is not None and kept[0].version != version
        }
        self._streams[stream_id] = left
        return len(left) < len(stored)


def _title(stored: Iterable[tuple[StoredMessage, datetime]]) -> str:
    questions = [message for message, _ in stored if message.role == "user"]
    return min(questions, key=lambda message: message.since).beginning if questions else ""


def _by_time(latest: LatestMessage) -> tuple[datetime, str]:
    return latest.stored_at, latest.stream_id


class MemoryStore(Store):
    """Keeps streams in memory. Services with the same instance share them, as with a database.

    No method awaits anything, so each is atomic for the tasks of an event loop. Use it on one loop
    only: another thread could come between a check and its write.

    Args:
        clock: Seconds that never go back, by which leases are judged. A test may pass its own.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._streams: dict[str, dict[int, _Version]] = {}
        self._deleted: dict[str, int] = {}
        """The newest version that each deleted stream had."""
        self._messages = MemoryMessages()

    def __repr__(self) -> str:
        count = len(self._streams)
        return f"<{type(self).__name__} {count} stream{'' if count == 1 else 's'}>"

    @property
    def messages(self) -> Messages:
        return self._messages

    async def setup(self) -> None:
        """Do nothing: memory needs no tables."""

    async def acquire(self, stream_id: str, version: int | None, opening: Opening) -> int:
        versions = self._streams.get(stream_id, {})
        for row in versions.values():
            if row.opening.token == opening.token:
                return row.number
        deleted_to = self._deleted.get(stream_id, -1)
        latest = max(versions, default=deleted_to)
        if latest == MAX_VERSION or (version is not None and version <= latest):
            raise VersionConflict(stream_id, latest if version is None else version, latest)
        if opening.repeats and not self._is_free(versions.get(latest)):
            raise NotLost(stream_id, latest)
        # Older versions are fenced here.
        for old in versions.values():
            old.token = None
            if old.state == "open":
                old.attendant = None
        number = latest + 1 if version is None else version
        versions[number] = _Version(
            number,
            opening,
            opening.token,
            self._clock() + opening.lease,
            deleted_to=deleted_to,
            attempt=opening.attempt,
            handovers=opening.handovers,
            attendant=opening.token if opening.watched else None,
        )
        self._streams[stream_id] = versions
        return number

    def _is_free(self, row: _Version | None) -> bool:
        return (
            row is not None
            and row.state == "open"
            and row.lease_until <= self._clock()
            and row.stop_requested_at is None
        )

    async def append(
        self, appends: Sequence[Append], *, lease: float
    ) -> list[MonostreamError | None]:
        return [self._append(append, lease) for append in appends]

    def _append(self, append: Append, lease: float) -> MonostreamError | None:
        row = self._row(append.lease)
        if row is None:
            return StreamDeleted(append.lease.stream_id)
        if self._landed_before(append, row):
            return None
        # A chunk is fenced here: nothing can come between this check and the write below.
        if verdict := self._refusal(append.lease):
            return verdict
        if row.next_id != append.first:
            return ChunksMissing(append.lease.stream_id, append.lease.version, row.next_id)
        row.payloads.extend(append.payloads)
        row.stored_at.extend([datetime.now(UTC)] * len(append.payloads))
        row.next_id = append.first + len(append.payloads)
        row.lease_until = self._clock() + (0 if append.closes else lease)
        if append.closes:
            row.state, row.closed, row.closed_at = "closed", self._clock(), datetime.now(UTC)
            row.attended, row.attended_until = 0, -math.inf
        return None

    def _landed_before(self, append: Append, row: _Version) -> bool:
        if not append.payloads:
            return closed_by(append, token=row.token, state=row.state, next_id=row.next_id)
        end = append.first + len(append.payloads)
        return row.payloads[append.first : end] == list(append.payloads)

    def _row(self, lease: Lease) -> _Version | None:
        return self._streams.get(lease.stream_id, {}).get(lease.version)

    def _refusal(self, lease: Lease) -> MonostreamError | None:
        row = self._row(lease)
        if row is None:
            return StreamDeleted(lease.stream_id)
        latest = max(self._streams[lease.stream_id])
        stopped = row.stop_requested_at is not None
        return refusal(lease, token=row.token, state=row.state, stopped=stopped, latest=latest)

    async def read(
        self, positions: Sequence[Position], *, max_rows: int, max_bytes: int
    ) -> list[Page]:
        return [self._page(position, max_rows, max_bytes) for position in positions]

    def _page(self, position: Position, max_rows: int, max_bytes: int) -> Page:
        versions = self._streams.get(position.stream_id)
        if not versions:
            return Page(None, 0, [])
        row = versions[max(versions)]
        first = position.next_id if position.version == row.number else 0
        payloads = _cut(row.payloads[first : first + max_rows], max_bytes)
        head = Head(
            row.number,
            row.state,
            row.next_id,
            row.lease_until - self._clock(),
            row.opening.token,
            row.deleted_to,
            row.token,
        )
        return Page(head, first, payloads)

    async def payloads(
        self, stream_id: str, version: int, first: int, *, max_rows: int, max_bytes: int
    ) -> list[str]:
        row = self._streams.get(stream_id, {}).get(version)
        return [] if row is None else _cut(row.payloads[first : first + max_rows], max_bytes)

    async def renew(self, leases: Sequence[Lease], *, lease: float) -> list[MonostreamError | None]:
        verdicts = await self.check(leases)
        for held, verdict in zip(leases, verdicts, strict=True):
            row = self._row(held)
            if verdict is None and row is not None and not row.waiting:
                row.lease_until = self._clock() + lease
        return verdicts

    async def check(self, leases: Sequence[Lease]) -> list[MonostreamError | None]:
        return [self._refusal(lease) for lease in leases]

    async def claim(
        self,
        taker: Lease,
        *,
        lease: float,
        stop: bool,
        attempt: int | None = None,
        waits: bool = False,
    ) -> int | None:
        row = self._row(taker)
        if row is None or row.state != "open":
            return None
        if max(self._streams[taker.stream_id]) > taker.version:
            return None
        again = row.token == taker.token
        if not again:
            leased = row.lease_until > self._clock() and not (row.waiting and attempt is not None)
            if leased and (not stop or row.stop_requested_at is not None):
                return None
            if attempt is not None:
                if row.stop_requested_at is not None or row.attempt != attempt - 1:
                    return None
                row.attempt, row.attended, row.attended_until = attempt, 0, -math.inf
            # Replacing the token fences the publisher. A stop is stored here.
            row.token = taker.token
            if stop and row.stop_requested_at is None:
                row.stop_requested_at = datetime.now(UTC)
        if waits:
            row.attended = row.attended + (not again) if row.waiting else 0
            row.attended_until = -math.inf
        row.waiting = waits
        row.lease_until = self._clock() + lease
        return row.next_id

    async def release(self, lease: Lease, *, handover: bool = False) -> None:
        row, now = self._row(lease), self._clock()
        if row is not None and row.token == lease.token and row.state == "open":
            row.handovers += handover and row.lease_until > now
            row.lease_until = now

    async def info(self, stream_id: str, version: int | None = None) -> VersionInfo | None:
        versions = self._streams.get(stream_id, {})
        row = versions.get(max(versions, default=-1) if version is None else version)
        return None if row is None else self._info(stream_id, row)

    async def streams(self, *, prefix: str, after: str | None, limit: int) -> list[VersionInfo]:
        asked = sorted(
            name
            for name in self._streams
            if name.startswith(prefix) and (after is None or name > after)
        )
        return [
            self._info(name, self._streams[name][max(self._streams[name])])
            for name in asked[:limit]
        ]

    async def changes(
        self,
        *,
        prefix: str,
        since: datetime | None,
        after: tuple[str, int] | None,
        limit: int,
    ) -> Changes:
        found = await super().changes(prefix=prefix, since=since, after=after, limit=limit)
        # `closed_for` is by a clock that a test may pass.
        return found._replace(now=datetime.now(UTC))

    async def versions(
        self, stream_id: str, *, before: int | None, limit: int
    ) -> list[VersionInfo]:
        rows = sorted(
            self._streams.get(stream_id, {}).values(), key=lambda row: row.number, reverse=True
        )
        return [
            self._info(stream_id, row) for row in rows if before is None or row.number < before
        ][:limit]

    async def timeline(
        self, stream_id: str, version: int, first: int, *, max_rows: int
    ) -> list[StoredChunk]:
        row = self._streams.get(stream_id, {}).get(version)
        if row is None:
            return []
        return [
            StoredChunk(id, row.stored_at[id], len(row.payloads[id].encode()))
            for id in range(first, min(first + max_rows, len(row.payloads)))
        ]

    async def request(self, stream_id: str, version: int) -> str | None:
        row = self._streams.get(stream_id, {}).get(version)
        return None if row is None or row.state == "pruned" else row.opening.request

    async def unattended(
        self, *, prefix: str, limit: int, state: WatchedState | None = None
    ) -> list[VersionInfo]:
        now = self._clock()
        found = [
            (row.attended, row.lease_until, name, row.number)
            for name, versions in self._streams.items()
            if name.startswith(prefix)
            for row in versions.values()
            if state in (None, row.state)
            and row.attendant is not None
            and row.abandoned_at is None
            and max(row.lease_until, row.attended_until) <= now
        ]
        return [
            self._info(name, self._streams[name][number])
            for _, _, name, number in sorted(found)[:limit]
        ]

    async def attend(
        self, taker: Lease, *, lease: float, state: WatchedState = "closed"
    ) -> int | None:
        row = self._row(taker)
        if row is None or row.attendant is None or row.state != state:
            return None
        # The opener's token stands there from the start, without having attended.
        if row.attendant != taker.token or row.attended == 0:
            if max(row.lease_until, row.attended_until) > self._clock():
                return None
            row.attendant = taker.token
            # An abandoned version is taken by hand only.
            doublings = 0 if row.abandoned_at else min(row.attended, MAX_DOUBLINGS)
            row.attended_until = self._clock() + lease * 2**doublings
            row.attended += 1
        return row.attended

    async def abandon(self, taker: Lease) -> None:
        row = self._row(taker)
        if row is not None and row.attendant == taker.token:
            row.attended_until, row.abandoned_at = self._clock(), datetime.now(UTC)

    async def settle(self, taker: Lease) -> None:
        row = self._row(taker)
        if row is not None and row.attendant == taker.token:
            row.attendant, row.abandoned_at = None, None

    def _info(self, stream_id: str, row: _Version) -> VersionInfo:
        return VersionInfo(
            stream_id=stream_id,
            version=row.number,
            state=row.state,
            next_id=row.next_id,
            lease_left=row.lease_until - self._clock(),
            created_at=row.created_at,
            closed_at=row.closed_at,
            closed_for=None if row.closed is None else self._clock() - row.closed,
            stop_requested_at=row.stop_requested_at,
            message_id=row.opening.message_id,
            owner=row.opening.owner,
            attempt=row.attempt,
            metadata=row.opening.metadata,
            attended=row.attended,
            abandoned_at=row.abandoned_at,
            handovers=row.handovers,
            waiting=row.waiting and row.state == "open",
            watched=row.attendant is not None,
        )

    async def delete(self, stream_id: str) -> bool:
        versions = self._streams.pop(stream_id, None)
        if versions is None:
            return False
        self._deleted[stream_id] = max(versions)
        return True

    async def prune(self, *, older_than: float, limit: int) -> int:
        horizon = self._clock() - older_than
        pruned = 0
        for versions in self._streams.values():
            newest = max(versions)
            for row in [*versions.values()]:
                if row.state == "pruned" and row.number == newest:
                    continue
                idle_since = row.lease_until if row.closed is None else row.closed
                if idle_since > horizon or pruned == limit:
                    continue
                pruned += 1
                if row.number < newest:
                    del versions[row.number]
                    continue
                # The newest version keeps its row, so that version numbers never start over.
                row.state, row.token, row.attendant = "pruned", None, None
                row.payloads, row.stored_at = [], []
        return pruned

    async def aclose(self) -> None:
        """Keep everything: another service may use this store."""


def _cut(payloads: list[str], max_bytes: int) -> list[str]:
    """Return the payloads up to the one that reaches this size."""
    size = 0
    for count, payload in enumerate(payloads, start=1):
        size += len(payload.encode())
        if size >= max_bytes:
            return payloads[:count]
    return payloads
