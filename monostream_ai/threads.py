"""Publishes from programs without an event loop."""

from __future__ import annotations

import asyncio
import inspect
import threading
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import Future
from types import TracebackType
from typing import Any, Final, Self, TypeVar

from monostream_ai._writing.publisher import Publisher
from monostream_ai.connect import create_service
from monostream_ai.errors import MonostreamError, PublisherClosed, WrongEventLoop
from monostream_ai.protocol import Notes
from monostream_ai.service import DurableStreamService
from monostream_ai.types import Ending

T = TypeVar("T")

UNKNOWN: Final = "?"
"""Stands for the id of a stream that only its publisher knows."""


class SyncPublisher:
    """A publisher for sync code; a `with` block opens the version and ends it.

    A thread with its own event loop does the work. The version ends as with `Publisher`;
    KeyboardInterrupt counts as a cancellation. A stop cannot interrupt the block: the next `write`
    or `flush`, or the end of the block, raises `StreamStopped` or `Fenced`.

        SyncPublisher(URL, lambda service: chat_publisher(service, "c1", owner="ada"))

    Args:
        service: A URL as for `create_service`, or a function that returns a new service. The
            service is closed after the block.
        stream_id: The id of a stream, or a function that takes the service and returns a publisher
            of it, such as that of a chat.
        options: As for `service.publisher`, with the id of a stream.

    Raises:
        TypeError: `service` is neither, such as a service that is already made, or there are
            options beside a function.
    """

    def __init__(
        self,
        service: str | Callable[[], DurableStreamService[Any]],
        stream_id: str | Callable[[DurableStreamService[Any]], Publisher[Any]],
        **options: Any,
    ) -> None:
        if not isinstance(service, str) and (
            not callable(service) or inspect.iscoroutinefunction(service)
        ):
            raise TypeError(
                f"SyncPublisher needs a URL, or a function that returns a new service, not "
                f"{service!r:.80}"
            )
        self._service = service
        self._make: Callable[[DurableStreamService[Any]], Publisher[Any]]
        if callable(stream_id):
            if options:
                names = ", ".join(options)
                raise TypeError(f"give {names} to the publisher that the function makes")
            self._make, self._stream_id = stream_id, UNKNOWN
        else:
            self._make = lambda service: service.publisher(stream_id, **options)
            self._stream_id = stream_id
        self._opened: Future[tuple[Publisher[Any], asyncio.AbstractEventLoop]] = Future()
        self._left: Future[Ending] = Future()
        # Written by the thread, and read by the block only after `join`, so it needs no lock.
        self._failure: BaseException | None = None
        self._thread = threading.Thread(
            target=lambda: asyncio.run(self._run()),
            name=f"publisher {self._stream_id}",
            daemon=True,
        )

    def __repr__(self) -> str:
        if not self._opened.done():
            return f"<SyncPublisher {self._stream_id!r} not open>"
        if self._opened.exception() is not None:
            return f"<SyncPublisher {self._stream_id!r} failed>"
        pub, _ = self._opened.result()
        state = "closed" if self._left.done() or pub.closed else "open"
        return f"<SyncPublisher {self._stream_id!r} v{pub.version} {state}>"

    @property
    def stream_id(self) -> str:
        """`?` before the block, if a function makes the publisher."""
        return self._stream_id

    @property
    def version(self) -> int:
        return self.publisher.version

    @property
    def message_id(self) -> str | None:
        return self.publisher.message_id

    def write(self, *chunks: Any) -> int:
        """Store chunks, all or none, and return the id of the last one.

        Raises the errors of `Publisher.write`.
        """
        return self.wait_for(self.publisher.write(*chunks))

    def push(self, *chunks: Any) -> None:
        """Queue chunks without waiting; may be called from any thread, like `Publisher.push`."""
        self.publisher.push(*chunks)

    def _push_later(self, make: Callable[[], Awaitable[Sequence[Any]]], **options: Any) -> None:
        self.publisher._push_later(make, **options)

    def flush(self) -> None:
        """Wait until all chunks so far, pushed ones too, are durable; raise as `write`."""
        self.wait_for(self.publisher.flush())

    def __enter__(self) -> Self:
        if self._thread.ident is not None:
            raise RuntimeError(
                f"{self!r} was entered before: make a new SyncPublisher for each version"
            )
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
        """The open publisher. Only its `push` may be called from other threads.

        Raises:
            PublisherClosed: The `with` block has not begun, or has ended.
        """
        if not self._opened.done() or self._left.done():
            raise PublisherClosed(self._stream_id, None)
        return self._opened.result()[0]

    def _check_open(self) -> None:
        self.publisher._check_open()

    @property
    def _adapter_state(self) -> dict[type[Any], Any]:
        return self.publisher._adapter_state

    @property
    def _notes(self) -> Notes[Any] | None:
        return self.publisher._notes

    @property
    def _before_end(self) -> dict[type[Any], Callable[[Publisher[Any], Ending], None]]:
        return self.publisher._before_end

    @property
    def _count_unread(self) -> Callable[[str], None]:
        return self.publisher._count_unread

    def wait_for(self, work: Awaitable[T]) -> T:
        """Await `work` on the thread's loop, and return its result.

        If an exception such as KeyboardInterrupt ends the wait, `work` is cancelled.

        Raises:
            WrongEventLoop: This is that thread, which would wait for itself.
        """
        if threading.current_thread() is self._thread:
            if inspect.iscoroutine(work):
                work.close()
            raise WrongEventLoop

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
                else _made_by(self._service) as service
            ):
                await self._publish(service, left)
                # A stop ends the version before the block, which still calls the publisher. So the
                # loop must run until the block has ended.
                await left
        except BaseException as error:
            self._fail(error)

    async def _publish(
        self, service: DurableStreamService[Any], left: asyncio.Future[Ending]
    ) -> None:
        try:
            pub = self._make(service)
            opening: asyncio.Future[Any] = asyncio.create_task(pub.open())
            await asyncio.wait([opening, left], return_when=asyncio.FIRST_COMPLETED)
            if not opening.done():
                # It may wait for long, and the program has been interrupted meanwhile.
                opening.cancel()
                await asyncio.wait([opening])
                return
            await opening
            async with pub:
                self._stream_id = pub.stream_id
                self._opened.set_result((pub, asyncio.get_running_loop()))
                await pub.close(await asyncio.shield(left))
        except MonostreamError as error:
            self._fail(error)

    def _fail(self, error: BaseException) -> None:
        self._failure = self._failure or error
        if not self._opened.done():
            self._opened.set_exception(error)


def _made_by(function: Callable[[], DurableStreamService[Any]]) -> DurableStreamService[Any]:
    service = function()
    if not isinstance(service, DurableStreamService):
        raise TypeError(f"the function for SyncPublisher returned {type(service).__name__}")
    return service
