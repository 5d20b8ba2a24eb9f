"""The questions that wait in the chats of a router, as its routes know them."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from dataclasses import replace
from typing import Any, Final, NamedTuple

from monostream_ai.chats.queue.advancing import SOON, Advancer, answered
from monostream_ai.chats.queue.conversation import LOOKED_AT, answer_of, repeated_in
from monostream_ai.chats.queue.looking import Lookout
from monostream_ai.chats.queue.questions import (
    NOT_STORED,
    RACES,
    Question,
    QuestionList,
    Questions,
    pause,
)
from monostream_ai.chats.turns.finishing import Finisher
from monostream_ai.chats.turns.names import QuestionRun
from monostream_ai.chats.turns.requests import ChatRequest, RequestRefused
from monostream_ai.chats.turns.runner import TurnRunner
from monostream_ai.errors import VersionConflict
from monostream_ai.service import DurableStreamService
from monostream_ai.types import VersionInfo

BEGIN_PATIENCE: Final = 5.0
"""Seconds that a stop waits for a drawn question to begin; only then can it be stopped."""

BEGINS: Final = "The question is about to begin. Please try to stop it again in a moment."


class Queued(NamedTuple):
    """A question that waits, as the routes of its process know it."""

    queue: ChatQueue
    stream_id: str
    """Of the chat."""
    question: Question

    @property
    def run(self) -> QuestionRun:
        return QuestionRun(self.question.body["id"], self.question.number)

    async def find(self) -> VersionInfo | Question | None:
        """See `ChatQueue.find`."""
        return await self.queue.find(self.stream_id, self.question.number, self.question)


class ChatQueue:
    """The questions that wait in the chats of a router.

    Args:
        stream_prefix: Of the streams of the chats.
    """

    def __init__(
        self,
        service: DurableStreamService[Any],
        questions: Questions,
        runner: TurnRunner,
        finisher: Finisher,
        *,
        stream_prefix: str,
    ) -> None:
        self._service = service
        self._questions = questions
        self._runner = runner
        self.advancer = Advancer(service, questions, runner, finisher)
        self.lookout = Lookout(
            service, questions, runner, self.advancer.advance, stream_prefix=stream_prefix
        )

    async def count(self, stream_id: str) -> int:
        """Return how many questions wait in a chat."""
        return await self._questions.count(stream_id)

    async def read(self, stream_id: str) -> QuestionList:
        """Return the questions that wait in a chat."""
        return await self._questions.read(stream_id)

    async def cancel(self, stream_id: str, number: int | None) -> list[int]:
        """Cancel a question, or all of a chat; return the numbers of those that will not begin.

        Raises:
            RequestRefused: 503 if others keep changing the list.
        """

        def without(known: QuestionList) -> QuestionList:
            numbers = [each.number for each in known.waiting] if number is None else [number]
            return known.without(numbers)

        before, after = await self._questions.change(stream_id, without)
        left = {question.number for question in after}
        return [question.number for question in before if question.number not in left]

    async def forget(self, stream_id: str) -> None:
        """Forget the questions of a chat that was deleted, if there are any."""
        if await self._questions.count(stream_id):
            await self._questions.delete(stream_id)

    def queued(self, stream_id: str, question: Question) -> Queued:
        """Return a question as the routes know it."""
        return Queued(self, stream_id, question)

    async def put(
        self, stream_id: str, request: ChatRequest, owner: str | None
    ) -> Queued | VersionInfo:
        """Put a request behind the questions that wait. If it was sent before, return the turn that
        answers it.

        Raises:
            RequestRefused: 429 if too many wait already, 413 if they become too large, 503 if the
                process is shutting down or others keep changing the list.
        """
        if self._runner.draining:
            raise RequestRefused(503, "The server is restarting. Please try again.")
        taken = -1
        for _ in range(RACES):
            # Read the list before the versions: a question that has left it has a version by then.
            known = await self._questions.read(stream_id, taken=taken)
            if (question := known.find(request)) is not None:
                return self.queued(stream_id, question)
            versions = await self._service.versions(stream_id, limit=LOOKED_AT)
            answer = await repeated_in(self._service, request, versions)
            if answer is not None:
                return answer
            try:
                mine = replace(known, owner=owner)
                behind = versions[0].version if versions else -1
                question = await self._questions.add(stream_id, mine, request, behind)
            except VersionConflict as conflict:
                taken = conflict.latest
                await pause()
            else:
                # The turn may have ended meanwhile.
                self.lookout.look_at(stream_id)
                return self.queued(stream_id, question)
        raise RequestRefused(503, NOT_STORED)

    async def find(
        self, stream_id: str, number: int, asked: Question | None = None
    ) -> VersionInfo | Question | None:
        """Return a question that waits, or the turn that answers it; None if it was cancelled, or
        was answered long ago.

        Args:
            asked: The question, if the caller knows it: perhaps it waits no more, because another
                turn answers the same request.
        """
        known = await self._questions.read(stream_id)
        versions = await self._service.versions(stream_id, limit=LOOKED_AT)
        waiting = next((each for each in known if each.number == number), None)
        answer = answer_of(number, versions)
        if answer is None and (question := waiting or asked) is not None:
            answer = await answered(self._service, question, versions)
        return answer or waiting

    async def begun(self, stream_id: str, number: int) -> None:
        """Wait until a drawn question, which nobody can cancel any more, has begun. Returns at once
        if there is no such question.

        Raises:
            RequestRefused: 503 if it does not begin within `BEGIN_PATIENCE` seconds.
        """
        news = asyncio.Event()
        with self.lookout.telling(stream_id, news):
            try:
                async with asyncio.timeout(BEGIN_PATIENCE):
                    while isinstance(await self.find(stream_id, number), Question):
                        with suppress(TimeoutError):
                            async with asyncio.timeout(SOON):
                                await news.wait()
                        news.clear()
            except TimeoutError:
                raise RequestRefused(503, BEGINS) from None
