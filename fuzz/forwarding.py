"""A store that hands every call on, for wrappers that change how a call goes and not what it does."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Awaitable, Callable, Sequence
from typing import TypeVar

from monostream_ai.errors import MonostreamError
from monostream_ai.interfaces import Store
from monostream_ai.types import Append, Lease, Opening, Page, Position, StoredChunk, VersionInfo

T = TypeVar("T")


class ForwardingStore(Store):
    """Sends each call through `_call`. It does not close the inner store, which others share."""

    def __init__(self, inner: Store) -> None:
        self._inner = inner

    @abstractmethod
    async def _call(self, name: str, call: Callable[[], Awaitable[T]], *details: object) -> T:
        """Make the call, somehow."""

    async def setup(self) -> None:
        await self._call("setup", self._inner.setup)

    async def acquire(self, stream_id: str, version: int | None, opening: Opening) -> int:
        return await self._call(
            "acquire", lambda: self._inner.acquire(stream_id, version, opening), version
        )

    async def append(
        self, appends: Sequence[Append], *, lease: float
    ) -> list[MonostreamError | None]:
        return await self._call(
            "append", lambda: self._inner.append(appends, lease=lease), *appends
        )

    async def read(
        self, positions: Sequence[Position], *, max_rows: int, max_bytes: int
    ) -> list[Page]:
        return await self._call(
            "read",
            lambda: self._inner.read(positions, max_rows=max_rows, max_bytes=max_bytes),
            *positions,
        )

    async def payloads(
        self, stream_id: str, version: int, first: int, *, max_rows: int, max_bytes: int
    ) -> list[str]:
        return await self._call(
            "payloads",
            lambda: self._inner.payloads(
                stream_id, version, first, max_rows=max_rows, max_bytes=max_bytes
            ),
            version,
            first,
        )

    async def renew(self, leases: Sequence[Lease], *, lease: float) -> list[MonostreamError | None]:
        return await self._call("renew", lambda: self._inner.renew(leases, lease=lease), *leases)

    async def check(self, leases: Sequence[Lease]) -> list[MonostreamError | None]:
        return await self._call("check", lambda: self._inner.check(leases), *leases)

    async def claim(self, taker: Lease, *, lease: float, stop: bool) -> int | None:
        call = lambda: self._inner.claim(taker, lease=lease, stop=stop)  # noqa: E731
        return await self._call("claim", call, taker.version, "stop" if stop else "lost")

    async def release(self, lease: Lease) -> None:
        await self._call("release", lambda: self._inner.release(lease), lease.version)

    async def info(self, stream_id: str, version: int | None = None) -> VersionInfo | None:
        return await self._call("info", lambda: self._inner.info(stream_id, version), version)

    async def streams(self, *, prefix: str, after: str | None, limit: int) -> list[VersionInfo]:
        return await self._call(
            "streams", lambda: self._inner.streams(prefix=prefix, after=after, limit=limit)
        )

    async def versions(
        self, stream_id: str, *, before: int | None, limit: int
    ) -> list[VersionInfo]:
        return await self._call(
            "versions", lambda: self._inner.versions(stream_id, before=before, limit=limit)
        )

    async def timeline(
        self, stream_id: str, version: int, first: int, *, max_rows: int
    ) -> list[StoredChunk]:
        return await self._call(
            "timeline",
            lambda: self._inner.timeline(stream_id, version, first, max_rows=max_rows),
            version,
        )

    async def unattended(self, *, prefix: str, limit: int) -> list[VersionInfo]:
        return await self._call(
            "unattended", lambda: self._inner.unattended(prefix=prefix, limit=limit)
        )

    async def attend(self, taker: Lease, *, lease: float) -> bool:
        return await self._call(
            "attend", lambda: self._inner.attend(taker, lease=lease), taker.version
        )

    async def settle(self, taker: Lease) -> None:
        await self._call("settle", lambda: self._inner.settle(taker), taker.version)

    async def delete(self, stream_id: str) -> bool:
        return await self._call("delete", lambda: self._inner.delete(stream_id))

    async def prune(self, *, older_than: float, limit: int) -> int:
        return await self._call(
            "prune", lambda: self._inner.prune(older_than=older_than, limit=limit)
        )

    async def aclose(self) -> None:
        """Leave the inner store open."""
