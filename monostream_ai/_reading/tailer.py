"""The process's one tailer: keeps a tail of each stream that is read here, so that all readers of a
stream share one read of each chunk.

A wake-up, a poll that is due, or a local commit that does not fit makes a tail dirty. One task
reads all dirty tails with one statement at a time; those that become dirty meanwhile are read by
the next statement.
"""

from __future__ import annotations

import asyncio
import itertools
import logging
import math
import weakref
from collections.abc import Callable
from dataclasses import replace
from typing import Final, Protocol

from monostream_ai._backoff import Backoff
from monostream_ai._periodic import start_task
from monostream_ai._reading.pages import PageReads
from monostream_ai._reading.polls import FIRST_POLL, PollSchedule
from monostream_ai._reading.tail import Tail
from monostream_ai.errors import ChunksMissing, MonostreamError, StoreUnavailable
from monostream_ai.interfaces import PAGE_BYTES, PAGE_ROWS, BackgroundErrors, Store
from monostream_ai.json_text import decode_json
from monostream_ai.types import Append, Page, Position, WakeUp

logger = logging.getLogger(__name__)

TAILS_PER_READ: Final = 64
TAILS_PER_POLL: Final = 96
"""Most polls find nothing, and then a statement costs more than the streams in it. But some 700 new
objects at once would start Python's collector at each poll. Each run ages the objects of readers,
until a run goes through all of memory: with 5,000 readers that stops the loop for half a second.
"""

OURS_LEFT: Final = 0.25
"""Seconds until the next look at a lapsed lease of this process's own publisher."""

READ_BYTES: Final = 16 * 1024 * 1024
"""Size of a read of many tails, shared equally; a single chunk may exceed its share."""


class Reader(Protocol):
    """A subscription, as statistics see it."""

    @property
    def behind(self) -> int:
        """How many stored chunks, as far as this process knows, it has not yielded."""


class Tailer:
    """The reading side of a service.

    Args:
        poll_interval: Seconds between polls of a stream behind a notifier that works, and the
            slowest poll without one.
        patience: Seconds for which readers wait for an unavailable store before they get
            `StoreUnavailable`.
        lease: Seconds for which a local commit renews its lease.
        is_healthy: Whether wake-ups of other processes are believed to arrive.
        is_ours: Whether a living publisher of this process writes a version. Such a publisher is
            never lost to its own process.
        takes_carried: Whether chunks are taken from wake-ups at this moment.
        is_terminal: Judges the last payload of a version that another program wrote without a
            lease.
    """

    def __init__(
        self,
        store: Store,
        *,
        poll_interval: float,
        patience: float,
        lease: float,
        is_healthy: Callable[[], bool],
        is_ours: Callable[[str, int], bool],
        is_terminal: Callable[[str], bool],
        takes_carried: Callable[[], bool],
        on_error: BackgroundErrors,
    ) -> None:
        self._store = store
        self._poll_interval = poll_interval
        self._patience = patience
        self._lease = lease
        self._is_healthy = is_healthy
        self._is_ours = is_ours
        self._is_terminal = is_terminal
        self._takes_carried = takes_carried
        self._on_error = on_error
        self.rescues = 0
        """Reads in which a poll found chunks that no wake-up had announced."""
        self.pages = PageReads(self._page, patience=patience, on_error=on_error)
        """Reads for readers behind the window."""
        self._tails: dict[str, Tail] = {}
        self._dirty: dict[Tail, bool] = {}
        self._polls = PollSchedule(lambda tail: self._mark(tail, polled=True))
        self._task: asyncio.Task[None] | None = None
        self._backoff = Backoff()
        self._readers: set[weakref.ref[Reader]] = set()

    @property
    def readers_of_streams(self) -> list[int]:
        """How many readers each stream has in this process. Safe in any thread."""
        # A list is copied in one step, whatever the loop's thread does meanwhile.
        return [tail.readers for tail in [*self._tails.values()]]

    @property
    def reader_lag(self) -> int:
        """How many chunks the slowest reader is behind. Safe in any thread, for the same reason."""
        readers = [reader for reference in [*self._readers] if (reader := reference()) is not None]
        return max((reader.behind for reader in readers), default=0)

    def reads(self, stream_id: str) -> bool:
        """Whether the stream has a reader here."""
        return stream_id in self._tails

    def attach(self, asked: Position, reader: Reader) -> tuple[Tail, int]:
        """Register a reader of a stream; the tail loads in the background. Pair with `detach`.

        Returns:
            The tail, and the number of its reads that must be done before this reader may believe
            it: a tail that other readers opened may not know the version that another process has
            opened since.
        """
        tail = self._tails.get(asked.stream_id)
        if tail is None or tail.error is not None:
            tail = self._tails[asked.stream_id] = Tail(asked)
        tail.readers += 1
        self._readers.add(weakref.ref(reader, self._readers.discard))
        self._mark(tail, polled=False)
        return tail, tail.reads_begun + 1

    def detach(self, tail: Tail) -> None:
        """Unregister a reader; a stream without readers costs nothing."""
        tail.readers -= 1
        if tail.readers == 0:
            tail.poll_at = None
            tail.clear()
            self._dirty.pop(tail, None)
            if self._tails.get(tail.stream_id) is tail:
                del self._tails[tail.stream_id]

    def landed(self, append: Append) -> None:
        """Deliver a commit of this process to its readers without a read."""
        tail = self._tails.get(append.lease.stream_id)
        if tail is not None:
            lease_until = asyncio.get_running_loop().time() + self._lease
            if not tail.landed(append, lease_until):
                self._mark(tail, polled=False)

    def on_wake_up(self, wake_up: WakeUp) -> None:
        tail = self._tails.get(wake_up.stream_id)
        if tail is None or not tail.is_behind(wake_up.version, wake_up.id):
            return
        if wake_up.carried and self._takes_carried() and tail.take(wake_up):
            return
        tail.hear_of(wake_up.version)
        self._mark(tail, polled=False)

    def on_resync(self) -> None:
        for tail in self._tails.values():
            self._mark(tail, polled=False)

    async def aclose(self, error: MonostreamError) -> None:
        """End all tails with this error."""
        for tail in [*self._tails.values()]:
            tail.fail(error)
        self._tails.clear()
        self._dirty.clear()
        self._polls.cancel()
        await self.pages.aclose()
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    def _mark(self, tail: Tail, *, polled: bool) -> None:
        self._dirty[tail] = polled and self._dirty.get(tail, True)
        if self._task is None:
            self._task = start_task(self._run())

    async def _run(self) -> None:
        try:
            unavailable_since: float | None = None
            while self._dirty:
                tails = self._take()
                try:
                    await self._refresh(tails)
                    unavailable_since = None
                    self._backoff.reset()
                except StoreUnavailable as error:
                    unavailable_since = await self._outage(tails, error, unavailable_since)
        finally:
            self._task = None

    def _take(self) -> dict[Tail, bool]:
        only_polls = all(itertools.islice(self._dirty.values(), TAILS_PER_POLL))
        count = TAILS_PER_POLL if only_polls else TAILS_PER_READ
        tails = dict(itertools.islice(self._dirty.items(), count))
        # Removed before the read: a wake-up during it makes the tail dirty again.
        for tail in tails:
            del self._dirty[tail]
        return tails

    async def _refresh(self, tails: dict[Tail, bool]) -> None:
        for tail in tails:
            tail.reads_begun += 1
        begun = [(tail.reads_begun, tail.landings) for tail in tails]
        try:
            positions = [tail.position for tail in tails]
            size = READ_BYTES // max(len(tails), TAILS_PER_READ)
            pages = await self._store.read(positions, max_rows=PAGE_ROWS, max_bytes=size)
        except StoreUnavailable:
            raise
        # Any other error would end this task silently; the readers must hear of it.
        except Exception as error:
            for tail in tails:
                tail.fail(error)
            return
        now = asyncio.get_running_loop().time()
        for (tail, polled), page, (read, landings) in zip(tails.items(), pages, begun, strict=True):
            await self._show(tail, page, polled, now, read, landings)

    async def _show(
        self, tail: Tail, page: Page, polled: bool, now: float, read: int, landings: int
    ) -> None:
        try:
            page = await self._judged(tail.stream_id, page)
            await self._confirm(tail, page)
        except StoreUnavailable:
            raise
        # A chunk that the protocol cannot read is an error of its own readers only.
        except Exception as error:
            tail.fail(error)
            return
        before = (tail.version, tail.next_id, tail.state)
        fits = tail.see(page, now, landings=landings, read=read)
        moved = before != (tail.version, tail.next_id, tail.state)
        if polled and moved and tail.announced and self._is_healthy():
            self.rescues += 1
            logger.debug("a poll found news of stream %r that no wake-up announced", tail.stream_id)
        self._schedule(tail, now, moved=moved, fits=fits)

    def _schedule(self, tail: Tail, now: float, *, moved: bool, fits: bool) -> None:
        if moved or tail.poll_delay == 0:
            tail.poll_delay = FIRST_POLL
        else:
            tail.poll_delay = min(tail.poll_delay * 2, self._poll_interval)
        tail.announced = self._is_healthy()
        if not tail.readers or tail.error is not None:
            return
        if not fits:
            self._polls.schedule(tail, now, FIRST_POLL)
        elif not tail.over:
            delay = self._poll_interval if tail.announced else tail.poll_delay
            if not tail.lost:
                # Looks again when the lease runs out: a lost publisher sends no wake-up.
                delay = min(delay, max(tail.lease_until - now, 0.0))
            self._polls.schedule(tail, now, min(delay, self._poll_interval))

    async def _outage(
        self, tails: dict[Tail, bool], error: StoreUnavailable, since: float | None
    ) -> float:
        self._on_error("read", error)
        now = asyncio.get_running_loop().time()
        since = now if since is None else since
        for tail in tails:
            if now - since >= self._patience:
                tail.fail(error)
            elif tail.readers:
                self._dirty.setdefault(tail, False)
        await asyncio.sleep(self._backoff.next())
        return since

    async def _page(self, position: Position) -> Page:
        tail = self._tails.get(position.stream_id)
        landings = 0 if tail is None else tail.landings
        (page,) = await self._store.read([position], max_rows=PAGE_ROWS, max_bytes=PAGE_BYTES)
        page = await self._judged(position.stream_id, page)
        if tail is not None:
            await self._confirm(tail, page)
            tail.see(page, asyncio.get_running_loop().time(), landings=landings)
            if tail.error is not None:
                # The page may be of another stream of the same name.
                raise tail.error
        return page

    async def _confirm(self, tail: Tail, page: Page) -> None:
        """Check that an ending follows the chunks that came here.

        Raises:
            ChunksMissing: The store has lost the last of them.
        """
        wanted = tail.to_confirm(page)
        if wanted is None:
            return
        id, payload = wanted
        position = Position(tail.stream_id, tail.version, id)
        (stored,) = await self._store.read([position], max_rows=1, max_bytes=1)
        head = stored.head
        if head is None or page.head is None or head.state != "closed":
            return
        if (head.version, head.opener) != (page.head.version, page.head.opener):
            # Superseded, or deleted and begun anew, meanwhile: the next read shows it.
            return
        if not any(_same(payload, each) for each in stored.payloads):
            raise ChunksMissing(tail.stream_id, head.version, id)

    async def _judged(self, stream_id: str, page: Page) -> Page:
        head = page.head
        if head is None or head.state != "open":
            return page
        if head.lease_left <= 0 and self._is_ours(stream_id, head.version):
            return replace(page, head=replace(head, lease_left=OURS_LEFT))
        if head.next_id == 0 or head.lease_left != math.inf:
            return page
        # Another program stored this version, without lease or state: its last chunk decides. It is
        # closed only if the head has not moved between the two reads.
        last = Position(stream_id, head.version, head.next_id - 1)
        (tail,) = await self._store.read([last], max_rows=1, max_bytes=1)
        if tail.head != head or len(tail.payloads) != 1 or not self._is_terminal(tail.payloads[0]):
            return page
        return Page(replace(head, state="closed"), page.first, page.payloads)


def _same(payload: str, stored: str) -> bool:
    # A jsonb column, as the TypeScript package makes it, keeps the value and not the text.
    return payload == stored or decode_json(payload) == decode_json(stored)
