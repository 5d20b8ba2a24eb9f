"""Begins the questions that wait in chats, one after another, each when the turn before has ended.

Every process looks at a chat when a wake-up says that something has changed, and in any case one
process sweeps them now and then. A question is drawn first, by a change of the list; from then on
nobody can cancel it. Then it begins as the version after the latest one, by its number, so that
exactly one process begins it; and that version names it, so that no later process takes it for one
that waits.
"""

from __future__ import annotations

import asyncio
import logging
import math
from collections import defaultdict
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import replace
from functools import partial
from typing import Any, Final, NamedTuple

from monostream_ai._periodic import start_task, sweeping
from monostream_ai.chats.queue.conversation import (
    LOOKED_AT,
    Wish,
    answer_of,
    answered_up_to,
    repeated_in,
    wish_of,
    with_conversation,
)
from monostream_ai.chats.queue.questions import (
    NOT_STORED,
    RACES,
    Question,
    QuestionList,
    Questions,
    pause,
)
from monostream_ai.chats.turns.finishing import Finisher, all_changes
from monostream_ai.chats.turns.names import QUEUE_PREFIX, QuestionRun, queue_stream_id
from monostream_ai.chats.turns.requests import ChatRequest, RequestRefused
from monostream_ai.chats.turns.runner import TurnRunner
from monostream_ai.chats.turns.turn import Assignment
from monostream_ai.errors import (
    Fenced,
    InvalidArgument,
    ServiceClosed,
    StreamDeleted,
    StreamStopped,
    UnknownStream,
    VersionConflict,
)
from monostream_ai.service import DurableStreamService
from monostream_ai.types import VersionInfo, WakeUp, log_fields

logger = logging.getLogger(__name__)

QUIET: Final = 0.3
"""Seconds without a chunk after which a turn is looked at: it may have ended. Its readers have the
same time to read the end before the next turn supersedes it.
"""

SOON: Final = 0.2
"""Seconds between looks at a turn that another process is finishing."""

FINISH_PATIENCE: Final = 10.0
"""Seconds after the end of a turn for which the next question waits for its `on_finish`."""

RESULT_PATIENCE: Final = 60.0
"""Seconds after the end of a turn for which the next question waits for results of the page."""

BEGIN_PATIENCE: Final = 5.0
"""Seconds that a stop waits for a drawn question to begin; only then can it be stopped."""

BEGINS: Final = "The question is about to begin. Please try to stop it again in a moment."

AT_ONCE: Final = 20
"""Chats that one process looks at concurrently."""

WISHES: Final = 1000
"""Ended turns whose wishes (see `Wish`) are remembered."""


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
        self._finisher = finisher
        self._lists = queue_stream_id(stream_prefix)
        self._known: set[str] = set()
        """Streams of chats in which questions wait."""
        self._due: dict[str, float] = {}
        """When to look at a chat, by the clock of the loop."""
        self._hint = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._stays = False
        """Whether that task goes on while no question waits."""
        self._knows_all = False
        """Whether this process has read which chats have questions."""
        self._tasks: dict[asyncio.Task[None], str] = {}
        self._changed: defaultdict[str, set[asyncio.Event]] = defaultdict(set)
        self._wishes: dict[tuple[str, int], Wish | None] = {}

    @asynccontextmanager
    async def running(self, *, every: float) -> AsyncIterator[None]:
        """Begin questions of all processes until the block is left. Outside of it, this process
        begins questions only while it knows of some that wait, and sweeps for no others.

        Args:
            every: Seconds between sweeps for chats that no wake-up announced.
        """
        self._stays = True
        task = self._task or self._start_work()
        try:
            async with sweeping(
                self._sweep, every=every, on_error=self._service._runtime.report, name="questions"
            ):
                yield
        finally:
            self._stays = False
            left = [task, *self._tasks]
            for each in left:
                each.cancel()
            await asyncio.wait(left)

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
                self._look_at(stream_id)
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
            answer = await self._answered(question, versions)
        return answer or waiting

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

    async def begun(self, stream_id: str, number: int) -> None:
        """Wait until a drawn question, which nobody can cancel any more, has begun. Returns at once
        if there is no such question.

        Raises:
            RequestRefused: 503 if it does not begin within `BEGIN_PATIENCE` seconds.
        """
        news = asyncio.Event()
        with self.telling(stream_id, news):
            try:
                async with asyncio.timeout(BEGIN_PATIENCE):
                    while isinstance(await self.find(stream_id, number), Question):
                        with suppress(TimeoutError):
                            async with asyncio.timeout(SOON):
                                await news.wait()
                        news.clear()
            except TimeoutError:
                raise RequestRefused(503, BEGINS) from None

    @contextmanager
    def telling(self, stream_id: str, event: asyncio.Event) -> Iterator[None]:
        """Set an event when the questions of a chat may have changed, until the block is left.

        The chat is looked after from then on, whichever process took the questions.
        """
        self._look_at(stream_id)
        events = self._changed[stream_id]
        events.add(event)
        try:
            yield
        finally:
            events.discard(event)
            if not events:
                self._changed.pop(stream_id, None)

    def on_wake_up(self, wake_up: WakeUp) -> None:
        """Look at a chat whose list has changed, and at one whose turn may have ended (see
        `Listener`).
        """
        if wake_up.stream_id.startswith(self._lists):
            stream_id = wake_up.stream_id.removeprefix(QUEUE_PREFIX)
            self._look_at(stream_id)
            for event in self._changed.get(stream_id, ()):
                event.set()
        elif wake_up.stream_id in self._known:
            self._look_at(wake_up.stream_id, after=QUIET)

    def on_resync(self) -> None:
        """Look at all chats in which questions wait (see `Listener`)."""
        for stream_id in self._known:
            self._look_at(stream_id)
        for events in self._changed.values():
            for event in events:
                event.set()

    def _look_at(self, stream_id: str, *, after: float = 0.0) -> None:
        self._due[stream_id] = asyncio.get_running_loop().time() + after
        self._hint.set()
        # Perhaps nobody has entered the lifespan, and a question must not wait for ever.
        if self._task is None and not self._runner.draining:
            self._start_work()

    @property
    def _has_work(self) -> bool:
        return bool(self._due or self._tasks or self._known)

    def _start_work(self) -> asyncio.Task[None]:
        self._service._runtime.listeners.append(self)
        # Another process may have received questions behind a turn of this one, and the notifier
        # need not have said so: SQLite's names no stream.
        self._runner.on_end = partial(self._look_at, after=QUIET)
        self._task = start_task(self._run(), name="questions")
        self._task.add_done_callback(self._end_work)
        return self._task

    def _end_work(self, task: asyncio.Task[None]) -> None:
        self._service._runtime.listeners.remove(self)
        self._task = None

    async def _run(self) -> None:
        time = asyncio.get_running_loop().time
        while self._stays or (self._has_work and not self._service.closing):
            self._hint.clear()
            for stream_id in [each for each, due in self._due.items() if due <= time()]:
                del self._due[stream_id]
                if stream_id in self._tasks.values():
                    self._look_at(stream_id, after=SOON)
                    continue
                while len(self._tasks) >= AT_ONCE:
                    await asyncio.wait(self._tasks, return_when=asyncio.FIRST_COMPLETED)
                task = start_task(self._attend(stream_id), name=f"questions {stream_id}")
                self._tasks[task] = stream_id
                task.add_done_callback(self._attended)
            left = min(self._due.values(), default=math.inf) - time()
            if not self._stays:
                # Nothing announces that the service is closing.
                left = min(left, self._service._runtime.poll_interval)
            with suppress(TimeoutError):
                async with asyncio.timeout(None if left == math.inf else max(0.0, left)):
                    await self._hint.wait()

    def _attended(self, task: asyncio.Task[None]) -> None:
        del self._tasks[task]
        self._hint.set()

    async def _attend(self, stream_id: str) -> None:
        self._known.add(stream_id)
        try:
            while (again := await self._advance(stream_id)) == 0:
                pass
        except ServiceClosed:
            self._known.discard(stream_id)
            return
        # Whatever a store raises: a sweep looks again.
        except Exception as error:
            self._service._runtime.report("questions", error)
            return
        if again is None:
            self._known.discard(stream_id)
        elif again < math.inf:
            self._look_at(stream_id, after=again)

    async def _sweep(self) -> None:
        if not self._knows_all:
            await self._look_at_all()
        while not self._service.closing:
            found = await self._service.unattended(prefix=self._lists, limit=AT_ONCE, state="open")
            for info in found:
                if await self._questions.keep(info):
                    self._look_at(info.stream_id.removeprefix(QUEUE_PREFIX))
            if len(found) < AT_ONCE:
                return
        raise ServiceClosed

    async def _look_at_all(self) -> None:
        """Look at each chat in which questions wait, so that a wake-up of its turn is heeded: the
        process that knew of them may have exited, while a worker writes the answer before them.
        """
        _, lists = await all_changes(self._service, self._lists, None)
        for info in lists:
            self._look_at(info.stream_id.removeprefix(QUEUE_PREFIX))
        self._knows_all = True

    async def _advance(self, stream_id: str) -> float | None:
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
        answer = await self._answered(drawn.next, versions)
        if answer is None and not await self._begin(stream_id, drawn.next, versions):
            return 0
        return await self._forget(stream_id, drawn.next)

    async def _drop_repeats(
        self, stream_id: str, known: QuestionList, running: VersionInfo
    ) -> None:
        """Take the questions off the list that the running turn answers: a process that found the
        chat at rest has begun a request which another one had just let wait, or drawn.
        """
        repeats = [each.number for each in known if await self._answered(each, [running])]
        if repeats:
            await self._questions.change(stream_id, lambda now: now.without_answered(repeats))

    async def _answered(
        self, question: Question, versions: Sequence[VersionInfo]
    ) -> VersionInfo | None:
        """Return the turn that answers the same request as a question which waits."""
        return await repeated_in(self._service, question.request, versions, behind=question.behind)

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
