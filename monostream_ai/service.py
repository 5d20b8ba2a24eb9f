"""DurableStreamService: named streams, each with one publisher and any number of readers."""

from __future__ import annotations

import asyncio
import math
import warnings
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import replace
from functools import partial
from types import TracebackType
from typing import Any, Final, Generic, Literal, Self, get_args

from monostream_ai._inline import Inline
from monostream_ai._periodic import sweeping
from monostream_ai._reading.clock import Clock
from monostream_ai._reading.subscription import OnSuperseded, Subscription
from monostream_ai._reading.tailer import OURS_LEFT
from monostream_ai._runtime import Runtime
from monostream_ai._writing.attending import Work, recover_version, settle_version
from monostream_ai._writing.beginning import leave_again, open_new, take_over
from monostream_ai._writing.cancelling import finish_despite_cancel
from monostream_ai._writing.endings import end_version, stored_pages
from monostream_ai._writing.publisher import OnCancel, Publisher
from monostream_ai.errors import (
    MASKED_ERROR_TEXT,
    ServiceClosed,
    StoreUnavailable,
    UnknownStream,
)
from monostream_ai.interfaces import BackgroundErrors, Notifier, Store
from monostream_ai.json_text import decode_json_aside, encode_json
from monostream_ai.observing import (
    ObservedNotifier,
    ObservedStore,
    Observer,
    Statistics,
    TurnTracer,
)
from monostream_ai.protocol import C, ChunkProtocol
from monostream_ai.types import (
    MAX_ATTEMPT,
    MAX_LIMIT,
    MAX_METADATA_BYTES,
    MAX_REQUEST_BYTES,
    MAX_VERSION,
    Cursor,
    Opening,
    Position,
    StoredChunk,
    VersionInfo,
    WakeUp,
    WatchedState,
    check_count,
    check_cursor,
    check_json,
    check_seconds,
    check_stream_id,
    check_text,
    check_version,
    check_word,
    new_token,
)

DEFAULT_LEASE: Final = 15.0
DEFAULT_POLL_INTERVAL: Final = 5.0
DEFAULT_OUTAGE_TIMEOUT: Final = 60.0

SETTLE_TIMEOUT: Final = 60.0
READY_TIMEOUT: Final = 2.0
READY_STREAM: Final = "monostream:ready"
PRUNE_BATCH: Final = 100
"""Versions removed by one transaction, so that no lock is held for long."""


class DurableStreamService(Generic[C]):
    """Named streams on a store.

    Make one service for each process. It connects on first use and belongs to one event loop.

    `async with service:` or `aclose` closes the notifier, then the store.

    Args:
        notifier: Without one, readers in other processes find new chunks by polling.
        protocol: Encodes chunks, and knows which one is terminal.
        lease: Seconds after which a publisher that died is declared lost. Renewed every third of
            it. Choose it longer than the database takes to restart.
        poll_interval: Seconds between polls, which find chunks whose notification was lost.
        outage_timeout: Seconds for which writers and readers wait for a store that stops answering.
            One that does not answer when the service is first used, or when a version is opened, is
            reported at once.
        create_tables: Call `store.setup()` on first use.
        inline: Whether wake-ups carry committed chunks, so that readers in other processes need not
            ask the store: `"auto"` only while the notifier knows that everyone who can hear them
            may also read the store (see `Notifier.is_confidential`), `"always"`, or `"never"`.
        observer: Takes measurements, and traces turns if it is a `TurnTracer` too;
            `monostream_ai.opentelemetry` has one.
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
        inline: Inline = "auto",
        observer: Observer | None = None,
    ) -> None:
        if not all(0 < seconds < math.inf for seconds in (lease, poll_interval, outage_timeout)):
            raise ValueError(
                "lease, poll_interval and outage_timeout must be finite numbers of seconds above 0"
            )
        check_word("inline", inline, get_args(Inline))
        if observer is not None:
            store = ObservedStore(store, observer)
            notifier = None if notifier is None else ObservedNotifier(notifier, observer)
        self._tracer: TurnTracer | None = observer if isinstance(observer, TurnTracer) else None
        """Traces the turns of chats."""
        self._protocol = protocol
        self._closing = False
        self._clock = Clock(lambda: self._closing, on_alarm=self.begin_shutdown)
        """Ticks for responses that serve readers; an alarm begins the shutdown."""
        self._merging = asyncio.Lock()
        """Held by a response that merges a page of a replay."""
        self._runtime = Runtime(
            store,
            notifier,
            is_terminal=lambda payload: protocol.is_terminal(protocol.decode(payload)),
            lease=lease,
            poll_interval=poll_interval,
            outage_timeout=outage_timeout,
            create_tables=create_tables,
            inline=inline,
        )
        if observer is not None:
            observer.watch(self._runtime.statistics)

    def __repr__(self) -> str:
        state = "closing" if self._closing else "open"
        now = self._runtime.statistics()
        return (
            f"<{type(self).__name__} on {self._runtime.store!r} {state}, "
            f"{now.open_versions} publishing, {now.readers} reading>"
        )

    @property
    def protocol(self) -> ChunkProtocol[C]:
        return self._protocol

    @property
    def store(self) -> Store:
        """The store in use; with an observer, the measuring store that wraps it."""
        return self._runtime.store

    @property
    def closing(self) -> bool:
        """Whether `begin_shutdown` or `aclose` was called: responses should break off."""
        return self._closing

    def statistics(self) -> Statistics:
        """Return the state of this moment and counts since the start. Safe in any thread."""
        return self._runtime.statistics()

    def on_error(self, observer: BackgroundErrors) -> None:
        """Call the observer with each error of background work. Such errors stop no stream."""
        self._runtime.errors.observers.append(observer)

    @property
    def error_counts(self) -> Mapping[str, int]:
        """Deprecated: use `statistics().errors`."""
        _warn_of_alias("service.error_counts", "service.statistics().errors")
        return self._runtime.errors.counts

    @property
    def rescues(self) -> int:
        """Deprecated: use `statistics().rescues`."""
        _warn_of_alias("service.rescues", "service.statistics().rescues")
        return self._runtime.tailer.rescues

    def publisher(
        self,
        stream_id: str,
        version: Literal["next"] | int = "next",
        *,
        message_id: str | None = None,
        owner: str | None = None,
        attempt: int = 1,
        handovers: int = 0,
        repeats: bool = False,
        request: Any = None,
        metadata: Any = None,
        watched: bool = False,
        on_cancel: OnCancel = "abort",
    ) -> Publisher[C]:
        """Return a publisher for a new version; `async with` or `open` acquires it.

        Args:
            version: `"next"` is the latest plus one, or 0. An explicit version must be above the
                latest.
            attempt, handovers: How often this work was begun, this time included, and how many of
                the earlier attempts were given up on purpose (see `VersionInfo`). `attempt` is 0 if
                this publisher only opens the version and `leave`s it to a successor, whose attempt
                is the first.
            repeats: Open only while the latest version is lost, and no stop was requested; else
                `open` raises `NotLost`. So a version that has ended meanwhile is not repeated.
            request, metadata: JSON values stored with the version, to repeat or to describe it.
            watched: The version is listed by `unattended` when its publisher is lost, and after its
                end until `settle`.
            on_cancel: Whether a cancelled block ends with the protocol's abort, or releases its
                lease without an ending.

        Raises:
            InvalidStreamId, InvalidVersion, InvalidText, InvalidNumber, InvalidWord: For a value
                that no store could hold.
            InvalidChunk: The request or the metadata is not JSON.
        """
        opening = Opening(
            token=new_token(),
            lease=self._runtime.writer.lease,
            message_id=check_text("message id", message_id),
            owner=check_text("owner", owner),
            attempt=check_count("attempt", attempt, most=MAX_ATTEMPT),
            handovers=check_count("handovers", handovers, least=0, most=MAX_ATTEMPT),
            repeats=bool(repeats),
            request=_encoded("request", request, MAX_REQUEST_BYTES),
            metadata=_encoded("metadata", metadata, MAX_METADATA_BYTES),
            watched=bool(watched),
        )
        check_word("on_cancel", on_cancel, get_args(OnCancel))
        check_stream_id(stream_id)
        number = None if version == "next" else check_version(version)
        return Publisher(
            self._runtime.writer,
            self._runtime.ready,
            self._protocol,
            stream_id,
            partial(open_new, self._runtime.writer, stream_id, number, opening),
            message_id=message_id,
            attempt=attempt,
            on_cancel=on_cancel,
            count_unread=self._runtime.count_unread,
        )

    def successor(
        self,
        stream_id: str,
        version: int,
        *,
        attempt: int | None = None,
        on_cancel: OnCancel = "abort",
    ) -> Publisher[C]:
        """Return a publisher that goes on with a version that was lost or left, as its next
        attempt; `async with` or `open` takes it over.

        Its predecessor is fenced then, `written` holds the chunks that are stored, and readers see
        a pause and nothing else. Of many successors in many processes, one gets the version.

        Args:
            attempt: Take it over only if this attempt is the next one.
            on_cancel: As for `publisher`.

        Raises (from `open`):
            UnknownStream: There is no such version.
            NotLost: Its publisher lives, it has ended, a stop was requested, another successor has
                it, or another attempt is the next one.

        Raises:
            InvalidStreamId, InvalidVersion, InvalidNumber, InvalidWord: For a value that no version
                could have.
        """
        if attempt is not None:
            check_count("attempt", attempt, least=1, most=MAX_ATTEMPT)
        check_word("on_cancel", on_cancel, get_args(OnCancel))
        check_stream_id(stream_id)
        check_version(version)
        return Publisher(
            self._runtime.writer,
            self._runtime.ready,
            self._protocol,
            stream_id,
            partial(take_over, self._runtime.writer, self._protocol, stream_id, version, attempt),
            on_cancel=on_cancel,
            count_unread=self._runtime.count_unread,
        )

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
            on_superseded: When a newer version is opened, follow it from its first chunk, or raise
                `Superseded`.

        Raises:
            InvalidStreamId, InvalidCursor: The stream id or the cursor cannot exist.
            InvalidNumber, InvalidWord: `timeout` or `on_superseded` is invalid.
        """
        check_word("on_superseded", on_superseded, get_args(OnSuperseded))
        return Subscription(
            self._runtime.tailer,
            self._runtime.ready,
            self._protocol,
            check_stream_id(stream_id),
            after=None if after is None else check_cursor(after),
            timeout=None if timeout is None else check_seconds("timeout", timeout),
            on_superseded=on_superseded,
        )

    async def stop(self, stream_id: str, version: int | None = None) -> bool:
        """End a version with the protocol's abort, wherever its publisher runs; the publisher's
        task is cancelled.

        The version is resolved once, so that a stop never hits a later one. Safe to call at any
        time from any process.

        Returns:
            Whether this call ended the version; False if there was nothing to stop, or somebody
            else is stopping it.
        """
        info = await self._info(stream_id, version)
        return info is not None and info.state == "open" and await self._end(info, stop=True)

    async def end_lost(
        self, stream_id: str, version: int, *, error_text: str = MASKED_ERROR_TEXT
    ) -> bool:
        """End a version whose publisher was lost, with the protocol's error; with its abort if a
        stop was requested.

        Of many callers in many processes, exactly one wins.

        Args:
            error_text: The text that a user may read about the error.

        Returns:
            Whether this call ended it. Also False if the protocol has no chunk for this ending; the
            version then stays lost.
        """
        info = await self._info(stream_id, version)
        if info is None or not info.lost:
            return False
        return await self._end(info, stop=False, error_text=error_text)

    async def leave_lost(self, stream_id: str, version: int, *, within: float) -> bool:
        """Let a lost version, even one that has already waited in vain, wait for a `successor` of
        any process; after `within` seconds it counts as lost again.

        Of many callers in many processes, exactly one wins. `status(…).attended` counts the waits
        in vain since the last attempt.

        Returns:
            Whether this call did it.
        """
        check_seconds("within", within)
        info = await self._info(stream_id, version)
        if info is None or not info.lost:
            return False
        writer = self._runtime.writer
        return await leave_again(writer, stream_id, info.version, within)

    async def status(self, stream_id: str, version: int | None = None) -> VersionInfo:
        """Return the stored record of a version, by default the latest.

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
        return [chunk async for page in self._pages(stream_id, version) for chunk in page]

    async def _pages(
        self, stream_id: str, version: int | None = None
    ) -> AsyncIterator[Sequence[C]]:
        """Yield the same chunks as `chunks`, page by page."""
        info = await self.status(stream_id, version)
        async for page in stored_pages(self._runtime.store, self._protocol, info):
            yield page

    async def request(self, stream_id: str, version: int) -> Any:
        """Return the JSON value that `publisher` was given as the request of a version; None if it
        was given none, or there is no such version.
        """
        store = await self._connected()
        text = await store.request(check_stream_id(stream_id), check_version(version))
        return None if text is None else await decode_json_aside(text)

    async def streams(
        self, *, prefix: str = "", after: str | None = None, limit: int = 100
    ) -> list[VersionInfo]:
        """Return the latest version of streams whose id begins with `prefix`, always in the same
        order; `after` is the last stream seen.
        """
        check_text("after", after)
        _check_listing(prefix, limit)
        store = await self._connected()
        return await store.streams(prefix=prefix, after=after, limit=limit)

    async def versions(
        self, stream_id: str, *, before: int | None = None, limit: int = 100
    ) -> list[VersionInfo]:
        """Return versions of a stream, the newest first; `before` is the last version seen. Empty
        if there is no such stream.
        """
        check_count("limit", limit, most=MAX_LIMIT)
        if before is not None:
            check_version(before)
        store = await self._connected()
        return await store.versions(check_stream_id(stream_id), before=before, limit=limit)

    async def timeline(
        self, stream_id: str, version: int, *, first: int = 0, limit: int = 1000
    ) -> list[StoredChunk]:
        """Return when the chunks of a version from id `first` on were stored, and their sizes.
        Empty past the end.
        """
        check_count("first", first)
        check_count("limit", limit, most=MAX_LIMIT)
        store = await self._connected()
        return await store.timeline(
            check_stream_id(stream_id), check_version(version), first, max_rows=limit
        )

    async def unattended(
        self, *, prefix: str = "", limit: int = 100, state: WatchedState | None = None
    ) -> list[VersionInfo]:
        """Return watched versions that nobody looks after: lost ones if `state` is `"open"`, ended
        ones that are not settled if it is `"closed"`, by default both.

        Those that were attended to the fewest times come first. Abandoned ones are left out.
        """
        _check_listing(prefix, limit)
        check_word("state", state, (None, *get_args(WatchedState)))
        store = await self._connected()
        found = await store.unattended(prefix=prefix, limit=limit, state=state)
        return [info for info in found if not info.lost or self._judged(info).lost]

    async def recover(self, stream_id: str, version: int, work: Work) -> bool:
        """Run the work that is to be done for a lost watched version, such as running a turn again,
        unless it is being done elsewhere.

        Each attempt keeps others away for one lease, the next one for two, then four, and so on.
        After 5 attempts the version is ended as by `end_lost`, or abandoned if that fails.

        Returns:
            Whether this call did it. Of all calls in all processes, one does.

        Raises:
            Exception: As the work raised it.
        """
        check_stream_id(stream_id)
        check_version(version)
        await self._connected()
        return await recover_version(
            self._runtime.writer,
            stream_id,
            version,
            work,
            end=lambda: self.end_lost(stream_id, version),
        )

    async def settle(
        self, stream_id: str, version: int, work: Work, *, timeout: float = SETTLE_TIMEOUT
    ) -> bool:
        """Run the work to do once after a watched version has ended, unless it is done or being
        done elsewhere.

        If it fails, another call may try again `timeout` seconds after the beginning, then after
        twice that, and so on. After 12 attempts, which takes 17 hours by default, the version is
        abandoned: `unattended` leaves it out, `status` says so, and a further call may still settle
        it.

        Returns:
            Whether this call did it. Of all calls in all processes, one does.

        Raises:
            TimeoutError: The work took over `timeout` seconds. From then on another call may do it,
                as if this process had died.
            Exception: As the work raised it.
        """
        check_stream_id(stream_id)
        check_version(version)
        check_seconds("timeout", timeout)
        await self._connected()
        writer = self._runtime.writer
        return await settle_version(writer, stream_id, version, work, timeout=timeout)

    async def delete(self, stream_id: str) -> bool:
        """Delete a stream with all its versions; return whether there was one.

        Its readers and publishers get `StreamDeleted`.
        """
        store = await self._connected()
        deleted = await store.delete(check_stream_id(stream_id))
        # Newer than anything, so every process that knows the stream looks.
        self._runtime.writer.announce(WakeUp(stream_id, MAX_VERSION, 0))
        return deleted

    async def prune(
        self, *, older_than: float, on_batch: Callable[[int], None] | None = None
    ) -> int:
        """Remove versions whose last activity is over `older_than` seconds ago; return how many.

        Works in small batches, after each of which `on_batch` is called with the number so far.
        Versions that are being written are never touched.
        """
        check_seconds("older_than", older_than)
        store = await self._connected()
        total = 0
        while pruned := await store.prune(older_than=older_than, limit=PRUNE_BATCH):
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
        check_seconds("older_than", older_than)
        check_seconds("every", every)
        return sweeping(
            lambda: self.prune(older_than=older_than),
            name="prune",
            every=every,
            on_error=self._runtime.errors.report,
        )

    async def ready(self, *, timeout: float = READY_TIMEOUT) -> None:
        """Return if requests can be served: the store answers, its tables are there, and the
        service is not shutting down.

        Meant for a load balancer, which may ask every second. Notifications are not tested: without
        them readers poll.

        Raises:
            ServiceClosed: It is shutting down.
            StoreUnavailable: The store did not answer within `timeout` seconds.
            SchemaMissing, SchemaMismatch, SchemaOutdated, SchemaTooNew: The tables do not fit this
                release.
            MissingPrivilege: The database role may not connect or read, or not make the tables.
        """
        if self._closing:
            raise ServiceClosed
        try:
            async with asyncio.timeout(timeout):
                store = await self._connected()
                await store.read([Position(READY_STREAM, None, 0)], max_rows=0, max_bytes=1)
        except TimeoutError as error:
            raise StoreUnavailable(f"no answer within {timeout:g} s") from error

    def begin_shutdown(self) -> None:
        """Set `closing`, since the process is about to end; nothing else changes."""
        self._closing = True

    async def aclose(self) -> None:
        """Write queued chunks, release open versions, end readers, and disconnect.

        The readers get `ServiceClosed`.
        """
        self._closing = True
        await self._runtime.aclose()

    async def __aenter__(self) -> Self:
        try:
            await self._runtime.ready()
        except BaseException:
            # No `__aexit__` follows, and nothing else would close the connections.
            await finish_despite_cancel(self.aclose())
            raise
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        cancellation = await finish_despite_cancel(self.aclose())
        if cancellation is not None and error is None:
            raise cancellation

    async def _info(self, stream_id: str, version: int | None) -> VersionInfo | None:
        store = await self._connected()
        number = None if version is None else check_version(version)
        info = await store.info(check_stream_id(stream_id), number)
        return None if info is None else self._judged(info)

    def _judged(self, info: VersionInfo) -> VersionInfo:
        # A blocked event loop renews no lease. The publishers that it held up go on once it
        # runs again, so this process must not take them for lost.
        if info.lost and self._runtime.writes(info.stream_id, info.version):
            return replace(info, lease_left=OURS_LEFT)
        return info

    async def _end(
        self, info: VersionInfo, *, stop: bool, error_text: str = MASKED_ERROR_TEXT
    ) -> bool:
        # Once the publisher is fenced, the ending must be written even if the caller gives up.
        ending = end_version(
            self._runtime.writer, self._protocol, info, stop=stop, error_text=error_text
        )
        return await self._runtime.to_the_end(ending)

    async def _connected(self) -> Store:
        await self._runtime.ready()
        return self._runtime.store


def _encoded(name: str, value: Any, limit: int) -> str | None:
    return None if value is None else check_json(name, encode_json(value), limit)


def _check_listing(prefix: str, limit: int) -> None:
    check_text("prefix", prefix)
    check_count("limit", limit, most=MAX_LIMIT)


def _warn_of_alias(old: str, new: str) -> None:
    warnings.warn(f"{old} goes away in 0.3: use {new}", DeprecationWarning, stacklevel=3)
