"""Reading a stream: replay, then tail, in order, exactly once."""

from __future__ import annotations

import asyncio
import weakref
from collections import deque
from types import TracebackType
from typing import Any, Generic, Literal, Self

from monostream_ai._reading.pages import ReadAhead
from monostream_ai._reading.tail import Feed
from monostream_ai._reading.tailer import Hub
from monostream_ai._reading.waiting import Interrupted, Wait
from monostream_ai._runtime import Machinery
from monostream_ai.errors import (
    CursorNotFound,
    PublisherLost,
    StreamDeleted,
    SubscriptionClosed,
    SubscriptionTimeout,
    Superseded,
)
from monostream_ai.protocol import C, ChunkProtocol
from monostream_ai.types import Batch, Cursor, Position

OnSuperseded = Literal["follow", "raise"]


class Subscription(Generic[C]):
    """An async iterator over the chunks of a stream's latest version; made by `service.subscribe`.

    It registers with its first read, ends when the version is closed and everything was yielded,
    and is given back by `close`, by the end, by an error, or by being dropped. Cancelling one
    `anext` (or a timeout around it) loses nothing: the next one goes on.

    Raises (from `anext` and `next_batch`):
        PublisherLost: The publisher's lease ran out; everything stored was yielded.
        Superseded: A newer version was opened, and `on_superseded` is `"raise"`.
        SubscriptionTimeout: No chunk came for `timeout` seconds. The subscription goes on if it is
            read again.
        CursorNotFound: `after` names a chunk that the stream does not have.
        StreamDeleted: The stream was deleted or pruned.
        ChunksMissing: A chunk that must exist could not be read.
        StoreUnavailable: The store did not answer for longer than the service's outage timeout.
        ServiceClosed: The service was closed.
    """

    def __init__(
        self,
        machinery: Machinery,
        protocol: ChunkProtocol[C],
        stream_id: str,
        *,
        after: Cursor | None,
        timeout: float | None,
        on_superseded: OnSuperseded,
    ) -> None:
        self._machinery = machinery
        self._protocol = protocol
        self._stream_id = stream_id
        self._after = after
        self._timeout = timeout
        self._on_superseded = on_superseded
        self._version: int | None = None if after is None else after.version
        self._next_id = 0 if after is None else after.id + 1
        self._feed: Feed | None = None
        self._fresh_after = 0
        self._detach: weakref.finalize[..., Any] | None = None
        self._buffer: deque[str] = deque()
        self._pages = ReadAhead(machinery.hub.pages)
        self._wait = Wait()
        self._over: BaseException | None = None
        self._reading = False

    @property
    def stream_id(self) -> str:
        return self._stream_id

    @property
    def cursor(self) -> Cursor | None:
        """The cursor of the last chunk yielded: pass it as `after` to go on later.

        None until the subscription has joined a version; id -1 while nothing of that version was
        yielded.
        """
        return (
            None
            if self._version is None
            else Cursor(self._version, self._next_id - len(self._buffer) - 1)
        )

    @property
    def waited(self) -> bool:
        """Whether the last read had to wait; if not, the event loop has had no turn since the one
        before.
        """
        return self._wait.taken

    @property
    def behind(self) -> int:
        """How many chunks this process knows to be stored in the latest version that were not
        yielded yet.
        """
        feed = self._feed
        if feed is None:
            return 0
        yielded = self._next_id - len(self._buffer) if self._version == feed.version else 0
        return max(feed.next_id - yielded, 0)

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> C:
        while not self._buffer:
            self._buffer.extend((await self._next(self._timeout)).payloads)
        chunk = self._protocol.decode(self._buffer[0])
        self._buffer.popleft()
        return chunk

    async def next_batch(self, timeout: float | None = None) -> Batch:
        """Return the payloads that are ready, waiting for the first of them; nothing is decoded.

        Args:
            timeout: Seconds to wait before an empty batch is returned; None waits without bound.

        Raises:
            StopAsyncIteration: The version is closed and everything was yielded.
        """
        if self._buffer:
            payloads = list(self._buffer)
            self._buffer.clear()
            return Batch(self._version or 0, self._next_id - len(payloads), payloads)
        try:
            return await self._next(timeout)
        except SubscriptionTimeout:
            return Batch(self._version or 0, self._next_id, [])

    def interrupt(self) -> None:
        """Let `next_batch` return an empty batch: the one that waits, or the next one that would."""
        self._wait.interrupt()

    def close(self) -> None:
        """Give the subscription back; reading it afterwards raises `SubscriptionClosed`.
        Idempotent, never waits.
        """
        self._buffer.clear()
        self._end(SubscriptionClosed(self._stream_id))

    async def aclose(self) -> None:
        """As `close`."""
        self.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    async def _next(self, timeout: float | None) -> Batch:
        if self._over is not None:
            raise self._over.with_traceback(None)
        if self._reading:
            raise SubscriptionClosed(self._stream_id, "is being read by another task")
        self._reading = True
        self._wait.taken = False
        try:
            if timeout is None:
                return await self._advance()
            async with asyncio.timeout(timeout):
                return await self._advance()
        except Interrupted:
            return Batch(self._version or 0, self._next_id, [])
        except TimeoutError as error:
            if timeout is None:
                raise
            raise SubscriptionTimeout(self._stream_id, timeout) from error
        except asyncio.CancelledError:
            raise
        except BaseException as error:
            self._end(error)
            raise
        finally:
            self._reading = False

    def _attached(self) -> Feed:
        if self._feed is None:
            self._feed, self._fresh_after = self._machinery.hub.attach(
                Position(self._stream_id, self._version, self._next_id)
            )
            self._detach = weakref.finalize(
                self, _detach, self._machinery.hub, self._feed, asyncio.get_running_loop()
            )
            self._detach.atexit = False
            self._machinery.note_reader(self)
        return self._feed

    def _end(self, error: BaseException) -> None:
        if self._over is None:
            self._over = error
        self._leave()

    def _leave(self) -> None:
        feed, self._feed = self._feed, None
        self._pages.forget()
        if self._detach is not None and self._detach.detach() and feed is not None:
            self._machinery.hub.detach(feed)
            # A read of ours may be waiting in another task.
            self._wait.end()

    async def _advance(self) -> Batch:
        if self._feed is None:
            await self._machinery.ready()
        while True:
            if self._over is not None:
                raise self._over
            feed = self._attached()
            if isinstance(feed.error, StreamDeleted) and self._version is None:
                # Deleted before this reader came: it reads what was begun since, or waits for it.
                self._leave()
                continue
            if feed.error is not None:
                # One object for all readers: without this, each would add its frames to it.
                raise feed.error.with_traceback(None)
            if feed.reads_done < self._fresh_after:
                await self._wait.for_news(feed.newcomers)
                continue
            if feed.version is not None:
                version = self._join(feed, feed.version)
                batch = feed.batch_from(self._next_id)
                if batch is None and self._next_id < feed.next_id:
                    batch = await self._pages.batch(
                        Position(self._stream_id, version, self._next_id), self._wait
                    )
                if batch is not None:
                    self._next_id += len(batch.payloads)
                    return batch
                if version != feed.version or self._next_id < feed.next_id:
                    continue
                self._judge(feed, version)
            elif self._after is not None:
                raise CursorNotFound(self._stream_id, self._after)
            await self._wait.for_news(feed.waiters)

    def _join(self, feed: Feed, current: int) -> int:
        if self._version is None or self._version < current:
            if self._version is not None and self._on_superseded == "raise":
                raise Superseded(self._stream_id, self._version, current)
            self._version, self._next_id = current, 0
        elif self._version > current or self._next_id > feed.next_id:
            raise CursorNotFound(self._stream_id, self._after)
        return current

    def _judge(self, feed: Feed, version: int) -> None:
        # Everything stored has been yielded: only now may the end be told.
        if feed.state == "closed":
            raise StopAsyncIteration
        if feed.state == "pruned":
            raise StreamDeleted(self._stream_id)
        if feed.lost:
            raise PublisherLost(self._stream_id, version)


def _detach(hub: Hub, feed: Feed, loop: asyncio.AbstractEventLoop) -> None:
    # The collector may run this in any thread.
    if not loop.is_closed():
        loop.call_soon_threadsafe(hub.detach, feed)
