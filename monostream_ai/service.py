"""DurableStreamService: named streams, each with one publisher and any number of readers."""

from __future__ import annotations

import math
from collections.abc import Mapping
from types import TracebackType
from typing import Any, Final, Literal, Self

from monostream_ai._reading.clock import Beat
from monostream_ai._reading.subscription import OnSuperseded, Subscription
from monostream_ai._runtime import Machinery
from monostream_ai._writing.endings import end_version
from monostream_ai._writing.publisher import OnCancel, Publisher
from monostream_ai._writing.shielding import finish_despite_cancel
from monostream_ai.interfaces import BackgroundErrors, Notifier, Store
from monostream_ai.json_text import encode_json
from monostream_ai.observing import ObservedNotifier, ObservedStore, Observer
from monostream_ai.protocol import C, ChunkProtocol
from monostream_ai.stored_streams import StoredStreams
from monostream_ai.tokens import new_token
from monostream_ai.types import (
    Cursor,
    Opening,
    VersionInfo,
    check_cursor,
    check_stream_id,
    check_version,
)

DEFAULT_LEASE: Final = 15.0
DEFAULT_POLL_INTERVAL: Final = 5.0
DEFAULT_OUTAGE_TIMEOUT: Final = 60.0


class DurableStreamService(StoredStreams[C]):
    """Named streams on a store. One service serves a process; it connects on first use and belongs
    to one event loop.

    `async with service:` or `aclose` closes the notifier, then the store.

    Args:
        notifier: Without one, readers in other processes find new chunks by polling.
        protocol: What a chunk is, and which one is terminal.
        lease: Seconds after which a publisher that died is declared lost. Renewed every third of
            it. Choose it longer than the database takes to restart.
        poll_interval: Seconds between reads behind the notifications.
        outage_timeout: Seconds for which writers and readers wait for a store that stops answering.
            One that does not answer when the service is first used, or when a version is opened, is
            reported at once.
        create_tables: Call `store.setup()` on first use.
        observer: Told what happens, for metrics; `monostream_ai.opentelemetry` has one.
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
        observer: Observer | None = None,
    ) -> None:
        if not all(0 < seconds < math.inf for seconds in (lease, poll_interval, outage_timeout)):
            raise ValueError("lease, poll_interval and outage_timeout are finite seconds above 0")
        if observer is not None:
            store = ObservedStore(store, observer)
            notifier = None if notifier is None else ObservedNotifier(notifier, observer)
        self._protocol = protocol
        self._closing = False
        self.beat: Final = Beat(on_alarm=self.begin_shutdown)
        """A clock for whoever serves readers; an alarm begins the shutdown."""
        self._machinery = Machinery(
            store,
            notifier,
            is_terminal=lambda payload: protocol.is_terminal(protocol.decode(payload)),
            lease=lease,
            poll_interval=poll_interval,
            outage_timeout=outage_timeout,
            create_tables=create_tables,
        )
        if observer is not None:
            observer.watch(self._machinery.watched())

    @property
    def protocol(self) -> ChunkProtocol[C]:
        return self._protocol

    @property
    def closing(self) -> bool:
        """Whether `begin_shutdown` or `aclose` was called: whoever serves readers should break them
        off.
        """
        return self._closing

    @property
    def error_counts(self) -> Mapping[str, int]:
        """Errors of work in the background since the start, by source: append, read, renew, check,
        notify, listen.
        """
        return self._machinery.error_counts

    @property
    def rescues(self) -> int:
        """How often a poll found what no wake-up had announced; growth means that notifications do
        not arrive.
        """
        return self._machinery.hub.rescues

    def on_error(self, observer: BackgroundErrors) -> None:
        """Call the observer with each error of work in the background. Such errors stop no stream."""
        self._machinery.observers.append(observer)

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
        watched: bool = False,
        on_cancel: OnCancel = "abort",
    ) -> Publisher[C]:
        """Return a publisher for a new version; `async with` or `open` acquires it.

        Args:
            version: `"next"` is the latest plus one, or 0. An explicit version must be above the
                latest.
            request, metadata: JSON values stored with the version, for whoever has to repeat or
                show it.
            watched: The version is listed by `unattended` when its publisher is lost, and after its
                end until `settle`.
            on_cancel: What a cancelled block leaves behind: the protocol's abort, or a released
                lease.

        Raises:
            InvalidStreamId, InvalidVersion, InvalidChunk: The last for a request or metadata that
                is not JSON.
        """
        opening = Opening(
            token=new_token(),
            lease=self._machinery.lease,
            message_id=message_id,
            owner=owner,
            attempt=attempt,
            request=None if request is None else encode_json(request),
            metadata=None if metadata is None else encode_json(metadata),
            watched=watched,
        )
        number = None if version == "next" else check_version(version)
        return Publisher(
            self._machinery,
            self._protocol,
            check_stream_id(stream_id),
            number,
            opening,
            on_cancel=on_cancel,
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
            InvalidStreamId, InvalidCursor: Neither could ever exist.
        """
        return Subscription(
            self._machinery,
            self._protocol,
            check_stream_id(stream_id),
            after=None if after is None else check_cursor(after),
            timeout=timeout,
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

    async def end_lost(self, stream_id: str, version: int) -> bool:
        """End a version whose publisher was lost, with the protocol's error; with its abort if a
        stop had been asked.

        Of many callers in many processes, exactly one wins.

        Returns:
            Whether this call ended it; False too if the protocol has no chunk to say so, and the
            version stays lost.
        """
        info = await self._info(stream_id, version)
        return info is not None and info.lost and await self._end(info, stop=False)

    def begin_shutdown(self) -> None:
        """Say that the process is about to end; `closing` is True from now on, and nothing else
        changes.
        """
        self._closing = True

    async def aclose(self) -> None:
        """Write what is queued, release the versions still open, end all readers with
        `ServiceClosed`, and disconnect.
        """
        self._closing = True
        await self._machinery.aclose()

    async def __aenter__(self) -> Self:
        await self._machinery.ready()
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

    async def _end(self, info: VersionInfo, *, stop: bool) -> bool:
        # Once the publisher is fenced somebody must write the ending, whether the caller waits for
        # it or not.
        return await self._machinery.to_the_end(
            end_version(self._machinery, self._protocol, info, stop=stop)
        )
