"""Runs replies: acquires the version of a turn, calls the reply, and drains on shutdown.

Each reply has a task of its own, which no HTTP response owns, so a client that leaves stops
nothing.
"""

from __future__ import annotations

import asyncio
import functools
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from typing import Any, Final, NamedTuple, TypeAlias

from monostream_ai._writing.publisher import Publisher
from monostream_ai.errors import Fenced, StreamStopped
from monostream_ai.fastapi.exit_signals import reloading
from monostream_ai.fastapi.finishing import Finisher
from monostream_ai.fastapi.requests import RequestRefused
from monostream_ai.fastapi.turns import Assignment, ChatTurn
from monostream_ai.service import DurableStreamService
from monostream_ai.types import log_fields
from monostream_ai.ui_messages import Chunk
from monostream_ai.ui_messages.file_hook import FileHook, note_files
from monostream_ai.ui_messages.protocol import note_continued

logger = logging.getLogger(__name__)

RELEASE_TIMEOUT: Final = 5.0
"""Seconds that a cancelled reply gets to release its version."""

Reply: TypeAlias = Callable[[ChatTurn], Awaitable[object]]


class _Start(NamedTuple):
    attempt: int
    opened: asyncio.Future[None]


class TurnRunner:
    """Keeps and awaits the task of each reply.

    Args:
        hook_for: Returns the hook that stores the files of a turn.
        max_silence: Seconds without a chunk after which a reply ends with an error; None for no
            limit.
        max_attempts: Runs of one turn, including the first.
        drain_timeout: Seconds that running replies get when the process exits. Then they are
            cancelled and release their versions, so another process may take over at once. Under a
            reloader, those that have an attempt left are cancelled without a wait.
    """

    def __init__(
        self,
        service: DurableStreamService[Any],
        reply: Reply,
        finisher: Finisher,
        *,
        max_attempts: int,
        hook_for: Callable[[Assignment], FileHook | None],
        max_silence: float | None,
        drain_timeout: float,
    ) -> None:
        self._service = service
        self._reply = reply
        self._finisher = finisher
        self._max_attempts = max_attempts
        self._hook_for = hook_for
        self._max_silence = max_silence
        self._drain_timeout = drain_timeout
        # The event loop holds tasks weakly, so one that nobody else holds may be collected.
        self._tasks: dict[asyncio.Task[None], _Start] = {}
        self._drain: asyncio.Task[None] | None = None

    @property
    def draining(self) -> bool:
        """Whether turns may no longer start here."""
        return self._drain is not None or self._service.closing

    async def start(self, assignment: Assignment) -> None:
        """Acquire the version, store its `start`, and run the reply in a task of its own.

        Returns before the reply begins. The turn goes on if the caller is cancelled.

        Raises:
            VersionConflict: This version or a newer one is taken.
            NotLost: Another process goes on with this version, or has ended it.
            StoreUnavailable: The version could not be acquired.
            RequestRefused: The process is shutting down.
        """
        if self.draining:
            raise RequestRefused(503, "The server is restarting. Please try again.")
        opened: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        # asyncio reports an error that nobody retrieves, and a cancelled caller retrieves none.
        opened.add_done_callback(lambda done: done.cancelled() or done.exception())
        task = asyncio.create_task(
            self._run(assignment, opened), name=f"turn {assignment.stream_id} {assignment.version}"
        )
        self._tasks[task] = _Start(assignment.attempt, opened)
        task.add_done_callback(self._tasks.pop)
        await asyncio.shield(opened)

    def begin_exit(self) -> None:
        """Break responses off and start to drain, without waiting for the server's shutdown.

        A server may wait for a client that does not read, and shut down late.
        """
        self._service.begin_shutdown()
        self._service._clock.ring()
        self._begin_drain()

    async def drain(self) -> None:
        """Let running turns end for `drain_timeout` seconds, then cancel the others.

        Under a reloader, hand them over at once.
        """
        await self._begin_drain()

    def _begin_drain(self) -> asyncio.Task[None]:
        if self._drain is None:
            self._drain = asyncio.create_task(self._end_turns(), name="drain")
        return self._drain

    async def _end_turns(self) -> None:
        if reloading():
            self._hand_over()
        if self._tasks:
            _, left = await asyncio.wait(self._tasks, timeout=self._drain_timeout)
            for task in left:
                task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=RELEASE_TIMEOUT)
        with suppress(TimeoutError):
            async with asyncio.timeout(self._drain_timeout):
                await self._finisher.idle()
        await self._finisher.cancel()

    def _hand_over(self) -> None:
        """Cancel the turns that may run again, each once its version is open."""
        for task, start in self._tasks.items():
            if start.attempt < self._max_attempts:
                start.opened.add_done_callback(functools.partial(_cancel, task))

    async def _run(self, assignment: Assignment, opened: asyncio.Future[None]) -> None:
        fields = log_fields(assignment.stream_id, assignment.version)
        try:
            async with await self._publisher(assignment) as pub:
                if pub.next_id == 0:
                    await pub.write({"type": "start", "messageId": assignment.message_id})
                if assignment.request.continued_message is not None:
                    note_continued(pub, assignment.request.continued_message)
                note_files(pub, self._hook_for(assignment))
                opened.set_result(None)
                async with _silence_limit(pub, self._max_silence):
                    await self._call(ChatTurn(assignment, pub, self._service.chunks))
        except (StreamStopped, Fenced) as ended:
            logger.info("turn ended: %s", ended, extra=fields)
            _fail(opened, ended)
        except Exception as error:
            if not _fail(opened, error):
                logger.exception(
                    "the reply of stream %r version %d failed",
                    assignment.stream_id,
                    assignment.version,
                    extra=fields,
                )
        finally:
            # Frees the caller of `start` if this task is cancelled before the version is open;
            # otherwise does nothing.
            opened.cancel()
        self._finisher.begin(assignment.stream_id, assignment.version)

    async def _call(self, turn: ChatTurn) -> None:
        try:
            returned = await self._reply(turn)
        except asyncio.CancelledError as error:
            task = asyncio.current_task()
            if task is not None and task.cancelling():
                # A drain, or a stop of the version.
                raise
            # Released as if by a drain, the turn would run again, and fail again.
            raise RuntimeError("the reply raised CancelledError, but was not cancelled") from error
        if isinstance(returned, str):
            await turn.pub.flush()
            if turn.pub.next_id <= max(1, len(turn.pub.written)):
                raise TypeError(
                    "the reply returned its text and wrote nothing: "
                    "write it through turn.callback or turn.pub"
                )

    async def _publisher(self, assignment: Assignment) -> Publisher[Chunk]:
        if assignment.goes_on:
            return self._service.successor(
                assignment.stream_id, assignment.version, on_cancel="release"
            )
        # It encodes the request.
        request = assignment.request
        make = functools.partial(
            self._service.publisher,
            assignment.stream_id,
            assignment.version,
            message_id=assignment.message_id,
            owner=assignment.owner,
            attempt=assignment.attempt,
            request=request.body,
            metadata=request.metadata,
            watched=True,
            # Only a drain cancels a turn without ending its version.
            on_cancel="release",
        )
        return await asyncio.to_thread(make) if request.large else make()


@asynccontextmanager
async def _silence_limit(pub: Publisher[Any], seconds: float | None) -> AsyncIterator[None]:
    """Cancel the block and raise `TimeoutError` after one to two times `seconds` without a chunk.

    Comparing ids every `seconds` costs one timer per turn and nothing per chunk.
    """
    if seconds is None:
        yield
        return
    loop = asyncio.get_running_loop()
    timer: asyncio.TimerHandle
    async with asyncio.timeout(None) as limit:

        def look(seen: int) -> None:
            nonlocal timer
            if pub.next_id == seen:
                limit.reschedule(loop.time())
            else:
                timer = loop.call_later(seconds, look, pub.next_id)

        timer = loop.call_later(seconds, look, pub.next_id)
        try:
            yield
        finally:
            timer.cancel()


def _cancel(task: asyncio.Task[None], opened: asyncio.Future[None]) -> None:
    task.cancel()


def _fail(opened: asyncio.Future[None], error: Exception) -> bool:
    """Give the error to the caller of `start`; return False if that call has returned."""
    if opened.done():
        return False
    opened.set_exception(error)
    return True
