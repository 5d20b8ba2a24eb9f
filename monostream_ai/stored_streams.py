"""StoredStreams: what is stored of all streams, and what becomes of it."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from typing import Final, Generic

from monostream_ai._periodic import sweeping
from monostream_ai._runtime import Machinery
from monostream_ai._writing.endings import stored_chunks
from monostream_ai._writing.settling import settle_version
from monostream_ai.errors import ServiceClosed, StoreUnavailable, UnknownStream
from monostream_ai.protocol import C, ChunkProtocol
from monostream_ai.types import (
    MAX_VERSION,
    Position,
    StoredChunk,
    VersionInfo,
    WakeUp,
    check_stream_id,
    check_version,
)

SETTLE_TIMEOUT: Final = 60.0
READY_TIMEOUT: Final = 2.0
READY_STREAM: Final = "monostream:ready"
PRUNE_BATCH: Final = 100
"""Versions removed by one statement, so that no lock is held for long."""


class StoredStreams(Generic[C]):
    """The part of a service that looks at what is stored, settles it, and removes it."""

    _machinery: Machinery
    _protocol: ChunkProtocol[C]
    _closing: bool

    async def status(self, stream_id: str, version: int | None = None) -> VersionInfo:
        """Return what is stored about a version, by default the latest.

        Raises:
            UnknownStream: There is no such stream or version.
        """
        info = await self._info(stream_id, version)
        if info is None:
            raise UnknownStream(stream_id)
        return info

    async def chunks(self, stream_id: str, version: int | None = None) -> list[C]:
        """Return every chunk stored for a version now, by default the latest; superseded versions
        can be read too.

        Raises:
            UnknownStream: There is no such stream or version.
        """
        info = await self.status(stream_id, version)
        return await stored_chunks(self._machinery.store, self._protocol, info)

    async def streams(
        self, *, prefix: str = "", after: str | None = None, limit: int = 100
    ) -> list[VersionInfo]:
        """Return the latest version of streams whose id begins with `prefix`, in one order; `after`
        is the last stream seen.
        """
        await self._machinery.ready()
        return await self._machinery.store.streams(prefix=prefix, after=after, limit=limit)

    async def versions(
        self, stream_id: str, *, before: int | None = None, limit: int = 100
    ) -> list[VersionInfo]:
        """Return versions of a stream, the newest first; `before` is the last version seen. Empty
        if there is no such stream.
        """
        await self._machinery.ready()
        return await self._machinery.store.versions(
            check_stream_id(stream_id), before=before, limit=limit
        )

    async def timeline(
        self, stream_id: str, version: int, *, first: int = 0, limit: int = 1000
    ) -> list[StoredChunk]:
        """Return when the chunks of a version from id `first` on were stored, and their sizes.
        Empty past the end.
        """
        await self._machinery.ready()
        store = self._machinery.store
        return await store.timeline(
            check_stream_id(stream_id), check_version(version), first, max_rows=limit
        )

    async def unattended(self, *, prefix: str = "", limit: int = 100) -> list[VersionInfo]:
        """Return watched versions that nobody looks after: lost ones, and ended ones that wait for
        `settle`.
        """
        await self._machinery.ready()
        return await self._machinery.store.unattended(prefix=prefix, limit=limit)

    async def settle(
        self,
        stream_id: str,
        version: int,
        work: Callable[[], Awaitable[object]],
        *,
        timeout: float = SETTLE_TIMEOUT,
    ) -> bool:
        """Do what is owed once for a watched version that has ended, if nobody else has done it or
        is at it.

        Returns:
            Whether this call did it. Of all calls in all processes, one does.

        Raises:
            TimeoutError: The work took over `timeout` seconds. From then on another call may do it,
                as when this process died.
            Exception: As the work raised it; another call may try again after `timeout` seconds.
        """
        await self._machinery.ready()
        return await settle_version(
            self._machinery,
            check_stream_id(stream_id),
            check_version(version),
            work,
            timeout=timeout,
        )

    async def delete(self, stream_id: str) -> bool:
        """Delete a stream with all its versions; readers and publishers get `StreamDeleted`.
        Returns whether there was one.
        """
        await self._machinery.ready()
        deleted = await self._machinery.store.delete(check_stream_id(stream_id))
        # Newer than anything: whoever knows the stream looks.
        self._machinery.announce(WakeUp(stream_id, MAX_VERSION, 0))
        return deleted

    async def prune(
        self, *, older_than: float, on_batch: Callable[[int], None] | None = None
    ) -> int:
        """Remove versions whose last activity is over `older_than` seconds ago; return how many.

        Works in small batches, after each of which `on_batch` is called with the number so far.
        Versions that are being written are never touched.
        """
        await self._machinery.ready()
        total = 0
        while (
            pruned := await self._machinery.store.prune(older_than=older_than, limit=PRUNE_BATCH)
        ) > 0:
            total += pruned
            if on_batch is not None:
                on_batch(total)
        return total

    def pruning(
        self, *, older_than: float, every: float = 3600.0
    ) -> AbstractAsyncContextManager[None]:
        """Return a block within which `prune` runs at once and then about every `every` seconds.

        Any number of processes may do so at once. Errors go to `on_error` as `prune`, and the next
        run tries again.
        """
        if not all(0 <= seconds < math.inf for seconds in (older_than, every)):
            raise ValueError("older_than and every are finite seconds, not negative")
        return sweeping(
            lambda: self.prune(older_than=older_than), every=every, on_error=self._machinery.report
        )

    async def ready(self, *, timeout: float = READY_TIMEOUT) -> None:
        """Return if requests can be served: the store answers, its tables are there, and the
        service is not shutting down.

        Meant for a load balancer, which may ask every second. Notifications are not looked at:
            without them readers poll.

        Raises:
            ServiceClosed: It is shutting down.
            StoreUnavailable: The store did not answer within `timeout` seconds.
            SchemaMissing, SchemaMismatch, SchemaOutdated, SchemaTooNew: The tables do not fit this
                release.
        """
        if self._closing:
            raise ServiceClosed
        try:
            async with asyncio.timeout(timeout):
                await self._machinery.ready()
                await self._machinery.store.read(
                    [Position(READY_STREAM, None, 0)], max_rows=0, max_bytes=1
                )
        except TimeoutError as error:
            raise StoreUnavailable(f"no answer within {timeout:g} s") from error

    async def _info(self, stream_id: str, version: int | None) -> VersionInfo | None:
        await self._machinery.ready()
        return await self._machinery.store.info(
            check_stream_id(stream_id), None if version is None else check_version(version)
        )
