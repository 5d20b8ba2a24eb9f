"""Parts that fail on purpose: a process's way to a store, and a notifier that nobody hears."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable, Sequence
from typing import TypeVar

from monostream_ai.errors import MonostreamError, StoreUnavailable
from monostream_ai.interfaces import BackgroundErrors, Listener, Notifier, Store
from monostream_ai.types import Append, Lease, Opening, Page, Position, StoredChunk, VersionInfo, WakeUp

T = TypeVar("T")


class UnreliableStore(Store):
    """One process's way to a store, which refuses calls, loses answers, stands still, or ends.

    Args:
        seed: Decides which calls fail.
    """

    def __init__(self, inner: Store, seed: int = 0) -> None:
        self.inner = inner
        self.refused = 0.0
        """Share of the calls that fail before they reach the store."""
        self.answers_lost = 0.0
        """Share of the calls that take effect and then fail."""
        self.dead = False
        """Whether the process is gone: nothing gets through, not even what is on its way."""
        self._source = random.Random(seed)
        self._running = asyncio.Event()
        self._running.set()

    def pause(self) -> None:
        """Let nothing through or back, as if the process were stopped."""
        self._running.clear()

    def resume(self) -> None:
        self._running.set()

    def kill(self) -> None:
        """Fail every call from now on."""
        self.dead = True
        self.resume()

    async def _call(self, call: Callable[[], Awaitable[T]]) -> T:
        await self._way(self.refused)
        result = await call()
        await self._way(self.answers_lost)
        return result

    async def _way(self, share: float) -> None:
        await self._running.wait()
        if self.dead or self._source.random() < share:
            raise StoreUnavailable("the test says so")

    async def setup(self) -> None:
        await self._call(self.inner.setup)

    async def acquire(self, stream_id: str, version: int | None, opening: Opening) -> int:
        return await self._call(lambda: self.inner.acquire(stream_id, version, opening))

    async def append(self, appends: Sequence[Append], *, lease: float) -> list[MonostreamError | None]:
        return await self._call(lambda: self.inner.append(appends, lease=lease))

    async def read(self, positions: Sequence[Position], *, max_rows: int, max_bytes: int) -> list[Page]:
        return await self._call(lambda: self.inner.read(positions, max_rows=max_rows, max_bytes=max_bytes))

    async def payloads(self, stream_id: str, version: int, first: int, *, max_rows: int, max_bytes: int) -> list[str]:
        return await self._call(lambda: self.inner.payloads(stream_id, version, first, max_rows=max_rows, max_bytes=max_bytes))

    async def renew(self, leases: Sequence[Lease], *, lease: float) -> list[MonostreamError | None]:
        return await self._call(lambda: self.inner.renew(leases, lease=lease))

    async def check(self, leases: Sequence[Lease]) -> list[MonostreamError | None]:
        return await self._call(lambda: self.inner.check(leases))

    async def claim(self, taker: Lease, *, lease: float, stop: bool) -> int | None:
        return await self._call(lambda: self.inner.claim(taker, lease=lease, stop=stop))

    async def release(self, lease: Lease) -> None:
        await self._call(lambda: self.inner.release(lease))

    async def info(self, stream_id: str, version: int | None = None) -> VersionInfo | None:
        return await self._call(lambda: self.inner.info(stream_id, version))

    async def versions(self, stream_id: str, *, before: int | None, limit: int) -> list[VersionInfo]:
        return await self._call(lambda: self.inner.versions(stream_id, before=before, limit=limit))

    async def timeline(self, stream_id: str, version: int, first: int, *, max_rows: int) -> list[StoredChunk]:
        return await self._call(lambda: self.inner.timeline(stream_id, version, first, max_rows=max_rows))

    async def streams(self, *, prefix: str, after: str | None, limit: int) -> list[VersionInfo]:
        return await self._call(lambda: self.inner.streams(prefix=prefix, after=after, limit=limit))

    async def unattended(self, *, prefix: str, limit: int) -> list[VersionInfo]:
        return await self._call(lambda: self.inner.unattended(prefix=prefix, limit=limit))

    async def attend(self, taker: Lease, *, lease: float) -> bool:
        return await self._call(lambda: self.inner.attend(taker, lease=lease))

    async def settle(self, taker: Lease) -> None:
        await self._call(lambda: self.inner.settle(taker))

    async def delete(self, stream_id: str) -> bool:
        return await self._call(lambda: self.inner.delete(stream_id))

    async def prune(self, *, older_than: float, limit: int) -> int:
        return await self._call(lambda: self.inner.prune(older_than=older_than, limit=limit))

    async def aclose(self) -> None:
        await self.inner.aclose()


class UnheardNotifier(Notifier):
    """Says what its inner notifier says, and lets none of its wake-ups arrive while `loses` is True."""

    def __init__(self, inner: Notifier) -> None:
        self.inner = inner
        self.loses = False

    @property
    def healthy(self) -> bool:
        return self.inner.healthy

    async def notify(self, wake_ups: Sequence[WakeUp]) -> None:
        await self.inner.notify(wake_ups)

    async def listen(self, listener: Listener, on_error: BackgroundErrors) -> Callable[[], Awaitable[None]]:
        return await self.inner.listen(_Ear(self, listener), on_error)

    async def aclose(self) -> None:
        await self.inner.aclose()


class _Ear:
    def __init__(self, notifier: UnheardNotifier, listener: Listener) -> None:
        self._notifier = notifier
        self._listener = listener

    def on_wake_up(self, wake_up: WakeUp) -> None:
        if not self._notifier.loses:
            self._listener.on_wake_up(wake_up)

    def on_resync(self) -> None:
        if not self._notifier.loses:
            self._listener.on_resync()
