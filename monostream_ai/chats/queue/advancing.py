"""Begins the next question of a chat when the turn before has ended.

A question is drawn first, by a change of the list; from then on nobody can cancel it. Then it
begins as the version after the latest one, by its number, so that exactly one process begins it;
and that version names it, so that no later process takes it for one that waits.
"""

from __future__ import annotations

import asyncio
import logging
import math
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Any, Final

from monostream_ai.chats.queue.conversation import (
    LOOKED_AT,
    Wish,
    answered_up_to,
    repeated_in,
    wish_of,
    with_conversation,
)
from monostream_ai.chats.queue.questions import Question, QuestionList, Questions
from monostream_ai.chats.turns.finishing import Finisher
from monostream_ai.chats.turns.requests import RequestRefused
from monostream_ai.chats.turns.runner import TurnRunner
from monostream_ai.chats.turns.turn import Assignment
from monostream_ai.errors import (
    Fenced,
    InvalidArgument,
    StreamDeleted,
    StreamStopped,
    UnknownStream,
    VersionConflict,
)
from monostream_ai.service import DurableStreamService
from monostream_ai.types import VersionInfo, log_fields

logger = logging.getLogger(__name__)

SOON: Final = 0.2
"""Seconds between looks at a turn that another process is finishing."""

FINISH_PATIENCE: Final = 10.0
"""Seconds after the end of a turn for which the next question waits for its `on_finish`."""

RESULT_PATIENCE: Final = 60.0
"""Seconds after the end of a turn for which the next question waits for results of the page."""

WISHES: Final = 1000
"""Ended turns whose wishes (see `Wish`) are remembered."""


class Advancer:
    """Begins the questions that wait in a chat, one after another."""

    def __init__(
        self,
        service: DurableStreamService[Any],
        questions: Questions,
        runner: TurnRunner,
        finisher: Finisher,
    ) -> None:
        self._service = service
        self._questions = questions
        self._runner = runner
        self._finisher = finisher
        self._wishes: dict[tuple[str, int], Wish | None] = {}

    async def advance(self, stream_id: str) -> float | None:
        """Begin the next question if the chat is at rest.

        Returns:
            Seconds until the chat is to be looked at again; infinity if a wake-up will say so, None
            if no question waits.
        """
        known = await self._questions.read(stream_id)
        if not known:
            return None
        versions = await self._service.versions(stream_id, limit=LOOKED_AT)
        if not versions:
            # Questions only wait behind a turn, so the chat was deleted.
            await self._questions.delete(stream_id)
            return None
        if known.next is not None and known.next.number <= answered_up_to(versions):
            return await self._forget(stream_id, known.next)
        if self._runner.draining:
            return math.inf
        if versions[0].state == "open":
            await self._drop_repeats(stream_id, known, versions[0])
            return math.inf
        if known.next is None and (patience := await self.patience(versions[0])) > 0:
            return patience
        if not await self._is_finished(versions[0]):
            return SOON
        _, drawn = await self._questions.change(stream_id, QuestionList.drawn)
        if drawn.next is None:
            return None
        answer = await answered(self._service, drawn.next, versions)
        if answer is None and not await self._begin(stream_id, drawn.next, versions):
            return 0
        return await self._forget(stream_id, drawn.next)

    async def patience(self, latest: VersionInfo) -> float:
        """Return how many more seconds questions wait for a result or a decision that the ended
        turn asked of its user; 0 if it asked for neither, infinity for a decision.
        """
        if latest.state != "closed":
            return 0.0
        key = latest.stream_id, latest.version
        if key not in self._wishes:
            if len(self._wishes) == WISHES:
                self._wishes.clear()
            self._wishes[key] = await wish_of(self._service, latest)
        match self._wishes[key]:
            case "decision":
                return math.inf
            case "result":
                return max(0.0, RESULT_PATIENCE - (latest.closed_for or 0.0))
            case None:
                return 0.0

    async def _drop_repeats(
        self, stream_id: str, known: QuestionList, running: VersionInfo
    ) -> None:
        """Take the questions off the list that the running turn answers: a process that found the
        chat at rest has begun a request which another one had just let wait, or drawn.
        """
        repeats = [each.number for each in known if await answered(self._service, each, [running])]
        if repeats:
            await self._questions.change(stream_id, lambda now: now.without_answered(repeats))

    async def _forget(self, stream_id: str, question: Question) -> float | None:
        """Take a question that a turn answers off the list."""
        _, left = await self._questions.change(
            stream_id, lambda known: known.without_answered([question.number])
        )
        return math.inf if left else None

    async def _is_finished(self, latest: VersionInfo) -> bool:
        """Return whether `on_finish` of a turn is done, or has had its time: the reply may read the
        history.
        """
        if not latest.watched or (latest.closed_for or 0.0) > FINISH_PATIENCE:
            return True
        # Another process may be calling it; then this call returns at once.
        task = self._finisher.begin(latest.stream_id, latest.version)
        await asyncio.wait([task], timeout=FINISH_PATIENCE)
        with suppress(UnknownStream):
            return not (await self._service.status(latest.stream_id, latest.version)).watched
        return False

    async def _begin(
        self, stream_id: str, question: Question, versions: Sequence[VersionInfo]
    ) -> bool:
        """Begin a question as the next turn; return False if something else has begun."""
        request = await with_conversation(self._service, question.request, versions)
        owner, version = versions[0].owner, versions[0].version + 1
        try:
            await self._start(Assignment.first(stream_id, version, request, owner), question)
        except (VersionConflict, Fenced, StreamStopped, StreamDeleted, RequestRefused):
            return False
        logger.debug(
            "question %d of stream %r begins as version %d",
            question.number,
            stream_id,
            version,
            extra=log_fields(stream_id, version),
        )
        return True

    async def _start(self, assignment: Assignment, question: Question) -> None:
        try:
            await self._runner.start(assignment)
        except InvalidArgument:
            # With the conversation, the request is too large to be stored.
            await self._runner.start(replace(assignment, request=question.request))


async def answered(
    service: DurableStreamService[Any], question: Question, versions: Sequence[VersionInfo]
) -> VersionInfo | None:
    """Return the turn that answers the same request as a question which waits."""
    return await repeated_in(service, question.request, versions, behind=question.behind)
