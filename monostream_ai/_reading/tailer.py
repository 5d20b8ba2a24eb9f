"""One tailer for each stream and process: all readers of a stream in this process share one read of
each chunk.

Feeds become dirty by a wake-up, a poll that is due, or a local commit that does not fit; one task
reads all dirty feeds with one statement at a time, and what becomes dirty meanwhile is the next
statement.
"""

from __future__ import annotations

import asyncio
import itertools
import logging
import math
from collections.abc import Callable
from dataclasses import replace
from typing import Final

from monostream_ai._backoff import Backoff
from monostream_ai._reading.pages import PageReads
from monostream_ai._reading.polls import FIRST_POLL, PollSchedule
from monostream_ai._reading.tail import Feed
from monostream_ai.errors import MonostreamError, StoreUnavailable
from monostream_ai.interfaces import BackgroundErrors, Store
from monostream_ai.types import Append, Page, Position, WakeUp

logger = logging.getLogger(__name__)

PAGE_ROWS: Final = 1000
PAGE_BYTES: Final = 1024 * 1024
FEEDS_PER_READ: Final = 64
FEEDS_PER_POLL: Final = 256
"""Polls mostly find nothing, and what a statement costs by itself is more than what it costs for a
stream.
"""

READ_BYTES: Final = 16 * 1024 * 1024
"""Size of a read of many feeds; each gets its part (one chunk may be larger)."""


class Hub:
    """The reading side of a service.

    Args:
        poll_interval: Seconds between polls of a stream behind a notifier that works, and the
            slowest poll without one.
        patience: Seconds for which readers wait for an unavailable store before they get
            `StoreUnavailable`.
        lease: Seconds that a local commit renews its lease for.
        is_healthy: Whether wake-ups of other processes are believed to arrive.
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
        is_terminal: Callable[[str], bool],
        on_error: BackgroundErrors,
    ) -> None:
        self._store = store
        self._poll_interval = poll_interval
        self._patience = patience
        self._lease = lease
        self._is_healthy = is_healthy
        self._is_terminal = is_terminal
        self._on_error = on_error
        self.rescues = 0
        """Reads in which a poll found what no wake-up had announced."""
        self._feeds: dict[str, Feed] = {}
        self._dirty: dict[Feed, bool] = {}
        self._polls = PollSchedule(lambda feed: self._mark(feed, polled=True))
        self._task: asyncio.Task[None] | None = None
        self.pages = PageReads(self._page, patience=patience, on_error=on_error)
        """Reads for those behind the window."""
        self._backoff = Backoff()

    @property
    def readers_of_streams(self) -> list[int]:
        """How many readers each stream has in this process."""
        return [feed.readers for feed in [*self._feeds.values()]]

    def attach(self, asked: Position) -> tuple[Feed, int]:
        """Register a reader of a stream; the feed loads in the background. Pair with `detach`.

        Returns:
            The feed, and the number of reads after which it shows no less than the store held at
            this moment: a feed that others opened before may not know yet of a version that another
            process has opened since.
        """
        feed = self._feeds.get(asked.stream_id)
        if feed is None or feed.error is not None:
            feed = self._feeds[asked.stream_id] = Feed(asked)
        feed.readers += 1
        self._mark(feed, polled=False)
        return feed, feed.reads_begun + 1

    def detach(self, feed: Feed) -> None:
        """Take a reader back; a stream without readers costs nothing."""
        feed.readers -= 1
        if feed.readers == 0:
            feed.poll_at = None
            feed.clear()
            self._dirty.pop(feed, None)
            if self._feeds.get(feed.stream_id) is feed:
                del self._feeds[feed.stream_id]

    def landed(self, append: Append) -> None:
        """Deliver a commit of this process to its readers without a read."""
        feed = self._feeds.get(append.lease.stream_id)
        if feed is not None and not feed.landed(
            append, asyncio.get_running_loop().time() + self._lease
        ):
            self._mark(feed, polled=False)

    def on_wake_up(self, wake_up: WakeUp) -> None:
        feed = self._feeds.get(wake_up.stream_id)
        if feed is not None and feed.is_behind(wake_up.version, wake_up.id):
            self._mark(feed, polled=False)

    def on_resync(self) -> None:
        for feed in self._feeds.values():
            self._mark(feed, polled=False)

    async def aclose(self, error: MonostreamError) -> None:
        """End all feeds with this error."""
        for feed in [*self._feeds.values()]:
            feed.fail(error)
        self._feeds.clear()
        self._dirty.clear()
        self._polls.cancel()
        await self.pages.aclose()
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    def _mark(self, feed: Feed, *, polled: bool) -> None:
        self._dirty[feed] = polled and self._dirty.get(feed, True)
        if self._task is None:
            self._task = asyncio.get_running_loop().create_task(self._run())

    async def _run(self) -> None:
        try:
            unavailable_since: float | None = None
            while self._dirty:
                # Cleared before the read: a wake-up during it makes the feed dirty again.
                polls = all(itertools.islice(self._dirty.values(), FEEDS_PER_POLL))
                feeds = dict(
                    itertools.islice(
                        self._dirty.items(), FEEDS_PER_POLL if polls else FEEDS_PER_READ
                    )
                )
                for feed in feeds:
                    del self._dirty[feed]
                try:
                    await self._refresh(feeds)
                    unavailable_since = None
                    self._backoff.reset()
                except StoreUnavailable as error:
                    unavailable_since = await self._outage(feeds, error, unavailable_since)
        finally:
            self._task = None

    async def _refresh(self, feeds: dict[Feed, bool]) -> None:
        for feed in feeds:
            feed.reads_begun += 1
        begun = [(feed.reads_begun, feed.landings) for feed in feeds]
        try:
            positions = [feed.position for feed in feeds]
            size = READ_BYTES // max(len(feeds), FEEDS_PER_READ)
            pages = await self._store.read(positions, max_rows=PAGE_ROWS, max_bytes=size)
        except StoreUnavailable:
            raise
        # Anything else would end the tailer silently; the readers must hear of it.
        except Exception as error:
            for feed in feeds:
                feed.fail(error)
            return
        now = asyncio.get_running_loop().time()
        for (feed, polled), page, (read, landings) in zip(feeds.items(), pages, begun, strict=True):
            await self._show(feed, page, polled, now, read, landings)

    async def _show(
        self, feed: Feed, page: Page, polled: bool, now: float, read: int, landings: int
    ) -> None:
        try:
            page = await self._judged(feed.stream_id, page)
        except StoreUnavailable:
            raise
        # A chunk that the protocol cannot read is the trouble of its readers, not of everybody's.
        except Exception as error:
            feed.fail(error)
            return
        before = (feed.version, feed.next_id, feed.state)
        fits = feed.see(page, now, landings=landings, read=read)
        moved = before != (feed.version, feed.next_id, feed.state)
        self.rescues += polled and moved and self._is_healthy()
        feed.poll_delay = (
            FIRST_POLL
            if moved or feed.poll_delay == 0
            else min(feed.poll_delay * 2, self._poll_interval)
        )
        if not feed.readers or feed.error is not None:
            return
        if not fits:
            self._polls.schedule(feed, now, FIRST_POLL)
        elif not feed.over:
            delay = (
                self._poll_interval
                if self._is_healthy()
                else min(feed.poll_delay, self._poll_interval)
            )
            self._polls.schedule(
                feed, now, delay if feed.lost else min(delay, max(feed.lease_until - now, 0.0))
            )

    async def _outage(
        self, feeds: dict[Feed, bool], error: StoreUnavailable, since: float | None
    ) -> float:
        self._on_error("read", error)
        now = asyncio.get_running_loop().time()
        since = now if since is None else since
        for feed in feeds:
            if now - since >= self._patience:
                feed.fail(error)
            elif feed.readers:
                self._dirty.setdefault(feed, False)
        await asyncio.sleep(self._backoff.next())
        return since

    async def _page(self, position: Position) -> Page:
        feed = self._feeds.get(position.stream_id)
        landings = 0 if feed is None else feed.landings
        (page,) = await self._store.read([position], max_rows=PAGE_ROWS, max_bytes=PAGE_BYTES)
        page = await self._judged(position.stream_id, page)
        if feed is not None:
            feed.see(page, asyncio.get_running_loop().time(), landings=landings)
        return page

    async def _judged(self, stream_id: str, page: Page) -> Page:
        head = page.head
        if head is None or head.state != "open" or head.next_id == 0 or head.lease_left != math.inf:
            return page
        # Neither lease nor state were stored with this version, so its last chunk decides.
        last = Position(stream_id, head.version, head.next_id - 1)
        (tail,) = await self._store.read([last], max_rows=1, max_bytes=1)
        closed = (
            tail.head == head and len(tail.payloads) == 1 and self._is_terminal(tail.payloads[0])
        )
        return Page(replace(head, state="closed"), page.first, page.payloads) if closed else page
