"""Publishing from a program without an event loop."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable
from concurrent.futures import Future
from types import TracebackType
from typing import Any, Self, TypeVar

from monostream_ai._writing.publisher import Publisher
from monostream_ai.connect import create_service
from monostream_ai.errors import MonostreamError, PublisherClosed
from monostream_ai.service import DurableStreamService
from monostream_ai.types import Ending

T = TypeVar("T")


class SyncPublisher:
    """A publisher for sync code: a thread with an event loop of its own does the work. `with` opens
    the version and ends it.

    It ends as a `Publisher` does, with KeyboardInterrupt in the place of a cancellation. A stop
    cannot interrupt the block: the next `write` or `flush`, or else leaving the block, raises
    `StreamStopped` or `Fenced`.

    Args:
        service: A URL as for `create_service`, or a function that makes a service; it is closed
            with the block.
        options: As for `service.publisher`.
    """

    def __init__(
        self, service: str | Callable[[], DurableStreamService[Any]], stream_id: str, **options: Any
    ) -> None:
        self._service = service
        self._stream_id = stream_id
        self._options = options
        self._opened: Future[tuple[Publisher[Any], asyncio.AbstractEventLoop]] = Future()
        self._left: Future[Ending] = Future()
        self._failure: BaseException | None = None
        self._thread = threading.Thread(
            target=lambda: asyncio.run(self._run()), name=f"publisher {stream_id}", daemon=True
        )

    @property
    def stream_id(self) -> str:
        return self._stream_id

    @property
    def version(self) -> int:
        return self.publisher.version

    @property
    def message_id(self) -> str | None:
        return self.publisher.message_id

    def write(self, *chunks: Any) -> int:
        """Store chunks, all or none; return the id of the last one. Raises as `Publisher.write`
        does.
        """
        return self.wait_for(self.publisher.write(*chunks))

    def push(self, *chunks: Any) -> None:
        """Queue chunks without waiting, from any thread; as `Publisher.push`."""
        self.publisher.push(*chunks)

    def flush(self) -> None:
        """Wait until everything written and pushed so far is durable; raise what `write` would."""
        self.wait_for(self.publisher.flush())

    def __enter__(self) -> Self:
        self._thread.start()
        try:
            self._opened.result()
        except BaseException:
            self._left.set_result("abort")
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._left.set_result(
            "finish" if error is None else "error" if isinstance(error, Exception) else "abort"
        )
        self._thread.join()
        if self._failure is not None and error is None:
            raise self._failure

    @property
    def publisher(self) -> Publisher[Any]:
        """The open publisher, which belongs to the thread's loop: only `push` may be called from
        others.

        Raises:
            PublisherClosed: The block was not entered yet, or has been left.
        """
        if not self._opened.done() or self._left.done():
            raise PublisherClosed(self._stream_id, None)
        return self._opened.result()[0]

    def wait_for(self, work: Awaitable[T]) -> T:
        """Await something on the thread's loop. An exception that ends the wait, as
        KeyboardInterrupt does, cancels it.
        """

        async def waiting() -> T:
            return await work

        future = asyncio.run_coroutine_threadsafe(waiting(), self._opened.result()[1])
        try:
            return future.result()
        finally:
            future.cancel()

    async def _run(self) -> None:
        left = asyncio.wrap_future(self._left)
        try:
            async with (
                create_service(self._service)
                if isinstance(self._service, str)
                else self._service() as service
            ):
                await self._publish(service, left)
                # After a stop, the block still talks to the publisher.
                await left
        except BaseException as error:
            self._fail(error)

    async def _publish(
        self, service: DurableStreamService[Any], left: asyncio.Future[Ending]
    ) -> None:
        try:
            async with service.publisher(self._stream_id, **self._options) as pub:
                self._opened.set_result((pub, asyncio.get_running_loop()))
                await pub.close(await asyncio.shield(left))
        except MonostreamError as error:
            self._fail(error)

    def _fail(self, error: BaseException) -> None:
        self._failure = self._failure or error
        if not self._opened.done():
            self._opened.set_exception(error)
