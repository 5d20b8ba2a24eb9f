"""The rules of a chat: when a request starts a turn, joins one, or is refused.

A chat is a stream, and each of its turns is one version. Turns are also found and stopped here.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import Any, Final, Literal, NamedTuple, TypeAlias

from monostream_ai.chats.continuing import verified
from monostream_ai.chats.queue.chat_queue import ChatQueue, Queued
from monostream_ai.chats.queue.questions import Question
from monostream_ai.chats.streaming.replays.starting import SUPERSEDED, Replay
from monostream_ai.chats.turns.finishing import Finisher, last_type, latest_version
from monostream_ai.chats.turns.names import QuestionRun, Run, chat_stream_id
from monostream_ai.chats.turns.requests import ChatRequest, RequestRefused, question_in
from monostream_ai.chats.turns.runner import TurnRunner
from monostream_ai.chats.turns.takeover import Takeover
from monostream_ai.chats.turns.turn import Assignment, is_attempt_of
from monostream_ai.errors import (
    Fenced,
    StreamDeleted,
    StreamStopped,
    VersionConflict,
)
from monostream_ai.service import DurableStreamService
from monostream_ai.types import VersionInfo, log_fields

logger = logging.getLogger(__name__)

RACES: Final = 5
"""Times a request may lose the next version to another request; then the chat is called busy."""

WARNED: Final = 1000
"""Streams for which a warning is remembered."""

BUSY: Final = "This chat is still answering. Wait for the answer, or stop it first."

NO_CHAT: Final = "There is no such chat."

OnBusy: TypeAlias = Literal["refuse", "attach", "stop", "queue"]
"""How to treat another question while a turn runs: refuse it with 409, show it the running turn,
stop that turn and answer, or let it wait.
"""


class Begun(NamedTuple):
    """The turn that answers a request."""

    stream_id: str
    version: int
    replaced: bool = False
    """Whether another question of the chat has begun since."""


@dataclass(frozen=True, slots=True)
class Found:
    """A turn that a client asks for."""

    run: Run | QuestionRun
    version: VersionInfo
    worth_replaying: bool
    """Whether the turn runs, or ended so recently that the page may have loaded an older history.
    """
    is_run: bool = False
    """Whether the client named this run, and not just the chat."""
    replaces_run: bool = False
    """Whether the client may have counted the chunks of an earlier attempt of the same name."""

    @property
    def stream_id(self) -> str:
        return self.version.stream_id

    async def replay(self, service: DurableStreamService[Any]) -> Replay:
        """A client that named a run already has the earlier parts; others get the whole message."""
        if self.is_run:
            return Replay.of_version(self.version.version)
        return await Replay.of_message(service, self.version)


class Chats:
    """Starts, finds and stops the turns of chats, for the owner that `authorize` returned.

    Args:
        queue: Keeps the questions that wait, with `on_busy="queue"`.
        replay_window: Seconds for which a turn that has ended is still shown.
    """

    def __init__(
        self,
        service: DurableStreamService[Any],
        runner: TurnRunner,
        finisher: Finisher,
        takeover: Takeover,
        queue: ChatQueue | None,
        *,
        stream_prefix: str,
        on_busy: OnBusy,
        replay_window: float,
    ) -> None:
        self._service = service
        self._runner = runner
        self._finisher = finisher
        self._takeover = takeover
        self._queue = queue
        self._stream_prefix = stream_prefix
        self._on_busy = on_busy
        self._replay_window = replay_window
        self._warned: set[str] = set()

    async def begin(self, request: ChatRequest, owner: str | None) -> Begun | Queued:
        """Start a turn, find the one that already answers this request, or let it wait.

        Raises:
            RequestRefused: Another turn runs, the chat has another owner, or the request continues
                a message that it may not continue; see `verified`. Or too many questions wait.
        """
        stream_id = self._stream_of(request.chat_id, owner)
        # Another request or process may take the next version at any time; then look again.
        taken = -1
        for _ in range(RACES):
            latest = await latest_version(self._service, stream_id)
            if latest is not None and not self._is_served(latest, owner):
                raise RequestRefused(404, NO_CHAT)
            queue = self._queue
            if queue is not None and await self._waits(queue, latest, stream_id, request):
                placed = await queue.put(stream_id, request, owner)
                if isinstance(placed, Queued):
                    return placed
                replaced = latest is None or placed.version != latest.version
                return Begun(stream_id, placed.version, replaced)
            try:
                version = await self._begin_after(latest, stream_id, request, owner, taken)
            except VersionConflict as conflict:
                # A chat that was deleted has no latest version, but its numbers are taken.
                taken = conflict.latest
            else:
                if version is not None:
                    return Begun(stream_id, version)
        raise RequestRefused(409, BUSY)

    async def find(self, name: str, owner: str | None) -> Found | Queued | None:
        """Return the latest turn of the chat with this id, or the turn or question with this run
        id.

        A lost turn that may run again is started again first.

        Raises:
            RequestRefused: The run was superseded. Its client counts chunks, so the chunks of two
                runs must not mix.
        """
        if latest := await self._latest(name, owner):
            return Found(Run(name, latest.version), latest, self._is_shown(latest))
        if self._queue is not None and (asked := QuestionRun.parse(name)):
            return await self._find_question(self._queue, asked, owner)
        run = Run.parse(name)
        latest = await self._latest(run.chat_id, owner) if run is not None else None
        if run is None or latest is None or run.version > latest.version:
            return None
        if run.version < latest.version:
            raise RequestRefused(409, SUPERSEDED)
        return Found(run, latest, self._is_shown(latest), is_run=True)

    async def stop(self, chat_id: str, owner: str | None, run_id: str | None) -> None:
        """Stop the running turn, if there is one and the caller names it, an earlier attempt of it,
        or no run at all. A question that the caller names is cancelled if it waits.

        Raises:
            RequestRefused: 503 if that question is neither cancelled nor begun for seconds.
        """
        asked = None if run_id is None else QuestionRun.parse(run_id)
        if self._queue is not None and asked is not None and asked.chat_id == chat_id:
            stream_id = self._stream_of(chat_id, owner)
            await self._queue.cancel(stream_id, asked.number)
            # One that is drawn already is stopped as soon as it runs.
            await self._queue.begun(stream_id, asked.number)
        latest = await self._visible(chat_id, owner)
        if run_id is not None and not (latest and await self._is_run(latest, chat_id, run_id)):
            return
        while latest is not None and not await self._stop(latest):
            # Another process may have begun to run a lost turn again.
            stopped, latest = latest, await self._visible(chat_id, owner)
            if latest and not await is_attempt_of(self._service, latest, stopped.version):
                return

    async def status(self, chat_id: str, owner: str | None) -> dict[str, Any]:
        """Return a summary of the latest turn, as JSON for a page."""
        queued = {}
        if self._queue is not None:
            # First: a question that begins in between is then shown twice rather than not at all.
            queued = {"queued": await self._queue.count(self._stream_of(chat_id, owner))}
        latest = await self._visible(chat_id, owner)
        if latest is None:
            idle = {"state": "idle", "version": None, "chunks": 0, "attempt": 0, "messageId": None}
            return {**idle, **queued}
        return {
            "state": state_of(latest),
            "version": latest.version,
            "chunks": latest.next_id,
            "attempt": latest.attempt,
            "messageId": latest.message_id,
            **queued,
        }

    async def questions(self, chat_id: str, owner: str | None) -> list[dict[str, Any]]:
        """Return the questions that wait in a chat, in order, as JSON for a page."""
        if self._queue is None:
            return []
        known = await self._queue.read(self._stream_of(chat_id, owner))
        return known.as_json() if known.owner == owner else []

    async def cancel(self, chat_id: str, owner: str | None, number: int | None) -> list[int]:
        """Cancel a question that waits in a chat, or all; return the numbers of those that will not
        begin.
        """
        if self._queue is None or await self._visible(chat_id, owner) is None:
            return []
        return await self._queue.cancel(self._stream_of(chat_id, owner), number)

    async def _waits(
        self, queue: ChatQueue, latest: VersionInfo | None, stream_id: str, request: ChatRequest
    ) -> bool:
        """Return whether a request has to wait; if not, it begins, joins a turn or continues one.

        Raises:
            RequestRefused: It can do none of these: it asks again, or gives results, while a turn
                runs or questions wait.
        """
        if latest is None:
            # Questions of a chat that was deleted.
            await queue.forget(stream_id)
            return False
        busy = latest.state == "open"
        if latest.lost or (busy and await request.repeats(self._service, latest)):
            return False
        if not busy and await queue.count(stream_id) == 0:
            return False
        if request.is_new_question:
            return True
        if busy or await queue.advancer.patience(latest) == 0:
            raise RequestRefused(409, BUSY)
        return False

    async def _find_question(
        self, queue: ChatQueue, asked: QuestionRun, owner: str | None
    ) -> Found | Queued | None:
        stream_id = self._stream_of(asked.chat_id, owner)
        latest = await self._latest(asked.chat_id, owner)
        found = None if latest is None else await queue.find(stream_id, asked.number)
        if latest is None or found is None:
            return None
        if isinstance(found, Question):
            return queue.queued(stream_id, found)
        if found.version < latest.version:
            raise RequestRefused(409, SUPERSEDED)
        again = await is_attempt_of(self._service, latest, latest.version - 1)
        return Found(asked, latest, self._is_shown(latest), is_run=True, replaces_run=again)

    async def _begin_after(
        self,
        latest: VersionInfo | None,
        stream_id: str,
        request: ChatRequest,
        owner: str | None,
        taken: int,
    ) -> int | None:
        """Return the version that answers the request, or None to look again at the chat.

        Args:
            taken: The newest number that another request or a deleted turn is known to have.

        Raises:
            VersionConflict: Another one has the next number.
        """
        if latest is not None and latest.state == "open":
            return latest.version if await self._joins(latest, request) else None
        if latest is not None and await self._answered_just_now(latest, request):
            return latest.version
        # The reply may read the history, so `on_finish` of the previous turn should be done, also
        # if its process died. Another process that is calling it right now is not waited for.
        if latest is not None:
            self._finisher.begin(stream_id, latest.version)
        await self._finisher.idle(stream_id)
        request = await verified(self._service, request, latest)
        version = taken + 1 if latest is None else latest.version + 1
        try:
            # The version is explicit, so that of two requests at once one starts the turn and the
            # other finds it running.
            await self._runner.start(Assignment.first(stream_id, version, request, owner))
        except (Fenced, StreamStopped):
            return None
        except StreamDeleted as error:
            raise RequestRefused(404, NO_CHAT) from error
        return version

    async def _joins(self, latest: VersionInfo, request: ChatRequest) -> bool:
        """Return whether a request is shown the open version; if not, that version is ending."""
        joins = self._on_busy == "attach" or await request.repeats(self._service, latest)
        # A turn that will be stopped need not run again before.
        if latest.lost and (joins or self._on_busy in ("refuse", "queue")):
            await self._takeover.run_again_or_end(latest)
            return False
        if joins:
            return True
        if self._on_busy in ("refuse", "queue"):
            raise RequestRefused(409, BUSY)
        # A request that will be refused must stop nothing.
        await verified(self._service, request, latest)
        await self._stop(latest)
        return False

    async def _answered_just_now(self, latest: VersionInfo, request: ChatRequest) -> bool:
        """Return whether a browser or proxy that got no response repeats an answered request."""
        if not self._is_shown(latest) or request.trigger != "submit-message":
            return False
        if not await request.repeats(self._service, latest):
            return False
        # A question whose answer failed or was stopped is repeated on purpose.
        return await last_type(self._service, latest) == "finish"

    def _is_shown(self, turn: VersionInfo) -> bool:
        return turn.state == "open" or (
            turn.closed_for is not None and turn.closed_for < self._replay_window
        )

    async def _is_run(self, latest: VersionInfo, chat_id: str, run_id: str) -> bool:
        asked = QuestionRun.parse(run_id)
        if asked is not None and asked.chat_id == chat_id and question_in(latest) is not None:
            return question_in(latest) == asked.number
        run = Run.parse(run_id)
        if run is None or run.chat_id != chat_id:
            return False
        return run.version == latest.version or await is_attempt_of(
            self._service, latest, run.version
        )

    async def _stop(self, turn: VersionInfo) -> bool:
        stopped = await self._service.stop(turn.stream_id, turn.version)
        # The runner of the turn finishes it too, but its process may be gone.
        if stopped:
            self._finisher.begin(turn.stream_id, turn.version)
        return stopped

    async def _latest(self, chat_id: str, owner: str | None) -> VersionInfo | None:
        latest = await self._visible(chat_id, owner)
        if latest is None or latest.state == "pruned":
            # A pruned turn has no chunks, so its response would break off, again and again.
            return None
        if not latest.lost or self._runner.draining:
            return latest
        runs_again = await self._takeover.run_again(latest)
        return await self._visible(chat_id, owner) if runs_again else latest

    async def _visible(self, chat_id: str, owner: str | None) -> VersionInfo | None:
        info = await latest_version(self._service, self._stream_of(chat_id, owner))
        return info if info is None or self._is_served(info, owner) else None

    def _is_served(self, info: VersionInfo, owner: str | None) -> bool:
        """Return whether a version of a stream with this owner in its name has this owner too."""
        if info.owner is None and owner is not None:
            self._warn(info, "has no owner, so no route serves it")
        elif info.state == "open" and not info.watched and self._finisher.is_needed:
            self._warn(info, "is not watched, so on_finish will not get it")
        return info.owner == owner

    def _warn(self, info: VersionInfo, problem: str) -> None:
        """Warn once for each stream that its publisher was not made in the way that the routes
        need.
        """
        if info.stream_id in self._warned:
            return
        if len(self._warned) == WARNED:
            self._warned.clear()
        self._warned.add(info.stream_id)
        logger.warning(
            "stream %r version %d %s: open it by chat_publisher",
            info.stream_id,
            info.version,
            problem,
            extra=log_fields(info.stream_id, info.version),
        )

    def _stream_of(self, chat_id: str, owner: str | None) -> str:
        return chat_stream_id(chat_id, owner=owner, prefix=self._stream_prefix)


def state_of(latest: VersionInfo) -> str:
    """Return the state of a turn in the words of the routes."""
    if latest.state != "open":
        return "closed"
    return "lost" if latest.lost else "waiting" if latest.waiting else "open"
