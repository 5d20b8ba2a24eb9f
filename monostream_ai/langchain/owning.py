"""A callback handler that needs no publisher's block around the run.

It opens a version of its stream when a root run begins, and ends that version with the run.
"""

from __future__ import annotations

import asyncio
import logging
import threading
import weakref
from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import partial
from typing import Any
from uuid import UUID

from monostream_ai._writing.publisher import Publisher
from monostream_ai.errors import Fenced, StreamStopped
from monostream_ai.langchain.handler import Event, StreamCallbackHandler
from monostream_ai.service import DurableStreamService
from monostream_ai.types import Ending
from monostream_ai.ui_messages import Chunk
from monostream_ai.ui_messages.size_limit import push_fitting

logger = logging.getLogger(__name__)


class OwningCallbackHandler(StreamCallbackHandler):
    """Records each root run as its own version, the next one of the stream. Safe from any thread.

    Prefer a publisher's block with `StreamCallbackHandler`: it also ends the version of a run that
    is cancelled without a callback. Here such a run (a bare `model.ainvoke`) is aborted when its
    task has ended, or else when this handler is closed or collected. Also, a `stop` of the stream
    does not cancel the run; its later chunks are dropped. A run that begins while a root run is
    open belongs to that one.

    Args:
        service: Create the handler on the loop that the service runs on.
        opening: Options for `service.publisher`, the same for each version.
        options: As for `StreamCallbackHandler`.

    Raises:
        RuntimeError: No event loop runs here. Use `SyncPublisher` in a program without one.
        TypeError, InvalidArgument: An argument is none that works, such as a publisher in place of
            a service, or a stream id that no store can hold.
    """

    def __init__(
        self,
        service: DurableStreamService[Any],
        stream_id: str,
        *,
        opening: Mapping[str, Any] | None = None,
        **options: Any,
    ) -> None:
        if not isinstance(service, DurableStreamService):
            raise TypeError(
                f"OwningCallbackHandler needs a service, not {type(service).__name__}: "
                "to record to a publisher, use StreamCallbackHandler"
            )
        super().__init__(_Nowhere(), **options)
        self._loop = asyncio.get_running_loop()
        self._stream_id = stream_id
        self._new_publisher = partial(service.publisher, stream_id, **(opening or {}))
        # LangChain would only log the error of a run that begins.
        self._new_publisher()
        self._root: UUID | None = None
        self._stream: _OwnedStream | None = None
        self._finalizer: weakref.finalize[..., Any] | None = None

    def __repr__(self) -> str:
        state = "idle" if self._root is None else "recording"
        return f"<OwningCallbackHandler of {self._stream_id!r} {state}>"

    async def aclose(self) -> None:
        """Abort the open version, and wait until the last version has ended.

        Raises:
            MonostreamError: The version could not be stored.
        """
        if self._stream is not None:
            self._stream.end("abort")
            await self._stream.wait()

    def _take(self, event: Event) -> None:
        if event.starts and self._root is None:
            self._begin(event.run_id)
        try:
            super()._take(event)
        finally:
            if event.ends and event.run_id == self._root:
                self._finish(event.error)

    def _begin(self, run_id: UUID) -> None:
        self._root = run_id
        stream = self._stream = _OwnedStream(self._new_publisher(), self._loop)
        self._begin_message(stream)
        self._finalizer = weakref.finalize(self, stream.end, "abort")
        self._finalizer.atexit = False
        if (task := _current_task()) is not None:
            task.add_done_callback(lambda done: _abort_after(done, stream))

    def _finish(self, error: BaseException | None) -> None:
        self._root = None
        if self._stream is not None:
            self._stream.end(_ending(error))
        if self._finalizer is not None:
            self._finalizer.detach()


class _OwnedStream:
    """A version that belongs to a run instead of a block.

    Takes chunks from any thread. Opening and ending happen in a task on the service's loop.
    """

    def __init__(self, publisher: Publisher[Chunk], loop: asyncio.AbstractEventLoop) -> None:
        self._publisher = publisher
        self._loop = loop
        # Guards the three fields below: runs push from their threads, the loop opens and ends.
        self._lock = threading.Lock()
        self._open = False
        self._over = False
        # Pushes made before the version is open. They cannot pile up forever: `open` fails after
        # the outage timeout if the store does not answer.
        self._early: list[Callable[[], None]] = []
        self._ending: asyncio.Future[Ending] = loop.create_future()
        self._task: asyncio.Task[None] | None = None
        self._call(self._start)

    @property
    def message_id(self) -> str | None:
        return self._publisher.message_id

    @property
    def _adapter_state(self) -> dict[type[Any], Any]:
        return self._publisher._adapter_state

    @property
    def _before_end(self) -> dict[type[Any], Callable[[Publisher[Chunk], Ending], None]]:
        return self._publisher._before_end

    @property
    def _count_unread(self) -> Callable[[str], None]:
        return self._publisher._count_unread

    def push(self, *chunks: Chunk) -> None:
        self._push(lambda: self._publisher.push(*chunks), partial(self._push_fitting, chunks))

    def _push_later(self, make: Callable[[], Awaitable[Sequence[Chunk]]], **options: Any) -> None:
        push = partial(self._publisher._push_later, make, **options)
        self._push(push, push)

    def _push(self, now: Callable[[], None], early: Callable[[], None]) -> None:
        with self._lock:
            if self._over:
                return
            if self._open:
                now()
            else:
                self._early.append(early)

    def _push_fitting(self, chunks: Sequence[Chunk]) -> None:
        # Before the version was open, nobody could say whether they fit.
        push_fitting(self._publisher, [*chunks])

    def end(self, ending: Ending) -> None:
        """End the version. Only the first call counts."""
        self._call(lambda: self._resolve(ending))

    async def wait(self) -> None:
        """Wait until the version has ended, and raise the error if it could not be stored."""
        # Calls handed to the loop before this one have run after one turn of it.
        await asyncio.sleep(0)
        if self._task is not None:
            await asyncio.wait([self._task])
            self._task.result()

    def _start(self) -> None:
        self._task = asyncio.create_task(self._write(), name=f"stream {self._publisher.stream_id}")

    def _resolve(self, ending: Ending) -> None:
        if not self._ending.done():
            self._ending.set_result(ending)

    async def _write(self) -> None:
        try:
            async with self._publisher as pub:
                with self._lock:
                    # Under the lock, so that no later push can overtake the early chunks.
                    for push in self._early:
                        push()
                    self._open = True
                await pub.close(await self._ending)
        except (StreamStopped, Fenced) as ended:
            logger.info("the stream of a run has ended: %s", ended)
        finally:
            with self._lock:
                self._over = True
                self._early.clear()

    def _call(self, function: Callable[[], None]) -> None:
        try:
            self._loop.call_soon_threadsafe(function)
        except RuntimeError:
            # The loop is closed. The service was closed before it and released the open version.
            logger.debug("the loop of stream %r is closed", self._publisher.stream_id)


class _Nowhere:
    """Placeholder sink until the first root run begins."""

    message_id = None

    def push(self, *chunks: Chunk) -> None:
        pass


def _ending(error: BaseException | None) -> Ending:
    if error is None:
        return "finish"
    return "error" if isinstance(error, Exception) else "abort"


def _abort_after(task: asyncio.Task[Any], stream: _OwnedStream) -> None:
    # After a success the run may still go on in other tasks, which report its end.
    if task.cancelled() or task.exception() is not None:
        stream.end("abort")


def _current_task() -> asyncio.Task[Any] | None:
    try:
        return asyncio.current_task()
    except RuntimeError:
        # This thread runs no loop.
        return None
