"""A handler that needs no block around the run: it opens a version when a run begins, and ends it
when that run ends.
"""

from __future__ import annotations

import asyncio
import weakref
from collections.abc import Mapping
from functools import partial
from typing import Any
from uuid import UUID

from monostream_ai.langchain.handler import Event, StreamCallbackHandler
from monostream_ai.langchain.owned_stream import OwnedStream
from monostream_ai.service import DurableStreamService
from monostream_ai.types import Ending
from monostream_ai.ui_messages import Chunk


class OwningCallbackHandler(StreamCallbackHandler):
    """Records each root run as a version of its own, the next one of the stream. Safe from any
    thread.

    Prefer a publisher's block with `StreamCallbackHandler`, which also ends what LangChain leaves
    without a callback. Here a run that is cancelled in silence (a bare `model.ainvoke`) is aborted
    when its task has ended, or else when this handler is closed or collected; and a `stop` of the
    stream does not cancel the run, whose later chunks are dropped. A run that begins while a root
    run is open belongs to that one.

    Args:
        service: Make the handler on its loop.
        opening: Options for `service.publisher`, the same for each version.
        options: As for `StreamCallbackHandler`.

    Raises:
        RuntimeError: No event loop runs here. Use `SyncPublisher` in a program without one.
    """

    def __init__(
        self,
        service: DurableStreamService[Any],
        stream_id: str,
        *,
        opening: Mapping[str, Any] | None = None,
        **options: Any,
    ) -> None:
        super().__init__(_Nowhere(), **options)
        self._loop = asyncio.get_running_loop()
        self._new_publisher = partial(service.publisher, stream_id, **(opening or {}))
        self._root: UUID | None = None
        self._stream: OwnedStream | None = None
        self._finalizer: weakref.finalize[..., Any] | None = None

    async def aclose(self) -> None:
        """Abort what is still open, and wait until the last version has ended.

        Raises:
            MonostreamError: What kept the version from being stored.
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
                self._end(event.error)

    def _begin(self, run_id: UUID) -> None:
        self._root = run_id
        stream = self._stream = OwnedStream(self._new_publisher(), self._loop)
        self._begin_message(stream)
        self._finalizer = weakref.finalize(self, stream.end, "abort")
        self._finalizer.atexit = False
        if (task := _current_task()) is not None:
            task.add_done_callback(lambda done: _abort_after(done, stream))

    def _end(self, error: BaseException | None) -> None:
        self._root = None
        if self._stream is not None:
            self._stream.end(_ending(error))
        if self._finalizer is not None:
            self._finalizer.detach()


class _Nowhere:
    """Takes what no root run says, which is nothing."""

    message_id = None

    def push(self, *chunks: Chunk) -> None:
        pass


def _ending(error: BaseException | None) -> Ending:
    if error is None:
        return "finish"
    return "error" if isinstance(error, Exception) else "abort"


def _abort_after(task: asyncio.Task[Any], stream: OwnedStream) -> None:
    # A task that succeeded may have left the run to others, who report its end.
    if task.cancelled() or task.exception() is not None:
        stream.end("abort")


def _current_task() -> asyncio.Task[Any] | None:
    try:
        return asyncio.current_task()
    except RuntimeError:
        # In a thread.
        return None
