"""DurableStreamService: named streams, each with one publisher and any number of readers."""

from __future__ import annotations

import asyncio
import logging
import math
import os
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping
from types import TracebackType
from typing import Any, Final, Generic, Literal, Self

from monostream_ai.announcer import Announcer
from monostream_ai.errors import PublisherError, ServiceClosed, StreamDeleted, UnknownStream, WrongEventLoop
from monostream_ai.hub import PAGE_BYTES, PAGE_ROWS, Hub
from monostream_ai.interfaces import BackgroundErrors, Notifier, Store
from monostream_ai.json_text import encode_json
from monostream_ai.leases import LeaseKeeper
from monostream_ai.protocol import C, ChunkProtocol
from monostream_ai.publisher import Machinery, OnCancel, Publisher, new_token
from monostream_ai.subscription import OnSuperseded, Subscription
from monostream_ai.types import (
    MAX_VERSION,
    Append,
    Cursor,
    Lease,
    Opening,
    VersionInfo,
    WakeUp,
    check_stream_id,
    check_version,
)
from monostream_ai.writer import GroupWriter, Outbox, Write

logger = logging.getLogger(__name__)

DEFAULT_LEASE: Final = 15.0
DEFAULT_POLL_INTERVAL: Final = 5.0
DEFAULT_OUTAGE_TIMEOUT: Final = 60.0
PRUNE_BATCH: Final = 100
"""Versions removed by one statement, so that no lock is held for long."""


class DurableStreamService(Generic[C]):
    """Named streams on a store. One service serves a process; it connects on first use and belongs to one event loop.

    `async with service:` or `aclose` closes the notifier, then the store.

    Args:
        notifier: Without one, readers in other processes find new chunks by polling.
        protocol: What a chunk is, and which one is terminal.
        lease: Seconds after which a publisher that died is declared lost. Renewed every third of it.
        poll_interval: Seconds between reads behind the notifications.
        outage_timeout: Seconds for which writers and readers wait for a store that does not answer.
        create_tables: Call `store.setup()` on first use.
    """

    def __init__(
        self,
        store: Store,
        notifier: Notifier | None,
        protocol: ChunkProtocol[C],
        *,
        lease: float = DEFAULT_LEASE,
        poll_interval: float = DEFAULT_POLL_INTERVAL,
        outage_timeout: float = DEFAULT_OUTAGE_TIMEOUT,
        create_tables: bool = False,
    ) -> None:
        if not all(0 < seconds < math.inf for seconds in (lease, poll_interval, outage_timeout)):
            raise ValueError("lease, poll_interval and outage_timeout are finite seconds above 0")
        self._store = store
        self._notifier = notifier
        self._protocol = protocol
        self._lease = lease
        self._create_tables = create_tables
        self._error_counts: Counter[str] = Counter()
        self._observers: list[BackgroundErrors] = []
        self._writer = GroupWriter(store, lease=lease, patience=outage_timeout, on_landed=self._landed, on_error=self._report)
        self._leases = LeaseKeeper(store, lease=lease, on_error=self._report)
        self._hub = Hub(
            store,
            poll_interval=poll_interval,
            patience=outage_timeout,
            lease=lease,
            is_healthy=lambda: notifier is not None and notifier.healthy,
            is_terminal=lambda payload: protocol.is_terminal(protocol.decode(payload)),
            on_error=self._report,
        )
        self._announcer = None if notifier is None else Announcer(notifier, self._report)
        self._machinery = Machinery(self._ready, store, self._writer, self._leases, self._announce)
        self._home: tuple[int, asyncio.AbstractEventLoop] | None = None
        self._starting: asyncio.Task[None] | None = None
        self._unlisten: Callable[[], Awaitable[None]] | None = None
        self._closing = False
        self._closed = False

    @property
    def protocol(self) -> ChunkProtocol[C]:
        return self._protocol

    @property
    def closing(self) -> bool:
        """Whether `begin_shutdown` or `aclose` was called: whoever serves readers should break them off."""
        return self._closing

    @property
    def error_counts(self) -> Mapping[str, int]:
        """Errors of work in the background since the start, by source: append, read, renew, check, notify, listen."""
        return self._error_counts

    @property
    def rescues(self) -> int:
        """How often a poll found what no wake-up had announced; growth means that notifications do not arrive."""
        return self._hub.rescues

    def on_error(self, observer: BackgroundErrors) -> None:
        """Call the observer with each error of work in the background. Such errors stop no stream."""
        self._observers.append(observer)

    def publisher(
        self,
        stream_id: str,
        version: Literal["next"] | int = "next",
        *,
        message_id: str | None = None,
        owner: str | None = None,
        attempt: int = 1,
        request: Any = None,
        metadata: Any = None,
        on_cancel: OnCancel = "abort",
    ) -> Publisher[C]:
        """Return a publisher for a new version; `async with` or `open` acquires it.

        Args:
            version: `"next"` is the latest plus one, or 0. An explicit version must be above the latest.
            request, metadata: JSON values stored with the version, for whoever has to repeat or show it.
            on_cancel: What a cancelled block leaves behind: the protocol's abort, or a released lease.

        Raises:
            InvalidStreamId, InvalidVersion, InvalidChunk: The last for a request or metadata that is not JSON.
        """
        opening = Opening(
            token=new_token(),
            lease=self._lease,
            message_id=message_id,
            owner=owner,
            attempt=attempt,
            request=None if request is None else encode_json(request),
            metadata=None if metadata is None else encode_json(metadata),
        )
        number = None if version == "next" else check_version(version)
        return Publisher(self._machinery, self._protocol, check_stream_id(stream_id), number, opening, on_cancel=on_cancel)

    def subscribe(
        self,
        stream_id: str,
        *,
        after: Cursor | None = None,
        timeout: float | None = None,
        on_superseded: OnSuperseded = "follow",
    ) -> Subscription[C]:
        """Return a subscription to the latest version: it replays, then tails, then ends.

        A stream that nobody has written yet is waited for.

        Args:
            after: Go on after this chunk. `Cursor(version, -1)` is the start of that version.
            timeout: Seconds to wait for each chunk before `SubscriptionTimeout`.
            on_superseded: When a newer version is opened, follow it from its first chunk, or raise `Superseded`.

        Raises:
            InvalidStreamId
        """
        return Subscription(
            self._ready,
            self._hub,
            self._protocol,
            check_stream_id(stream_id),
            after=after,
            timeout=timeout,
            on_superseded=on_superseded,
        )

    async def status(self, stream_id: str, version: int | None = None) -> VersionInfo:
        """Return what is stored about a version, by default the latest.

        Raises:
            UnknownStream: There is no such stream or version.
        """
        await self._ready()
        info = await self._store.info(check_stream_id(stream_id), None if version is None else check_version(version))
        if info is None:
            raise UnknownStream(stream_id)
        return info

    async def chunks(self, stream_id: str, version: int | None = None) -> list[C]:
        """Return every chunk stored for a version now, by default the latest; superseded versions can be read too.

        Raises:
            UnknownStream: There is no such stream or version.
        """
        info = await self.status(stream_id, version)
        return await self._stored(info)

    async def stop(self, stream_id: str, version: int | None = None) -> bool:
        """End a version with the protocol's abort, wherever its publisher runs; the publisher's task is cancelled.

        The version is resolved once, so that a stop never hits a later one. Safe to call at any time from any process.

        Returns:
            Whether this call ended the version; False if there was nothing to stop, or somebody else is stopping it.
        """
        await self._ready()
        info = await self._store.info(check_stream_id(stream_id), None if version is None else check_version(version))
        return info is not None and info.state == "open" and await self._end(info, stop=True)

    async def end_lost(self, stream_id: str, version: int) -> bool:
        """End a version whose publisher was lost, with the protocol's error; with its abort if a stop had been asked.

        Of many callers in many processes, exactly one wins.

        Returns:
            Whether this call ended it; False too if the protocol has no chunk to say so, and the version stays lost.
        """
        await self._ready()
        info = await self._store.info(check_stream_id(stream_id), check_version(version))
        return info is not None and info.lost and await self._end(info, stop=False)

    async def delete(self, stream_id: str) -> bool:
        """Delete a stream with all its versions; readers and publishers get `StreamDeleted`. Returns whether there was one."""
        await self._ready()
        deleted = await self._store.delete(check_stream_id(stream_id))
        self._announce(WakeUp(stream_id, MAX_VERSION, 0))
        return deleted

    async def prune(self, *, older_than: float) -> int:
        """Remove versions whose last activity is over `older_than` seconds ago; return how many.

        Works in small batches. Versions that are being written are never touched.
        """
        await self._ready()
        total = 0
        while (pruned := await self._store.prune(older_than=older_than, limit=PRUNE_BATCH)) > 0:
            total += pruned
        return total

    def begin_shutdown(self) -> None:
        """Say that the process is about to end; `closing` is True from now on, and nothing else changes."""
        self._closing = True

    async def aclose(self) -> None:
        """Write what is queued, release the versions still open, end all readers with `ServiceClosed`, and disconnect."""
        self._closing = True
        if self._closed:
            return
        self._closed = True
        await self._writer.aclose()
        await self._leases.release_all()
        await self._leases.aclose()
        await self._hub.aclose(ServiceClosed())
        if self._announcer is not None:
            await self._announcer.aclose()
        if self._unlisten is not None:
            await self._unlisten()
        if self._notifier is not None:
            await self._notifier.aclose()
        await self._store.aclose()

    async def __aenter__(self) -> Self:
        await self._ready()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.aclose()

    async def _ready(self) -> None:
        if self._closed:
            raise ServiceClosed
        here = (os.getpid(), asyncio.get_running_loop())
        if self._home is None:
            self._home = here
        # Connections belong to one loop and must not cross a fork.
        if self._home != here:
            raise WrongEventLoop
        if self._starting is None or (self._starting.done() and (self._starting.cancelled() or self._starting.exception())):
            self._starting = asyncio.get_running_loop().create_task(self._start())
        if not self._starting.done():
            await asyncio.shield(self._starting)
        self._starting.result()

    async def _start(self) -> None:
        if self._create_tables:
            await self._store.setup()
        if self._notifier is not None:
            self._unlisten = await self._notifier.listen(self, self._report)

    def on_wake_up(self, wake_up: WakeUp) -> None:
        """Take a wake-up from the notifier (see `Listener`)."""
        self._hub.on_wake_up(wake_up)
        self._leases.on_wake_up(wake_up)

    def on_resync(self) -> None:
        """Take a resync from the notifier (see `Listener`)."""
        self._hub.on_resync()
        self._leases.on_resync()

    def _announce(self, wake_up: WakeUp) -> None:
        self.on_wake_up(wake_up)
        if self._announcer is not None:
            self._announcer.add(wake_up)

    def _landed(self, append: Append) -> None:
        self._hub.landed(append)
        end = append.first + len(append.payloads)
        # A close without a chunk is announced by an id past the end, or no reader would look.
        self._announce(WakeUp(append.lease.stream_id, append.lease.version, end - 1 if append.payloads else end))

    def _report(self, source: str, error: BaseException) -> None:
        self._error_counts[source] += 1
        logger.warning("%s failed: %s", source, type(error).__name__)
        for observer in self._observers:
            try:
                observer(source, error)
            except Exception:
                logger.exception("an error observer raised")

    async def _end(self, info: VersionInfo, *, stop: bool) -> bool:
        lease = Lease(info.stream_id, info.version, new_token())
        next_id = await self._store.claim(lease, lease=self._lease, stop=stop)
        if next_id is None:
            return False
        # The claim has frozen the log: what is read now is all that the ending has to close.
        frozen = await self._store.info(info.stream_id, info.version)
        stopped = frozen is not None and frozen.stop_requested_at is not None
        transcript = self._protocol.transcript()
        for chunk in await self._stored(info):
            transcript.feed(chunk)
        chunks = transcript.ending("abort" if stopped else "lost")
        if not chunks and not stopped:
            await self._store.release(lease)
            return False
        payloads = [self._protocol.encode(chunk) for chunk in chunks]
        done: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self._writer.put(Outbox(lease, next_id), Write(payloads, sum(map(len, payloads)), True, done))
        try:
            await done
        except (PublisherError, StreamDeleted):
            return False
        return True

    async def _stored(self, info: VersionInfo) -> list[C]:
        chunks: list[C] = []
        while payloads := await self._store.payloads(
            info.stream_id, info.version, len(chunks), max_rows=PAGE_ROWS, max_bytes=PAGE_BYTES
        ):
            chunks.extend(map(self._protocol.decode, payloads))
        return chunks
