"""A chat as a stream: which of its versions runs, who may see it, and what becomes of a lost one."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import Any, Final, Literal, NamedTuple, TypeAlias

from monostream_ai.errors import (
    Fenced,
    PublisherLost,
    StreamStopped,
    UnknownStream,
    VersionConflict,
)
from monostream_ai.fastapi.finishing import Finisher
from monostream_ai.fastapi.names import Run, chat_stream_id
from monostream_ai.fastapi.replays import SUPERSEDED, Replay
from monostream_ai.fastapi.requests import ChatRequest, RequestRefused
from monostream_ai.fastapi.runner import TurnRunner
from monostream_ai.fastapi.turns import Assignment
from monostream_ai.service import DurableStreamService
from monostream_ai.types import Cursor, VersionInfo

logger = logging.getLogger(__name__)

RACES: Final = 5
"""Times that a request may lose the next version to another one before it is told that the chat is
busy.
"""

BUSY: Final = "This chat is still answering. Wait for the answer, or stop it first."

OnBusy: TypeAlias = Literal["refuse", "attach", "stop"]
"""What becomes of another question while a turn runs: 409, the stream of the running turn, or a
turn of its own.
"""


class Begun(NamedTuple):
    """The turn that answers a request."""

    stream_id: str
    version: int


@dataclass(frozen=True, slots=True)
class Found:
    """A turn that a client asks for; `is_run` if it named the turn and not the chat."""

    run: Run
    version: VersionInfo
    worth_replaying: bool
    """Whether it runs, or ended so recently that the page's history may have been read before it
    did.
    """
    is_run: bool = False

    @property
    def stream_id(self) -> str:
        return self.version.stream_id

    @property
    def replay(self) -> Replay:
        """All of it: who names a turn has what came before, who names a chat gets the whole
        message.
        """
        return (
            Replay.of_version(self.version.version)
            if self.is_run
            else Replay.of_message(self.version)
        )


class Chats:
    """The rules of the chat routes.

    Args:
        max_attempts: Runs of one turn, the first one included.
        replay_window: Seconds for which a turn that has ended is still shown.
    """

    def __init__(
        self,
        service: DurableStreamService[Any],
        runner: TurnRunner,
        finisher: Finisher,
        *,
        stream_prefix: str,
        max_attempts: int,
        on_busy: OnBusy,
        replay_window: float,
    ) -> None:
        self._service = service
        self._runner = runner
        self._finisher = finisher
        self._stream_prefix = stream_prefix
        self._max_attempts = max_attempts
        self._on_busy = on_busy
        self._replay_window = replay_window

    async def begin(self, request: ChatRequest, owner: str | None) -> Begun:
        """Start a turn, or find the running one that answers the same request.

        Raises:
            RequestRefused: Another turn runs, or the chat belongs to somebody else.
        """
        stream_id = chat_stream_id(request.chat_id, owner=owner, prefix=self._stream_prefix)
        for _ in range(RACES):
            latest = await self._stored(stream_id)
            if latest is not None and latest.owner != owner:
                raise RequestRefused(404, "There is no such chat.")
            if latest is not None and latest.state == "open":
                if await self._joins(latest, request):
                    return Begun(stream_id, latest.version)
                continue
            if latest is not None and await self._answered_just_now(latest, request):
                return Begun(stream_id, latest.version)
            # What the turn before has to say about the history must be said before a reply reads
            # it, even if its process died.
            if latest is not None:
                self._finisher.begin(stream_id, latest.version)
            await self._finisher.idle(stream_id)
            assignment = Assignment.first(
                stream_id, 0 if latest is None else latest.version + 1, request, owner
            )
            try:
                # An explicit version: of two requests at once, one starts the turn and the other
                # finds it running.
                await self._runner.start(assignment)
            except (VersionConflict, Fenced, StreamStopped):
                continue
            return Begun(stream_id, assignment.version)
        raise RequestRefused(409, BUSY)

    async def find(self, name: str, owner: str | None) -> Found | None:
        """Return the latest turn of the chat of this name, or the turn whose run id it is.

        A lost turn that can be run again is, first.

        Raises:
            RequestRefused: The run has been superseded. Its client counts chunks, and those of two
                runs must not mix.
        """
        if latest := await self._latest(name, owner):
            return Found(Run(name, latest.version), latest, self._is_shown(latest))
        run = Run.parse(name)
        if (
            run is None
            or (latest := await self._latest(run.chat_id, owner)) is None
            or run.version > latest.version
        ):
            return None
        if run.version < latest.version:
            raise RequestRefused(409, SUPERSEDED)
        return Found(run, latest, self._is_shown(latest), is_run=True)

    async def stop(self, chat_id: str, owner: str | None, run_id: str | None) -> None:
        """End the running turn, if there is one, and if it is the one that the caller names."""
        latest = await self._visible(chat_id, owner)
        if latest is not None and run_id in (None, str(Run(chat_id, latest.version))):
            await self._stop(latest)

    async def status(self, chat_id: str, owner: str | None) -> dict[str, Any]:
        """Return what is stored of the latest turn, as JSON for a page."""
        latest = await self._visible(chat_id, owner)
        if latest is None:
            return {"state": "idle", "version": None, "chunks": 0, "attempt": 0, "messageId": None}
        state = "lost" if latest.lost else "open" if latest.state == "open" else "closed"
        return {
            "state": state,
            "version": latest.version,
            "chunks": latest.next_id,
            "attempt": latest.attempt,
            "messageId": latest.message_id,
        }

    async def recover(self, lost: PublisherLost) -> bool:
        """Run a lost turn again, or end it; return whether it has, or soon gets, an ending."""
        return await self._recover(await self._service.status(lost.stream_id, lost.version))

    async def attend(self, turn: VersionInfo) -> None:
        """Do for an unattended turn what it waits for: run it again, end it, or hand its message
        over.
        """
        if turn.state == "open" and not self._runner.draining:
            await self._recover(turn)
        elif turn.state != "open":
            await self._finisher.begin(turn.stream_id, turn.version)

    async def _joins(self, latest: VersionInfo, request: ChatRequest) -> bool:
        """Whether a request gets the stream of the version that is open; if not, that one is about
        to end.
        """
        if latest.lost:
            await self._recover(latest)
            return False
        answered = ChatRequest.stored_with(latest)
        if self._on_busy == "attach" or (
            answered is not None and request.asks_the_same_as(answered)
        ):
            return True
        if self._on_busy == "refuse":
            raise RequestRefused(409, BUSY)
        await self._stop(latest)
        return False

    async def _answered_just_now(self, latest: VersionInfo, request: ChatRequest) -> bool:
        """Whether this request was sent again although its answer is there: by a browser or a proxy
        that got no response.
        """
        # Stored requests are large: most questions are told apart without reading one.
        if not self._is_shown(latest) or request.trigger != "submit-message":
            return False
        answered = ChatRequest.stored_with(latest)
        if answered is None or request.body != answered.body:
            return False
        # What failed or was stopped is asked again on purpose.
        last = self._service.subscribe(
            latest.stream_id,
            after=Cursor(latest.version, latest.next_id - 2),
            on_superseded="raise",
        )
        return [chunk["type"] async for chunk in last] == ["finish"]

    def _is_shown(self, turn: VersionInfo) -> bool:
        return turn.state == "open" or (
            turn.closed_for is not None and turn.closed_for < self._replay_window
        )

    async def _stop(self, turn: VersionInfo) -> None:
        if await self._service.stop(turn.stream_id, turn.version):
            self._finisher.begin(turn.stream_id, turn.version)

    async def _recover(self, turn: VersionInfo) -> bool:
        if turn.lost and await self._run_again(turn):
            return False
        if await self._service.end_lost(turn.stream_id, turn.version):
            self._finisher.begin(turn.stream_id, turn.version)
        return True

    async def _run_again(self, lost: VersionInfo) -> bool:
        """Let exactly one process acquire the next version; return False if this turn must not run
        again.
        """
        assignment = Assignment.again(lost)
        # A user who had pressed stop does not want it to begin anew.
        if (
            assignment is None
            or lost.attempt >= self._max_attempts
            or lost.stop_requested_at is not None
        ):
            return False
        try:
            await self._runner.start(assignment)
        except (VersionConflict, Fenced, StreamStopped):
            logger.debug(
                "stream %r version %d is run again elsewhere", lost.stream_id, lost.version
            )
        return True

    async def _latest(self, chat_id: str, owner: str | None) -> VersionInfo | None:
        latest = await self._visible(chat_id, owner)
        if latest is not None and latest.lost and await self._run_again(latest):
            return await self._visible(chat_id, owner)
        return latest

    async def _visible(self, chat_id: str, owner: str | None) -> VersionInfo | None:
        info = await self._stored(chat_stream_id(chat_id, owner=owner, prefix=self._stream_prefix))
        return info if info is None or info.owner == owner else None

    async def _stored(self, stream_id: str) -> VersionInfo | None:
        try:
            return await self._service.status(stream_id)
        except UnknownStream:
            return None
