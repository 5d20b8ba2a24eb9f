"""Reports the work of a service to an observer, such as a metrics library.

Without an observer, none of this runs.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Literal, Protocol, TypeVar

from monostream_ai.errors import Fenced, MonostreamError
from monostream_ai.interfaces import BackgroundErrors, Listener, Notifier, Store
from monostream_ai.notifiers.forwarding import ForwardingNotifier
from monostream_ai.stores.forwarding import ForwardingStore
from monostream_ai.types import Append, Lease, Page, Position, WakeUp

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
    recover, settle, prune.
    """

    abandoned: int = 0
    """Watched versions that this process has given up looking after, after many attempts."""


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


class ObservedStore(ForwardingStore):
    """Measures appends and reads, and counts publishers that were fenced or lost."""

    def __init__(self, inner: Store, observer: Observer) -> None:
        super().__init__(inner)
        self._observer = observer
        self._lost: dict[tuple[str, int], None] = {}

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
        self, taker: Lease, *, lease: float, stop: bool, attempt: int | None = None
    ) -> int | None:
        next_id = await self.inner.claim(taker, lease=lease, stop=stop, attempt=attempt)
        if next_id is not None and not stop:
            self._count_lost(taker.stream_id, taker.version)
        return next_id

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
        self._sent: dict[WakeUp, float] = {}

    async def notify(self, wake_ups: Sequence[WakeUp]) -> None:
        now = time.perf_counter()
        for wake_up in wake_ups:
            _remember(self._sent, wake_up, now)
        await self.inner.notify(wake_ups)

    async def listen(
        self, listener: Listener, on_error: BackgroundErrors
    ) -> Callable[[], Awaitable[None]]:
        return await self.inner.listen(_ObservedListener(listener, self._heard), on_error)

    def _heard(self, wake_up: WakeUp) -> None:
        sent = self._sent.pop(wake_up, None)
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
