"""Takes over turns whose process died: goes on with them, runs them again, or ends them.

A reader or a new request takes over the turn it meets. One sweep finds the lost turns that nobody
reads, and another the ended ones whose `on_finish` is still due, so neither waits for the other.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any, Final, TypeAlias

from monostream_ai._periodic import start_task, sweeping
from monostream_ai.chats.turns.finishing import Finisher
from monostream_ai.chats.turns.requests import ChatRequest
from monostream_ai.chats.turns.runner import TurnRunner
from monostream_ai.chats.turns.turn import Assignment, may_run_again
from monostream_ai.errors import (
    MASKED_ERROR_TEXT,
    Fenced,
    InvalidArgument,
    NotLost,
    PublisherLost,
    ServiceClosed,
    StreamDeleted,
    StreamStopped,
    VersionConflict,
)
from monostream_ai.service import DurableStreamService
from monostream_ai.types import MAX_VERSION, VersionInfo, WatchedState, log_fields

logger = logging.getLogger(__name__)

AT_ONCE: Final = 50
"""Turns that one sweep handles at a time."""

PAGE_TIMEOUT: Final = 0.2
"""Seconds that a sweep waits for these before it looks for more."""

MAX_WAITS: Final = 3
"""Times that a turn is dispatched again before it ends with an error."""

NO_WORKER: Final = "Nobody has taken this question. Please try again later."

SWEEP_JITTER: Final = (0.5, 1.0)
"""Factors on the pause before a sweep: wide, since all processes look at the same few turns."""


Attend: TypeAlias = Callable[[VersionInfo], Awaitable[None]]


class Takeover:
    """Takes over lost turns. Of all processes that try, exactly one runs or ends a turn.

    Args:
        max_attempts: As for `create_chat_router`.
        goes_on: A further run goes on with the same version, where the lost one broke off. A
            version that no run has begun to write is written in any case.
    """

    def __init__(
        self,
        service: DurableStreamService[Any],
        runner: TurnRunner,
        finisher: Finisher,
        *,
        max_attempts: int,
        goes_on: bool = False,
    ) -> None:
        self._service = service
        self._runner = runner
        self._finisher = finisher
        self._max_attempts = max_attempts
        self._goes_on = goes_on

    async def run_again_or_end(self, turn: VersionInfo) -> bool:
        """Run a lost turn again, or end it; return whether its version has, or soon gets, more
        chunks.
        """
        if not turn.lost:
            # Taken over, or ended. If it was lost once more since, `turn` does not say so.
            return True
        if await self.run_again(turn):
            return self._stays(turn)
        text = NO_WORKER if turn.waiting else MASKED_ERROR_TEXT
        if await self._service.end_lost(turn.stream_id, turn.version, error_text=text):
            _log(turn, "is lost and was ended here")
            self._finisher.begin(turn.stream_id, turn.version)
        return True

    async def run_again(self, lost: VersionInfo) -> bool:
        """Run a lost turn as the next version, or go on with its version, here or elsewhere.

        Returns False if the turn must not run again: it has had all its attempts, no worker has
        come for it, a user pressed stop, no chat router opened it, or its values are refused today
        and an earlier release accepted them.
        """
        attempts_left = lost.attempt == 0 or may_run_again(
            lost.attempt, lost.handovers, self._max_attempts
        )
        workers_left = not lost.waiting or lost.attended < MAX_WAITS
        numbers_left = self._stays(lost) or lost.version < MAX_VERSION
        if not (attempts_left and workers_left and numbers_left) or lost.stop_requested_at:
            return False
        request = await ChatRequest.stored_with(self._service, lost)
        # Earlier releases do not say that a `chat_publisher` opened it, but most have no messages.
        asked = request is not None and request.was_asked and request.messages
        if request is None or not asked or lost.message_id is None:
            return False
        if self._stays(lost):
            again = Assignment.onward(lost, request, lost.message_id, goes_on=self._goes_on)
        else:
            again = Assignment.again(lost, request, lost.message_id)
        try:
            # Of all processes that see the loss, one acquires this version; the store decides.
            await self._runner.start(again)
        except (VersionConflict, NotLost, Fenced, StreamStopped, StreamDeleted):
            _log(lost, "is lost and runs again in another process")
        except InvalidArgument as error:
            logger.error("stream %r cannot run again: %s", lost.stream_id, error)
            return False
        else:
            _log(lost, "is lost and runs again here")
        return True

    def _stays(self, lost: VersionInfo) -> bool:
        """Return whether a further run writes the same version: as a policy, or since no run has
        begun to write it.
        """
        return self._goes_on or lost.waiting or lost.attempt == 0

    async def follow(self, lost: PublisherLost) -> bool:
        """Take over a turn that a response was reading; return whether its version has more chunks
        to come.
        """
        if self._runner.draining:
            # The reader comes back to a process that stays.
            return False
        turn = await self._service.status(lost.stream_id, lost.version)
        return await self.run_again_or_end(turn)

    @asynccontextmanager
    async def sweeping(self, prefix: str, *, every: float) -> AsyncIterator[None]:
        """Handle unattended turns about every `every` seconds, until the block is left.

        Args:
            prefix: Only streams whose id begins with it are looked at.
        """
        async with (
            self._sweeping(prefix, every, "open", self._recover),
            self._sweeping(prefix, every, "closed", self._finish),
        ):
            yield

    @asynccontextmanager
    async def _sweeping(
        self, prefix: str, every: float, state: WatchedState, attend: Attend
    ) -> AsyncIterator[None]:
        sweep = _Sweep(self._service, prefix, state, attend)
        async with sweeping(
            sweep.run,
            every=every,
            # Turns of a process that was killed and started again are waiting already.
            first_after=0.0 if state == "open" else every,
            jitter=SWEEP_JITTER,
            name=f"sweep {prefix} {state}",
            on_error=lambda _, error: self._service._runtime.errors.report("sweep", error),
        ):
            yield
        await sweep.cancel()

    async def _recover(self, lost: VersionInfo) -> None:
        if self._runner.draining:
            return
        if lost.waiting:
            # Its waits are counted, and each keeps the others away.
            await self.run_again_or_end(lost)
        else:
            await self._service.recover(
                lost.stream_id, lost.version, lambda: self.run_again_or_end(lost)
            )

    async def _finish(self, ended: VersionInfo) -> None:
        # Not awaited: the end of the sweep must not cancel it.
        await asyncio.wait([self._finisher.begin(ended.stream_id, ended.version)])


class _Sweep:
    """Hands over all unattended turns of one state, `AT_ONCE` at a time.

    A turn that hangs keeps its place, and a sweep does not wait for the last ones, so that the next
    sweep finds what has become due meanwhile.
    """

    def __init__(
        self, service: DurableStreamService[Any], prefix: str, state: WatchedState, attend: Attend
    ) -> None:
        self._service = service
        self._prefix = prefix
        self._state = state
        self._attend = attend
        self._tasks: set[asyncio.Task[None]] = set()

    async def run(self) -> None:
        seen: set[tuple[str, int]] = set()
        while True:
            if self._service.closing:
                raise ServiceClosed
            turns = await self._service.unattended(
                prefix=self._prefix, limit=AT_ONCE, state=self._state
            )
            # A turn that is listed again was not attended to, or not yet: the next sweep has it.
            fresh = [turn for turn in turns if (turn.stream_id, turn.version) not in seen]
            if fresh:
                logger.debug("a sweep of %r found %d unattended turns", self._prefix, len(fresh))
            for turn in fresh:
                seen.add((turn.stream_id, turn.version))
                await self._hand_over(turn)
            if not fresh or len(turns) < AT_ONCE:
                return
            if self._tasks:
                await asyncio.wait(self._tasks, timeout=PAGE_TIMEOUT)

    async def cancel(self) -> None:
        """Stop waiting for turns that were handed over."""
        for task in self._tasks:
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks)

    async def _hand_over(self, turn: VersionInfo) -> None:
        while len(self._tasks) >= AT_ONCE:
            await asyncio.wait(self._tasks, return_when=asyncio.FIRST_COMPLETED)
        task = start_task(self._handle(turn), name=f"attend {turn.stream_id} {turn.version}")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _handle(self, turn: VersionInfo) -> None:
        try:
            await self._attend(turn)
        # The others must not wait for it. The store counts its attempts.
        except Exception as error:
            logger.warning(
                "stream %r version %d could not be handled: %s",
                turn.stream_id,
                turn.version,
                type(error).__name__,
                extra=log_fields(turn.stream_id, turn.version),
            )


def _log(turn: VersionInfo, event: str) -> None:
    logger.debug(
        "stream %r version %d attempt %d %s",
        turn.stream_id,
        turn.version,
        turn.attempt,
        event,
        extra=log_fields(turn.stream_id, turn.version),
    )
