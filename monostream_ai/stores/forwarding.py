"""A store that passes every call on to another one: the base of stores that change or watch some
calls.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime
from typing import ParamSpec, TypeVar

from monostream_ai.errors import MonostreamError
from monostream_ai.interfaces import BackgroundErrors, Store, Watcher
from monostream_ai.types import (
    Append,
    Changes,
    Lease,
    Opening,
    Page,
    Position,
    StoredChunk,
    VersionInfo,
    WatchedState,
)

P = ParamSpec("P")
T = TypeVar("T")


class ForwardingStore(Store):
    def __init__(self, inner: Store) -> None:
        self.inner = inner

    @property
    def keeps_payloads(self) -> bool:
        # A store that changes the call may change the payloads.
        return type(self).append is ForwardingStore.append and self.inner.keeps_payloads

    async def _call(
        self, method: Callable[P, Awaitable[T]], *args: P.args, **kwargs: P.kwargs
    ) -> T:
        """Call a method of the inner store; every method but `aclose` goes through here."""
        return await method(*args, **kwargs)

    async def setup(self) -> None:
        await self._call(self.inner.setup)

    async def acquire(self, stream_id: str, version: int | None, opening: Opening) -> int:
        return await self._call(self.inner.acquire, stream_id, version, opening)

    async def append(
        self, appends: Sequence[Append], *, lease: float
    ) -> list[MonostreamError | None]:
        return await self._call(self.inner.append, appends, lease=lease)

    async def read(
        self, positions: Sequence[Position], *, max_rows: int, max_bytes: int
    ) -> list[Page]:
        return await self._call(self.inner.read, positions, max_rows=max_rows, max_bytes=max_bytes)

    async def payloads(
        self, stream_id: str, version: int, first: int, *, max_rows: int, max_bytes: int
    ) -> list[str]:
        return await self._call(
            self.inner.payloads, stream_id, version, first, max_rows=max_rows, max_bytes=max_bytes
        )

    async def renew(self, leases: Sequence[Lease], *, lease: float) -> list[MonostreamError | None]:
        return await self._call(self.inner.renew, leases, lease=lease)

    async def check(self, leases: Sequence[Lease]) -> list[MonostreamError | None]:
        return await self._call(self.inner.check, leases)

    async def claim(
        self,
        taker: Lease,
        *,
        lease: float,
        stop: bool,
        attempt: int | None = None,
        waits: bool = False,
    ) -> int | None:
        return await self._call(
            self.inner.claim, taker, lease=lease, stop=stop, attempt=attempt, waits=waits
        )

    async def release(self, lease: Lease, *, handover: bool = False) -> None:
        await self._call(self.inner.release, lease, handover=handover)

    async def info(self, stream_id: str, version: int | None = None) -> VersionInfo | None:
        return await self._call(self.inner.info, stream_id, version)

    async def streams(self, *, prefix: str, after: str | None, limit: int) -> list[VersionInfo]:
        return await self._call(self.inner.streams, prefix=prefix, after=after, limit=limit)

    async def changes(
        self,
        *,
        prefix: str,
        since: datetime | None,
        after: tuple[str, int] | None,
        limit: int,
    ) -> Changes:
        return await self._call(
            self.inner.changes, prefix=prefix, since=since, after=after, limit=limit
        )

    async def versions(
        self, stream_id: str, *, before: int | None, limit: int
    ) -> list[VersionInfo]:
        return await self._call(self.inner.versions, stream_id, before=before, limit=limit)

    async def timeline(
        self, stream_id: str, version: int, first: int, *, max_rows: int
    ) -> list[StoredChunk]:
        return await self._call(self.inner.timeline, stream_id, version, first, max_rows=max_rows)

    async def holder_of(self, stream_id: str, version: int) -> str | None:
        return await self._call(self.inner.holder_of, stream_id, version)

    async def request(self, stream_id: str, version: int) -> str | None:
        return await self._call(self.inner.request, stream_id, version)

    async def unattended(
        self, *, prefix: str, limit: int, state: WatchedState | None = None
    ) -> list[VersionInfo]:
        return await self._call(self.inner.unattended, prefix=prefix, limit=limit, state=state)

    async def attend(
        self, taker: Lease, *, lease: float, state: WatchedState = "closed"
    ) -> int | None:
        return await self._call(self.inner.attend, taker, lease=lease, state=state)

    async def abandon(self, taker: Lease) -> None:
        await self._call(self.inner.abandon, taker)

    async def settle(self, taker: Lease) -> None:
        await self._call(self.inner.settle, taker)

    async def delete(self, stream_id: str) -> bool:
        return await self._call(self.inner.delete, stream_id)

    async def prune(self, *, older_than: float, limit: int) -> int:
        return await self._call(self.inner.prune, older_than=older_than, limit=limit)

    async def watch(
        self, watcher: Watcher, on_error: BackgroundErrors
    ) -> Callable[[], Awaitable[None]]:
        return await self.inner.watch(watcher, on_error)

    async def aclose(self) -> None:
        await self.inner.aclose()
