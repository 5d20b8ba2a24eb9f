"""Takes over turns whose process died: runs them again, or ends them with an error.

A reader or a new request takes over the turn it meets. A sweep finds the turns that nobody reads,
and the ended ones whose `on_finish` is still due.
"""

from __future__ import annotations

import asyncio
import logging
from contextlib import AbstractAsyncContextManager
from typing import Any, Final

from monostream_ai._periodic import sweeping
from monostream_ai.errors import (
    Fenced,
    PublisherLost,
    ServiceClosed,
    StreamStopped,
    VersionConflict,
)
from monostream_ai.fastapi.finishing import Finisher
from monostream_ai.fastapi.runner import TurnRunner
from monostream_ai.fastapi.turns import Assignment
from monostream_ai.service import DurableStreamService
from monostream_ai.types import VersionInfo, log_fields

logger = logging.getLogger(__name__)

SWEEP_LIMIT: Final = 50
"""Turns that one sweep handles; the next sweep takes the others."""

SWEEP_JITTER: Final = (0.5, 1.0)
"""Factors on the pause before a sweep: wide, since all processes look at the same few turns."""


class Takeover:
    """Takes over lost turns. Of all processes that try, exactly one runs or ends a turn.

    Args:
        max_attempts: Runs of one turn, including the first.
    """

    def __init__(
        self,
        service: DurableStreamService[Any],
        runner: TurnRunner,
        finisher: Finisher,
        *,
        max_attempts: int,
    ) -> None:
        self._service = service
        self._runner = runner
        self._finisher = finisher
        self._max_attempts = max_attempts

    async def run_again_or_end(self, turn: VersionInfo) -> bool:
        """Run a lost turn again, or end it; return whether it has, or soon gets, an ending."""
        if turn.lost and await self.run_again(turn):
            return False
        if await self._service.end_lost(turn.stream_id, turn.version):
            _log(turn, "is lost and was ended here")
            self._finisher.begin(turn.stream_id, turn.version)
        return True

    async def run_again(self, lost: VersionInfo) -> bool:
        """Start the next version for a lost turn, here or elsewhere.

        Returns False if the turn must not run again: it has had all its attempts, a user pressed
        stop, or no chat router opened it.
        """
        assignment = Assignment.again(lost)
        attempts_left = lost.attempt < self._max_attempts
        if assignment is None or not attempts_left or lost.stop_requested_at is not None:
            return False
        try:
            # Of all processes that see the loss, one acquires this version; the store decides.
            await self._runner.start(assignment)
        except (VersionConflict, Fenced, StreamStopped):
            _log(lost, "is lost and runs again in another process")
        else:
            _log(lost, "is lost and runs again here")
        return True

    async def follow(self, lost: PublisherLost) -> bool:
        """Take over a turn that a response was reading; return whether its ending follows."""
        turn = await self._service.status(lost.stream_id, lost.version)
        return await self.run_again_or_end(turn)

    def sweeping(self, prefix: str, *, every: float) -> AbstractAsyncContextManager[None]:
        """Return a block in which unattended turns are handled about every `every` seconds.

        Args:
            prefix: Only streams whose id begins with it are looked at.
        """
        return sweeping(
            lambda: self._sweep(prefix),
            every=every,
            first_after=every,
            jitter=SWEEP_JITTER,
            name=f"sweep {prefix}",
            on_error=_warn,
        )

    async def _sweep(self, prefix: str) -> None:
        if self._service.closing:
            raise ServiceClosed
        found = await self._service.unattended(prefix=prefix, limit=SWEEP_LIMIT)
        if found:
            logger.debug("a sweep of %r found %d unattended turns", prefix, len(found))
        # A turn that fails must not keep the sweep from the others; the next sweep tries it again.
        for result in await asyncio.gather(*map(self._attend, found), return_exceptions=True):
            if isinstance(result, BaseException):
                logger.warning("handling an unattended turn failed: %s", type(result).__name__)

    async def _attend(self, turn: VersionInfo) -> None:
        if turn.state != "open":
            await self._finisher.begin(turn.stream_id, turn.version)
        elif not self._runner.draining:
            await self.run_again_or_end(turn)


def _warn(source: str, error: BaseException) -> None:
    logger.warning("the %r failed: %s", source, type(error).__name__)


def _log(turn: VersionInfo, event: str) -> None:
    logger.debug(
        "stream %r version %d attempt %d %s",
        turn.stream_id,
        turn.version,
        turn.attempt,
        event,
        extra=log_fields(turn.stream_id, turn.version),
    )
