"""Hands turns on to workers: opens the version of a turn, leaves it to a successor, and names it to
the queue of the application. No process is needed in between: the version waits in the store.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Any, Final, TypeAlias

from monostream_ai.chats.turns.finishing import Finisher
from monostream_ai.chats.turns.names import TurnRef
from monostream_ai.chats.turns.requests import RequestRefused
from monostream_ai.chats.turns.turn import Assignment
from monostream_ai.chats.turns.writing import new_publisher, write_start
from monostream_ai.errors import NotLost, PublisherError, UnknownStream
from monostream_ai.service import DurableStreamService
from monostream_ai.types import log_fields

logger = logging.getLogger(__name__)

DISPATCH_TIMEOUT: Final = 30.0

CALLS_PER_TIMEOUT: Final = 3
"""A call of `dispatch` is over long before the turn would be dispatched again."""

NOT_QUEUED: Final = "The question could not be handed on. Please try again."

Dispatch: TypeAlias = Callable[[str], Awaitable[object]]
"""Puts the name of a turn into a queue, whose workers pass it to `run_turn`."""


class Dispatcher:
    """Leaves turns to workers, in the task that calls it.

    Args:
        timeout: Seconds that a turn waits for a worker before it is dispatched again.
    """

    def __init__(
        self,
        service: DurableStreamService[Any],
        dispatch: Dispatch,
        finisher: Finisher,
        *,
        timeout: float,
    ) -> None:
        self._service = service
        self._dispatch = dispatch
        self._finisher = finisher
        self._timeout = timeout

    async def write(self, assignment: Assignment, opened: asyncio.Future[None]) -> None:
        """Let a version wait for a worker, and dispatch it.

        Args:
            opened: Done once the turn is in the queue; gets the error if it is not, or if another
                process has the version.
        """
        try:
            await self._leave(assignment)
            await self._hand_on(assignment)
        except Exception as error:
            opened.set_exception(error)
        else:
            opened.set_result(None)
        finally:
            # Frees a waiting caller if this task is cancelled; otherwise does nothing.
            opened.cancel()

    async def _leave(self, assignment: Assignment) -> None:
        stream_id, version = assignment.stream_id, assignment.version
        if assignment.exists:
            if not await self._service.leave_lost(stream_id, version, within=self._timeout):
                raise NotLost(stream_id, version)
            return
        # `attempt` counts runs, and this one is the worker's.
        async with await new_publisher(
            self._service, assignment, attempt=assignment.attempt - 1
        ) as pub:
            await write_start(pub, assignment)
            await pub.leave(within=self._timeout)

    async def _hand_on(self, assignment: Assignment) -> None:
        try:
            async with asyncio.timeout(self._timeout / CALLS_PER_TIMEOUT):
                await self._dispatch(str(TurnRef(assignment.stream_id, assignment.version)))
        # Whatever a queue raises. A turn that is not new is dispatched again when its time is over.
        except Exception as error:
            logger.error(
                "stream %r version %d could not be dispatched",
                assignment.stream_id,
                assignment.version,
                exc_info=error,
                extra=log_fields(assignment.stream_id, assignment.version),
            )
            if assignment.attempt == 1 and not assignment.exists:
                await self._refuse(assignment)

    async def _refuse(self, assignment: Assignment) -> None:
        """End a turn whose question is not in the queue, unless a worker has it all the same."""
        stream_id, version = assignment.stream_id, assignment.version
        try:
            async with self._service.successor(stream_id, version, attempt=1) as pub:
                await pub.close("error", error_text=NOT_QUEUED)
        except (PublisherError, UnknownStream):
            return
        self._finisher.begin(stream_id, version)
        raise RequestRefused(503, NOT_QUEUED)
