"""The questions of a chat that wait for the end of its turn, kept in a stream beside the chat's.

Each change of the list opens the next version of that stream by its number, so of two changes at
once one lands, and the other looks again. The version's request holds the questions. A list with
questions is a watched version that waits: when its time is over, a sweep of one process finds it.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Collection, Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any, Final, NamedTuple, Self

from monostream_ai.chats.turns.finishing import latest_version
from monostream_ai.chats.turns.names import queue_stream_id
from monostream_ai.chats.turns.requests import Body, ChatRequest, RequestRefused
from monostream_ai.errors import (
    InvalidText,
    MonostreamError,
    VersionConflict,
)
from monostream_ai.json_text import decode_json
from monostream_ai.service import DurableStreamService
from monostream_ai.types import VersionInfo

MAX_WAITING: Final = 10

QUEUED: Final = "queued"
"""Key in the metadata of a list: how many questions it has."""

RACES: Final = 50
"""Times that a change may find the list changed by another request or process."""

RACE_PAUSE: Final = 0.05
"""Seconds at most before the next try."""

FULL: Final = "Too many questions wait in this chat. Wait for an answer, or cancel one."
LARGE: Final = "The questions that wait are too large."
NOT_STORED: Final = "The question could not be stored. Please try again."
RACED: Final = "The waiting questions could not be changed. Please try again."


class Question(NamedTuple):
    """A question that waits."""

    number: int
    """Of all questions that ever waited in its chat, a later one has a higher number."""
    digest: str | None
    """Of the body as the client sent it."""
    asked_at: str
    """ISO 8601, UTC, by the clock of the process that took it."""
    body: Body
    """Of the request, with the question as its only message."""
    behind: int | None = None
    """The chat's latest version when it was asked; None if an earlier release stored it."""

    @property
    def request(self) -> ChatRequest:
        """The request answered by the turn that begins with this question."""
        messages = self.body["messages"] if "messages" in self.body else [self.body["message"]]
        return ChatRequest(self.body["id"], messages, self.body, self.digest, question=self.number)

    @classmethod
    def of(cls, request: ChatRequest, number: int, behind: int) -> Self:
        # The messages before it are only the client's claim, and lack answers given before it
        # begins.
        body = request.with_messages(request.messages[-1:]).body
        return cls(number, request.digest, datetime.now(UTC).isoformat(), body, behind)


@dataclass(frozen=True, slots=True)
class QuestionList:
    """The questions that wait in a chat, in order, as one version of its list has them."""

    version: int = -1
    owner: str | None = None
    next: Question | None = None
    """The one that begins now: it is drawn, so nobody may cancel it. Perhaps a turn answers it
    already.
    """
    waiting: tuple[Question, ...] = ()

    def __iter__(self) -> Iterator[Question]:
        return iter(self.waiting if self.next is None else (self.next, *self.waiting))

    def __len__(self) -> int:
        return len(self.waiting) + (self.next is not None)

    def find(self, request: ChatRequest) -> Question | None:
        """Return the question of this same request."""
        return next((each for each in self if each.digest == request.digest), None)

    def as_json(self) -> list[dict[str, Any]]:
        """Return the questions as a page is shown them."""
        return [
            {
                "number": question.number,
                "askedAt": question.asked_at,
                "message": question.request.messages[-1],
                "begins": question == self.next,
            }
            for question in self
        ]

    def drawn(self) -> QuestionList:
        """Return the list with its first question as the next one, unless one is drawn already."""
        if self.next is not None or not self.waiting:
            return self
        return replace(self, next=self.waiting[0], waiting=self.waiting[1:])

    def without(self, numbers: Collection[int]) -> QuestionList:
        """Return the list without waiting questions of these numbers."""
        left = tuple(each for each in self.waiting if each.number not in numbers)
        return replace(self, waiting=left)

    def without_answered(self, numbers: Collection[int]) -> QuestionList:
        """Return the list without questions of these numbers, even if one is drawn already."""
        drawn = self.next is not None and self.next.number in numbers
        return replace(self.without(numbers), next=None if drawn else self.next)

    def to_store(self) -> Body | None:
        """Return the list as JSON; None if it is empty. `behind` stands beside the questions: an
        earlier release knows all keys of a question, and of the list those that it needs.
        """
        if not self:
            return None
        behind = {str(each.number): each.behind for each in self if each.behind is not None}
        first = None if self.next is None else _without_place(self.next)
        return {"next": first, "waiting": [*map(_without_place, self.waiting)], "behind": behind}

    @classmethod
    def stored(cls, version: int, owner: str | None, stored: Body) -> Self:
        """Return the list that `to_store` gave."""
        behind = stored.get("behind", {})

        def question(keys: Body) -> Question:
            return Question(**keys, behind=behind.get(str(keys["number"])))

        first = None if stored["next"] is None else question(stored["next"])
        return cls(version, owner, first, tuple(map(question, stored["waiting"])))


def _without_place(question: Question) -> Body:
    keys = question._asdict()
    del keys["behind"]
    return keys


Edit = Callable[[QuestionList], QuestionList]


class Questions:
    """Reads and changes the lists of all chats.

    Args:
        most: Questions that may wait in one chat.
        look_again: Seconds after which a sweep looks at a chat in which questions wait.
    """

    def __init__(self, service: DurableStreamService[Any], *, most: int, look_again: float) -> None:
        self._service = service
        self._most = most
        self._look_again = look_again

    async def count(self, stream_id: str) -> int:
        """Return how many questions wait in the chat with this stream."""
        info = await latest_version(self._service, queue_stream_id(stream_id))
        return 0 if info is None else queued_in(info)

    async def read(self, stream_id: str, *, taken: int = -1) -> QuestionList:
        """Return the questions that wait in the chat with this stream.

        Args:
            taken: The number of a newer version that a deleted list is known to have had.
        """
        info = await latest_version(self._service, queue_stream_id(stream_id))
        if info is None:
            return QuestionList(taken)
        empty = QuestionList(max(info.version, taken), info.owner)
        if queued_in(info) == 0:
            return empty
        stored = await self._service.request(info.stream_id, info.version)
        if stored is None:
            # It was deleted in between.
            return empty
        return QuestionList.stored(empty.version, empty.owner, stored)

    async def add(
        self, stream_id: str, known: QuestionList, request: ChatRequest, behind: int
    ) -> Question:
        """Put a question behind the others of a list as it was read, and return it.

        Args:
            behind: The latest version of the chat.

        Raises:
            VersionConflict: The list has changed since.
            RequestRefused: 429 if too many wait already, 413 if the list becomes too large.
        """
        if len(known) >= self._most:
            raise RequestRefused(429, FULL)
        # The number of the version that this change opens.
        question = Question.of(request, known.version + 1, behind)
        try:
            await self._store(stream_id, replace(known, waiting=(*known.waiting, question)))
        except InvalidText as error:
            raise RequestRefused(413, LARGE) from error
        return question

    async def change(self, stream_id: str, edit: Edit) -> tuple[QuestionList, QuestionList]:
        """Store what `edit` makes of the list; return the list before and after it. `edit` may be
        called more than once.

        Raises:
            RequestRefused: 503 if others keep changing the list.
        """
        for _ in range(RACES):
            known = await self.read(stream_id)
            edited = edit(known)
            if edited == known:
                return known, known
            with suppress(VersionConflict):
                await self._store(stream_id, edited)
                return known, edited
            await pause()
        raise RequestRefused(503, RACED)

    async def delete(self, stream_id: str) -> None:
        """Forget the questions of a chat that was deleted."""
        await self._service.delete(queue_stream_id(stream_id))

    async def keep(self, found: VersionInfo) -> bool:
        """Let a list whose time is over wait again; return whether this process is to look at its
        chat. Of many callers in many processes, exactly one gets True.
        """
        return await self._service.leave_lost(
            found.stream_id, found.version, within=self._look_again
        )

    async def _store(self, stream_id: str, changed: QuestionList) -> None:
        """Store a list as the version after its own.

        Raises:
            VersionConflict: Another change was first.
        """
        pub = self._service.publisher(
            queue_stream_id(stream_id),
            changed.version + 1,
            owner=changed.owner,
            request=changed.to_store(),
            metadata={QUEUED: len(changed)},
            watched=bool(changed),
        )
        await pub.open()
        # Not in a block, which would close the version if this fails. The change has landed: a list
        # that could not be left counts as lost, and a sweep finds it, unless another change has
        # replaced it already.
        with suppress(MonostreamError):
            if changed:
                await pub.leave(within=self._look_again)
            else:
                await pub.close()


def queued_in(info: VersionInfo) -> int:
    """Return how many questions a list has, by the record of its version. An operator who stops the
    list cancels all of them.
    """
    metadata = None if info.metadata is None else decode_json(info.metadata)
    if info.state != "open" or not isinstance(metadata, dict):
        return 0
    return int(metadata.get(QUEUED) or 0)


async def pause() -> None:
    """Wait before the next try, for a random time, so that rivals do not retry together."""
    await asyncio.sleep(random.uniform(0.0, RACE_PAUSE))  # noqa: S311  (jitter, not a secret)
