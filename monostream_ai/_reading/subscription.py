"""Reading a stream: replay, then tail, in order, exactly once."""

from __future__ import annotations

import asyncio
import weakref
from collections import deque
from collections.abc import Awaitable, Callable
from types import TracebackType
from typing import Any, Generic, Literal, Self

from monostream_ai._reading.pages import ReadAhead
from monostream_ai._reading.tail import Tail
from monostream_ai._reading.tailer import Tailer
from monostream_ai._reading.waiting import Interrupted, Wait
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

    It registers with its first read, and ends when the version is closed and everything was
    yielded. The end, an error or `close` unregisters it, and so does dropping it. Cancelling one
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
        tailer: Tailer,
        ready: Callable[[], Awaitable[None]],
        protocol: ChunkProtocol[C],
        stream_id: str,
        *,
        after: Cursor | None,
        timeout: float | None,
        on_superseded: OnSuperseded,
    ) -> None:
        self._tailer = tailer
        self._ready = ready
        self._protocol = protocol
        self._stream_id = stream_id
        self._after = after
        self._timeout = timeout
        self._on_superseded = on_superseded
        self._version: int | None = None if after is None else after.version
        self._next_id = 0 if after is None else after.id + 1
        self._tail: Tail | None = None
        self._fresh_after = 0
        self._detach: weakref.finalize[..., Any] | None = None
        self._buffer: deque[str] = deque()
        self._pages = ReadAhead(tailer.pages)
        self._wait = Wait()
        self._over: BaseException | None = None
        self._reading = False

    def __repr__(self) -> str:
        name = f"{type(self).__name__} {self._stream_id!r}"
        if self._over is not None:
            return f"<{name} over: {type(self._over).__name__}>"
        if self._version is None:
            return f"<{name} waiting>"
        return f"<{name} v{self._version}, {self._yielded} read, {self.behind} behind>"

    @property
    def stream_id(self) -> str:
        return self._stream_id

    @property
    def cursor(self) -> Cursor | None:
        """The cursor of the last chunk yielded: pass it as `after` to go on later.

        None until the subscription has joined a version; id -1 while nothing of that version was
        yielded.
        """
        return None if self._version is None else Cursor(self._version, self._yielded - 1)

    @property
    def waited(self) -> bool:
        """Whether the last read had to wait; if not, the event loop has had no turn since the one
        before.
        """
        return self._wait.taken

    @property
    def behind(self) -> int:
        """How many chunks of the latest version, as far as this process knows it, were not yielded
        yet.
        """
        tail = self._tail
        if tail is None:
            return 0
        yielded = self._next_id - len(self._buffer) if self._version == tail.version else 0
        return max(tail.next_id - yielded, 0)

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> C:
        while not self._buffer:
            self._buffer.extend((await self._next(self._timeout)).payloads)
        # Removed only once it is decoded: an error must not skip a chunk.
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
        """Let the call of `next_batch` that waits return an empty batch, or else the next one that
        would wait.
        """
        self._wait.interrupt()

    def close(self) -> None:
        """End the subscription; reading it afterwards raises `SubscriptionClosed`.

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

    @property
    def _yielded(self) -> int:
        return self._next_id - len(self._buffer)

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

    async def _advance(self) -> Batch:
        if self._tail is None:
            await self._ready()
        while True:
            if self._over is not None:
                raise self._over
            tail = self._tail or self._attach()
            if isinstance(tail.error, StreamDeleted) and self._version is None:
                # Deleted before this reader came: it reads the new stream of that name, or waits.
                self._leave()
                continue
            if tail.error is not None:
                # All readers raise one object; without this, each would lengthen its traceback.
                raise tail.error.with_traceback(None)
            if tail.reads_done < self._fresh_after:
                await self._wait.for_news(tail.newcomers)
                continue
            if tail.version is not None:
                version = self._join(tail, tail.version)
                batch = tail.batch_from(self._next_id)
                if batch is None and self._next_id < tail.next_id:
                    position = Position(self._stream_id, version, self._next_id)
                    batch = await self._pages.batch(position, tail.opener, self._wait)
                if batch is not None:
                    self._next_id += len(batch.payloads)
                    return batch
                if version != tail.version or self._next_id < tail.next_id:
                    continue
                self._judge(tail, version)
            elif self._after is not None:
                raise CursorNotFound(self._stream_id, self._after)
            if self._pages.taken is not None:
                self._pages.forget()
            await self._wait.for_news(tail.waiters)

    def _join(self, tail: Tail, current: int) -> int:
        if self._version is None or self._version < current:
            if self._version is not None and self._version <= tail.deleted_to:
                raise StreamDeleted(self._stream_id)
            if self._version is not None and self._on_superseded == "raise":
                raise Superseded(self._stream_id, self._version, current)
            self._version, self._next_id = current, 0
        elif self._version > current or self._next_id > tail.next_id:
            raise CursorNotFound(self._stream_id, self._after)
        return current

    def _judge(self, tail: Tail, version: int) -> None:
        # Everything stored has been yielded, so the end may be reported.
        if tail.state == "closed":
            raise StopAsyncIteration
        if tail.state == "pruned":
            raise StreamDeleted(self._stream_id)
        if tail.lost:
            raise PublisherLost(self._stream_id, version)

    def _attach(self) -> Tail:
        asked = Position(self._stream_id, self._version, self._next_id)
        tail, self._fresh_after = self._tailer.attach(asked, self)
        # A subscription that is dropped without being closed gives its place back all the same.
        loop = asyncio.get_running_loop()
        self._detach = weakref.finalize(self, _detach, self._tailer, tail, loop)
        self._detach.atexit = False
        self._tail = tail
        return tail

    def _end(self, error: BaseException) -> None:
        if self._over is None:
            self._over = error
        self._leave()

    def _leave(self) -> None:
        tail, self._tail = self._tail, None
        self._pages.forget()
        if self._detach is not None and self._detach.detach() and tail is not None:
            self._tailer.detach(tail)
            # A read of this subscription may be waiting in another task.
            self._wait.end()


def _detach(tailer: Tailer, tail: Tail, loop: asyncio.AbstractEventLoop) -> None:
    # The collector may run this in any thread.
    if not loop.is_closed():
        loop.call_soon_threadsafe(tailer.detach, tail)
