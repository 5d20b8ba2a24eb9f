"""Reports the work of a service to an observer, such as a metrics library, and its turns to one
that traces.

Without an observer, none of this runs.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final, Literal, Protocol, TypeAlias, TypeVar, get_args, runtime_checkable

from monostream_ai.errors import Fenced, MonostreamError
from monostream_ai.interfaces import BackgroundErrors, Listener, Messages, Notifier, Store
from monostream_ai.notifiers.forwarding import ForwardingNotifier
from monostream_ai.stores.forwarding import ForwardingStore
from monostream_ai.types import Append, Ending, Lease, Page, Position, VersionInfo, WakeUp

K = TypeVar("K")
V = TypeVar("V")

REMEMBERED: Final = 4096
"""Lost versions, and wake-ups in transit, that are remembered at most."""

Measure = Literal[
    "append.seconds",
    "append.chunks",
    "read.seconds",
    "notify.seconds",
    "publisher.fenced",
    "publisher.lost",
]
"""Names of the measures that are reported one by one.

append.seconds    duration of one append, which stores the queued chunks of all publishers
append.chunks     number of chunks in one append
read.seconds      duration of one read, which serves up to 64 streams
notify.seconds    time from sending a wake-up until this process receives it
publisher.fenced  1 for each publisher of this process that a newer version or takeover fenced
publisher.lost    1 for each version that this process found open without a live publisher
"""


@dataclass(frozen=True, slots=True)
class Statistics:
    """The state of one service in this process at one moment, and its counts since the start."""

    open_versions: int
    """Versions that publishers of this process are writing."""

    readers: int
    streams_read: int
    """Streams that have readers; each is read from the store once for all of them."""

    reader_lag: int
    """Number of chunks that this process knows to be stored and the slowest reader has not read."""

    rescues: int
    """Polls that found chunks which no wake-up had announced. A growing number means that
    notifications do not arrive.
    """

    errors: Mapping[str, int]
    """Numbers of background errors by source: append, read, renew, check, release, notify, listen,
    presence, inline, prune, checkpoint, sweep, recover, settle, questions, events.
    """

    abandoned: int = 0
    """Watched versions that this process has given up looking after, after many attempts."""

    unread: Mapping[str, int] = field(default_factory=dict)
    """Numbers of values that captures could not read, by SDK: langchain, openai, anthropic,
    google-genai, openai-agents, or the name that a mapper of your own gives. The log names kinds.
    """

    endings: Mapping[str, int] = field(default_factory=lambda: dict.fromkeys(get_args(Ending), 0))
    """Numbers of versions that this process has ended, from 0 for each ending: finish, error,
    abort after a stop, lost if it has ended the version of a publisher that died. A version that is
    released, fenced or pruned has not ended here. A terminal chunk that a program writes itself
    counts as finish, unless the protocol is a `TellingProtocol`.
    """


Activity = Statistics
"""The name of `Statistics` before release 0.2."""


class Observer(Protocol):
    """Receives measures and statistics. Both methods must return at once and never raise."""

    def observe(self, measure: Measure, value: float) -> None:
        """Receive a value, on the event loop of the service."""

    def watch(self, statistics: Callable[[], Statistics]) -> None:
        """Receive the statistics function of a service, once for each service.

        The function may be called at any time and from any thread.
        """


TraceContext: TypeAlias = Mapping[str, str]
"""The place of a turn in a trace, as HTTP headers name it: `traceparent`, and perhaps `tracestate`.

Source: W3C Trace Context, 3.2 and 3.3.
"""

WatchChunks: TypeAlias = Callable[[Sequence[Any]], None]
"""Gets the chunks of a publisher when they are queued. Must be fast and never raise."""


@dataclass(frozen=True, slots=True)
class Attempt:
    """One run of the reply of a turn."""

    chat_id: str
    stream_id: str
    version: int
    message_id: str
    number: int
    """1 for the first run; higher when a lost turn runs again or goes on."""
    waits_since: datetime | None = None
    """When the turn was left to a worker, by the store's clock; None if this is no first run, or
    the process that took the question also answers it.
    """
    usage_before: Mapping[str, int] = field(default_factory=dict)
    """Tokens that the message counts already, because it goes on with an earlier one."""


@runtime_checkable
class TurnTracer(Protocol):
    """An observer may also have these methods, and is then told of the turns of the chat routes."""

    def trace_question(self, chat_id: str) -> AbstractContextManager[TraceContext]:
        """Enclose the beginning of a turn: its version is opened, and dispatched if a worker is to
        write it. The context is stored with the version, for each attempt to go on from.
        """

    def trace_attempt(
        self, attempt: Attempt, context: TraceContext
    ) -> AbstractContextManager[WatchChunks | None]:
        """Enclose one run of the reply, up to the stored ending, in whatever process it runs.

        Args:
            context: That of the question; empty if nobody traced it.

        Returns:
            A block that yields a function for the chunks of the run, or None to see none of them,
            and that sees the error which ends the run: `StreamStopped` after a stop, `Fenced` or
            `StreamDeleted` if the version was taken away, `CancelledError` if the process gives the
            run up.
        """


class ObservedStore(ForwardingStore):
    """Measures appends and reads, and counts publishers that were fenced or lost."""

    def __init__(self, inner: Store, observer: Observer) -> None:
        super().__init__(inner)
        self._observer = observer
        self._lost: dict[tuple[str, int], None] = {}

    @property
    def keeps_payloads(self) -> bool:
        return self.inner.keeps_payloads

    @property
    def messages(self) -> Messages | None:
        return self.inner.messages

    async def append(
        self, appends: Sequence[Append], *, lease: float
    ) -> list[MonostreamError | None]:
        started = time.perf_counter()
        verdicts = await self.inner.append(appends, lease=lease)
        self._observer.observe("append.seconds", time.perf_counter() - started)
        self._observer.observe("append.chunks", sum(len(append.payloads) for append in appends))
        return self._counted(verdicts)

    async def renew(self, leases: Sequence[Lease], *, lease: float) -> list[MonostreamError | None]:
        return self._counted(await self.inner.renew(leases, lease=lease))

    async def check(self, leases: Sequence[Lease]) -> list[MonostreamError | None]:
        return self._counted(await self.inner.check(leases))

    async def read(
        self, positions: Sequence[Position], *, max_rows: int, max_bytes: int
    ) -> list[Page]:
        started = time.perf_counter()
        pages = await self.inner.read(positions, max_rows=max_rows, max_bytes=max_bytes)
        self._observer.observe("read.seconds", time.perf_counter() - started)
        for position, page in zip(positions, pages, strict=True):
            if page.head is not None and page.head.state == "open" and page.head.lease_left <= 0:
                self._count_lost(position.stream_id, page.head.version)
        return pages

    async def claim(
        self,
        taker: Lease,
        *,
        lease: float,
        stop: bool,
        attempt: int | None = None,
        waits: bool = False,
    ) -> int | None:
        next_id = await self.inner.claim(
            taker, lease=lease, stop=stop, attempt=attempt, waits=waits
        )
        # A claim that goes on with a waiting version, or lets one wait, proves no loss.
        if next_id is not None and not stop and attempt is None and not waits:
            self._count_lost(taker.stream_id, taker.version)
        return next_id

    async def info(self, stream_id: str, version: int | None = None) -> VersionInfo | None:
        info = await self.inner.info(stream_id, version)
        if info is not None and info.lost and not info.waiting:
            self._count_lost(stream_id, info.version)
        return info

    def _counted(self, verdicts: list[MonostreamError | None]) -> list[MonostreamError | None]:
        for verdict in verdicts:
            if isinstance(verdict, Fenced):
                self._observer.observe("publisher.fenced", 1)
        return verdicts

    def _count_lost(self, stream_id: str, version: int) -> None:
        if (stream_id, version) not in self._lost:
            self._observer.observe("publisher.lost", 1)
            _remember(self._lost, (stream_id, version), None)


class ObservedNotifier(ForwardingNotifier):
    """Measures the time of a wake-up, if the notifier returns it to the process that sent it."""

    def __init__(self, inner: Notifier, observer: Observer) -> None:
        super().__init__(inner)
        self._observer = observer
        self._sent: dict[tuple[str, int, int], float] = {}

    async def notify(self, wake_ups: Sequence[WakeUp]) -> None:
        now = time.perf_counter()
        for wake_up in wake_ups:
            # Without its chunks, which may be dropped on the way, and would be kept alive here.
            _remember(self._sent, wake_up[:3], now)
        await self.inner.notify(wake_ups)

    async def listen(
        self, listener: Listener, on_error: BackgroundErrors
    ) -> Callable[[], Awaitable[None]]:
        return await self.inner.listen(_ObservedListener(listener, self._heard), on_error)

    def _heard(self, wake_up: WakeUp) -> None:
        sent = self._sent.pop(wake_up[:3], None)
        if sent is not None:
            self._observer.observe("notify.seconds", time.perf_counter() - sent)


class _ObservedListener:
    def __init__(self, inner: Listener, heard: Callable[[WakeUp], None]) -> None:
        self._inner = inner
        self._heard = heard

    def on_wake_up(self, wake_up: WakeUp) -> None:
        self._heard(wake_up)
        self._inner.on_wake_up(wake_up)

    def on_resync(self) -> None:
        self._inner.on_resync()


def _remember(memory: dict[K, V], key: K, value: V) -> None:
    # A dict keeps its keys in the order they were added, so the first one is the oldest.
    memory[key] = value
    if len(memory) > REMEMBERED:
        del memory[next(iter(memory))]
