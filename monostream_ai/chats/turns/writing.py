"""Writes one turn: takes its version, calls the reply, and ends the version."""

from __future__ import annotations

import asyncio
import functools
import logging
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import ExitStack, asynccontextmanager, contextmanager
from typing import Any

from monostream_ai._writing.publisher import Publisher
from monostream_ai.chats.turns.finishing import Finisher
from monostream_ai.chats.turns.replies import ChatReplies
from monostream_ai.chats.turns.tracing import attempt_traced
from monostream_ai.chats.turns.turn import Assignment, ChatTurn
from monostream_ai.errors import Fenced, PublisherClosed, StreamDeleted, StreamStopped
from monostream_ai.service import DurableStreamService
from monostream_ai.types import log_fields
from monostream_ai.ui_messages import Chunk
from monostream_ai.ui_messages.file_hook import FileHook, note_files
from monostream_ai.ui_messages.protocol import note_continued

logger = logging.getLogger(__name__)


class TurnWriter:
    """Writes turns in the task that calls it.

    Args:
        hook_for: Returns the hook that stores the files of a turn.
    """

    def __init__(
        self,
        service: DurableStreamService[Any],
        replies: ChatReplies,
        finisher: Finisher,
        hook_for: Callable[[Assignment], FileHook | None],
    ) -> None:
        self._service = service
        self._replies = replies
        self._finisher = finisher
        self._hook_for = hook_for

    async def write(self, assignment: Assignment, opened: asyncio.Future[None]) -> None:
        """Write a turn, and begin to finish it.

        Args:
            opened: Done once the version is open and has its `start`; gets an error that comes
                before. A later one ends the turn and is logged.
        """
        with errors_told(assignment, opened), ExitStack() as trace:
            async with await self._publisher(assignment) as pub:
                trace.enter_context(attempt_traced(self._service, assignment, pub))
                await write_start(pub, assignment)
                continued = assignment.request.continued_message
                if continued is not None:
                    note_continued(pub, continued)
                note_files(pub, self._hook_for(assignment))
                opened.set_result(None)
                async with _silence_limit(pub, self._replies.max_silence):
                    turn = ChatTurn(assignment, pub, self._service)
                    if assignment.goes_on:
                        await turn.written.prepare()
                    await self._call(turn, continues=continued is not None)
        self._finisher.begin(assignment.stream_id, assignment.version)

    async def _call(self, turn: ChatTurn, *, continues: bool) -> None:
        try:
            returned = await self._replies.reply(turn)
        except asyncio.CancelledError as error:
            task = asyncio.current_task()
            if task is not None and task.cancelling():
                # A drain, or a stop of the version.
                raise
            # Released as if by a drain, the turn would run again, and fail again.
            raise RuntimeError("the reply raised CancelledError, but was not cancelled") from error
        wrote = await self._wrote(turn)
        if isinstance(returned, str) and not wrote:
            raise TypeError(
                "the reply returned its text and wrote nothing: "
                "write it through turn.callback or turn.pub"
            )
        # The rest of an answer may well be empty: a user has denied a call, or all was written.
        if not (wrote or continues or turn.written):
            logger.warning(
                "the reply of stream %r version %d wrote nothing: give turn.callback to the model, "
                "or write through turn.pub",
                turn.stream_id,
                turn.version,
                extra=log_fields(turn.stream_id, turn.version),
            )

    async def _wrote(self, turn: ChatTurn) -> bool:
        """Whether a reply that has returned wrote more than the `start` of its answer."""
        before = max(1, len(turn.pub.written))
        if turn.pub.next_id <= before:
            try:
                # Chunks that were pushed may not be stored yet.
                await turn.pub.flush()
            except PublisherClosed:
                # The reply has released its turn, so that another process goes on with it.
                return True
        return turn.pub.next_id > before

    async def _publisher(self, assignment: Assignment) -> Publisher[Chunk]:
        if not assignment.exists:
            return await new_publisher(self._service, assignment, attempt=assignment.attempt)
        return self._service.successor(
            assignment.stream_id,
            assignment.version,
            attempt=assignment.attempt,
            on_cancel="release",
        )


async def new_publisher(
    service: DurableStreamService[Any], assignment: Assignment, *, attempt: int
) -> Publisher[Chunk]:
    """Return the publisher of a new version, which holds the request."""
    # It encodes the request.
    request = assignment.request
    make = functools.partial(
        service.publisher,
        assignment.stream_id,
        assignment.version,
        message_id=assignment.message_id,
        owner=assignment.owner,
        attempt=attempt,
        handovers=assignment.handovers,
        repeats=assignment.attempt > 1,
        request=request.body,
        metadata=assignment.metadata,
        watched=True,
        # Only a drain cancels a turn without ending its version.
        on_cancel="release",
    )
    return await asyncio.to_thread(make) if request.large else make()


async def write_start(pub: Publisher[Chunk], assignment: Assignment) -> None:
    """Write the first chunk, unless it is there."""
    if pub.next_id == 0:
        await pub.write({"type": "start", "messageId": assignment.message_id})


@contextmanager
def errors_told(assignment: Assignment, opened: asyncio.Future[None]) -> Iterator[None]:
    """Give an error of the block to the caller that waits for `opened`, and log a later one."""
    fields = log_fields(assignment.stream_id, assignment.version)
    try:
        yield
    except (StreamStopped, StreamDeleted, Fenced) as ended:
        logger.info("turn ended: %s", ended, extra=fields)
        fail(opened, ended)
    except Exception as error:
        if not fail(opened, error):
            logger.exception(
                "the reply of stream %r version %d failed",
                assignment.stream_id,
                assignment.version,
                extra=fields,
            )
    finally:
        # Frees a waiting caller if this task is cancelled before the version is open; otherwise
        # does nothing.
        opened.cancel()


def fail(opened: asyncio.Future[None], error: Exception) -> bool:
    """Give the error to the caller that waits for `opened`; return False if nobody waits."""
    if opened.done():
        return False
    opened.set_exception(error)
    return True


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
