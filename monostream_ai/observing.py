"""What a service does, told to an observer such as a metrics library. Without an observer nothing
of this module runs.
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
"""Lost versions, and wake-ups on their way, that are remembered at most."""

Measure = Literal[
    "append.seconds",
    "append.chunks",
    "read.seconds",
    "notify.seconds",
    "publisher.fenced",
    "publisher.lost",
]
"""What is measured as it happens.

append.seconds    how long one append took, which holds what all publishers of the process had queued
append.chunks     how many chunks it stored
read.seconds      how long one read took, which serves up to 64 streams
notify.seconds    from sending a wake-up until this process hears it itself
publisher.fenced  1 for each publisher of this process that lost its right to a newer version or a takeover
publisher.lost    1 for each version that this process saw without its publisher
"""


@dataclass(frozen=True, slots=True)
class Statistics:
    """One service in this process: its state at one moment, and counts since its start."""

    open_versions: int
    """Versions that publishers of this process are writing."""

    readers: int
    streams_read: int
    """Streams that have readers; each is read from the store once for all of them."""

    reader_lag: int
    """How many chunks the slowest reader is behind those that this process knows to be stored."""

    rescues: int
    """Reads in which a poll found chunks that no wake-up had announced. If it grows, notifications
    do not arrive.
    """

    errors: Mapping[str, int]
    """Errors of work in the background, by source: append, read, renew, check, release, notify,
    listen, prune.
    """


Activity = Statistics
"""The name of `Statistics` before release 0.2."""


class Observer(Protocol):
    """Takes what a service tells; both methods return at once and never raise."""

    def observe(self, measure: Measure, value: float) -> None:
        """Take a value, on the event loop of the service."""

    def watch(self, statistics: Callable[[], Statistics]) -> None:
        """Take a function that may be called at any time from any thread. Called once for each
        service.
        """


class ObservedStore(ForwardingStore):
    """Measures appends and reads, and notices publishers that were fenced or lost."""

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
        return self._noticed(verdicts)

    async def renew(self, leases: Sequence[Lease], *, lease: float) -> list[MonostreamError | None]:
        return self._noticed(await self.inner.renew(leases, lease=lease))

    async def check(self, leases: Sequence[Lease]) -> list[MonostreamError | None]:
        return self._noticed(await self.inner.check(leases))

    async def read(
        self, positions: Sequence[Position], *, max_rows: int, max_bytes: int
    ) -> list[Page]:
        started = time.perf_counter()
        pages = await self.inner.read(positions, max_rows=max_rows, max_bytes=max_bytes)
        self._observer.observe("read.seconds", time.perf_counter() - started)
        for position, page in zip(positions, pages, strict=True):
            if page.head is not None and page.head.state == "open" and page.head.lease_left <= 0:
                self._saw_lost(position.stream_id, page.head.version)
        return pages

    async def claim(self, taker: Lease, *, lease: float, stop: bool) -> int | None:
        next_id = await self.inner.claim(taker, lease=lease, stop=stop)
        if next_id is not None and not stop:
            self._saw_lost(taker.stream_id, taker.version)
        return next_id

    def _noticed(self, verdicts: list[MonostreamError | None]) -> list[MonostreamError | None]:
        for verdict in verdicts:
            if isinstance(verdict, Fenced):
                self._observer.observe("publisher.fenced", 1)
        return verdicts

    def _saw_lost(self, stream_id: str, version: int) -> None:
        if (stream_id, version) not in self._lost:
            self._observer.observe("publisher.lost", 1)
            _remember(self._lost, (stream_id, version), None)


class ObservedNotifier(ForwardingNotifier):
    """Measures how long a wake-up takes, where a process hears its own."""

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
    memory[key] = value
    if len(memory) > REMEMBERED:
        del memory[next(iter(memory))]
