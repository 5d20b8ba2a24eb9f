"""Pages for readers behind the window of their tail; readers at the same place share a read."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from functools import cached_property
from typing import Final
from weakref import WeakValueDictionary

from monostream_ai._backoff import patiently
from monostream_ai._periodic import start_task
from monostream_ai._reading.polls import FIRST_POLL
from monostream_ai._reading.tail import DOUBT
from monostream_ai._reading.waiting import Wait, Waiters
from monostream_ai.errors import ChunksMissing, ServiceClosed, StreamDeleted
from monostream_ai.interfaces import BackgroundErrors
from monostream_ai.types import Batch, Page, Position

READS_AT_ONCE: Final = 4


class PageRead:
    """One page on its way from the store."""

    def __init__(self, task: asyncio.Task[Page]) -> None:
        self.waiters = Waiters()
        """Woken when the page is there, or cannot be had."""
        self._task = task
        task.add_done_callback(self._finish)

    @property
    def done(self) -> bool:
        return self._task.done()

    def page(self) -> Page:
        """Return the page once it is `done`.

        Raises:
            StoreUnavailable: The store did not answer for too long.
            ServiceClosed: The read was given up.
        """
        if self._task.cancelled():
            raise ServiceClosed
        return self._task.result()

    @cached_property
    def batch(self) -> Batch | None:
        """The payloads of the page, as one object for all readers; None if it has none."""
        page = self.page()
        if page.head is None or not page.payloads:
            return None
        return Batch(page.head.version, page.first, page.payloads)

    def opener_if_final(self, position: Position) -> str | None:
        """Return the opener of the version if the page cannot change, since chunks or the end
        follow it; None if it can, or could not be read.
        """
        if self._task.cancelled() or self._task.exception() is not None:
            return None
        page = self._task.result()
        head = page.head
        if head is None or head.version != position.version or not page.payloads:
            return None
        return head.opener if page.end < head.next_id or head.state == "closed" else None

    async def give_up(self) -> None:
        """Stop reading: readers waiting for the page get `ServiceClosed`."""
        self._task.cancel()
        await asyncio.wait([self._task])

    def _finish(self, task: asyncio.Task[Page]) -> None:
        if not task.cancelled():
            # Perhaps nobody wants a page that was read ahead, or its error: mark it as retrieved.
            task.exception()
        self.waiters.wake()


class PageReads:
    """Reads pages, a few at once.

    Args:
        read: Reads one page from the store.
        patience: Seconds for which an unavailable store is asked again.
    """

    def __init__(
        self,
        read: Callable[[Position], Awaitable[Page]],
        *,
        patience: float,
        on_error: BackgroundErrors,
    ) -> None:
        self._read = read
        self._patience = patience
        self._on_error = on_error
        self._slots = asyncio.Semaphore(READS_AT_ONCE)
        self._reads: dict[Position, PageRead] = {}
        # Pages that cannot change, kept while a reader holds one: the rest of a crowd comes later.
        self._final: WeakValueDictionary[tuple[Position, str], PageRead] = WeakValueDictionary()

    def begin(self, position: Position, opener: str | None = None) -> PageRead:
        """Read a page, or join the read of it that is on its way; it goes on if its readers leave.

        A read that is done is joined only if its page cannot change, and only for the opener of
        its version: any other page may have changed in the store since.
        """
        under_way = self._reads.get(position)
        if under_way is not None and not under_way.done:
            return under_way
        final = None if opener is None else self._final.get((position, opener))
        if final is not None:
            return final
        task = start_task(self._read_patiently(position))
        read = self._reads[position] = PageRead(task)
        task.add_done_callback(lambda _: self._forget(position, read))
        return read

    async def aclose(self) -> None:
        """Give up the reads on their way."""
        await asyncio.gather(*(read.give_up() for read in [*self._reads.values()]))

    def _forget(self, position: Position, read: PageRead) -> None:
        if self._reads.get(position) is read:
            del self._reads[position]
        opener = read.opener_if_final(position)
        if opener is not None:
            self._final[position, opener] = read

    async def _read_patiently(self, position: Position) -> Page:
        async with self._slots:
            return await patiently(
                lambda: self._read(position),
                patience=self._patience,
                on_error=lambda error: self._on_error("read", error),
            )


class ReadAhead:
    """One reader's way through the pages: while it uses one, the next is read."""

    def __init__(self, reads: PageReads) -> None:
        self._reads = reads
        self._next: tuple[Position, PageRead] | None = None
        self.taken: PageRead | None = None
        """The last page, held until the next is taken, or until the reader has caught up."""

    async def batch(self, position: Position, opener: str | None, wait: Wait) -> Batch | None:
        """Return the payloads of the page at this position; None if there is a newer version, or
        the wait was ended.

        Args:
            opener: Of the version, if it is known.

        Raises:
            StreamDeleted: The version was pruned.
            ChunksMissing: Chunks that must be there could not be read for `DOUBT` seconds.
            Interrupted: The wait was interrupted.
        """
        loop = asyncio.get_running_loop()
        deadline = loop.time() + DOUBT
        while True:
            read = self._at(position, opener)
            if not read.done:
                await wait.for_news(read.waiters)
            if not read.done:
                return None
            head, page = read.page().head, read.page()
            self._next = None
            if head is None or position.version is None or head.version > position.version:
                return None
            if head.version == position.version and read.batch is not None:
                if page.end < head.next_id:
                    self._at(position._replace(next_id=page.end), opener)
                self.taken = read
                return read.batch
            if head.state == "pruned":
                raise StreamDeleted(position.stream_id)
            if loop.time() >= deadline:
                raise ChunksMissing(position.stream_id, position.version, position.next_id)
            await asyncio.sleep(FIRST_POLL)

    def forget(self) -> None:
        """Drop the last page, and one that was read ahead and not used."""
        self._next = self.taken = None

    def _at(self, position: Position, opener: str | None) -> PageRead:
        # The same read if the position is asked for again before it is done.
        if self._next is None or self._next[0] != position:
            self._next = position, self._reads.begin(position, opener)
        return self._next[1]
