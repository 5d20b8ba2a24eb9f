"""A chat as a stream: which of its versions runs, who may see it, and what becomes of a lost one."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import quote, unquote

from monostream_ai.errors import Fenced, PublisherLost, StreamStopped, UnknownStream, VersionConflict
from monostream_ai.fastapi.replays import Replay
from monostream_ai.fastapi.requests import ChatRequest, RequestRefused
from monostream_ai.fastapi.turns import Assignment, TurnRunner
from monostream_ai.service import DurableStreamService
from monostream_ai.types import VersionInfo

logger = logging.getLogger(__name__)

RACES: Final = 5
"""Times that a request may lose the next version to another one before it is told that the chat is busy."""

BUSY: Final = "This chat is still answering. Wait for the answer, or stop it first."


@dataclass(frozen=True, slots=True)
class Found:
    """A turn that a client asks for; `is_run` if it named the turn and not the chat."""

    version: VersionInfo
    is_run: bool = False

    @property
    def stream_id(self) -> str:
        return self.version.stream_id

    @property
    def closed(self) -> bool:
        return self.version.state != "open"

    @property
    def replay(self) -> Replay:
        """All of it: who names a turn has what came before, who names a chat gets the whole message."""
        return Replay.of_version(self.version.version) if self.is_run else Replay.of_message(self.version)


class Chats:
    """The rules of the chat routes.

    Args:
        max_attempts: Runs of one turn, the first one included.
    """

    def __init__(self, service: DurableStreamService[Any], runner: TurnRunner, *, stream_prefix: str, max_attempts: int) -> None:
        self._service = service
        self._runner = runner
        self._stream_prefix = stream_prefix
        self._max_attempts = max_attempts

    def stream_id(self, chat_id: str) -> str:
        return self._stream_prefix + chat_id

    def run_id(self, stream_id: str, version: int) -> str:
        """Return the name of one turn, as it travels in a header."""
        return f"{quote(stream_id.removeprefix(self._stream_prefix), safe='')}~{version}"

    async def begin(self, request: ChatRequest, owner: str | None) -> int:
        """Start a turn, or find the running one that answers the same request; return its version.

        Raises:
            RequestRefused: Another turn runs, or the chat belongs to somebody else.
        """
        stream_id = self.stream_id(request.chat_id)
        for _ in range(RACES):
            latest = await self._stored(stream_id)
            if latest is not None and latest.owner != owner:
                raise RequestRefused(404, "There is no such chat.")
            if latest is not None and latest.active:
                return _joined(latest, request)
            assignment = Assignment.first(stream_id, 0 if latest is None else latest.version + 1, request, owner)
            try:
                # An explicit version: of two requests at once, one starts the turn and the other finds it running.
                await self._runner.start(assignment)
            except (VersionConflict, Fenced, StreamStopped):
                continue
            return assignment.version
        raise RequestRefused(409, BUSY)

    async def find(self, name: str, owner: str | None) -> Found | None:
        """Return the latest turn of the chat of this name, or the turn whose run id it is.

        A lost turn that can be run again is, first.
        """
        latest = await self._visible(name, owner)
        if latest is not None and latest.lost and await self._run_again(latest):
            latest = await self._visible(name, owner)
        if latest is not None:
            return Found(latest)
        chat_id, _, version = unquote(name).rpartition("~")
        run = await self._visible(chat_id, owner, int(version)) if chat_id and version.isdecimal() else None
        return None if run is None else Found(run, is_run=True)

    async def stop(self, chat_id: str, owner: str | None, run_id: str | None) -> None:
        """End the running turn, if there is one, and if it is the one that the caller names."""
        latest = await self._visible(chat_id, owner)
        if latest is not None and run_id in (None, self.run_id(latest.stream_id, latest.version)):
            await self._service.stop(latest.stream_id, latest.version)

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
        info = await self._service.status(lost.stream_id, lost.version)
        if info.lost and await self._run_again(info):
            return False
        await self._service.end_lost(lost.stream_id, lost.version)
        return True

    async def _run_again(self, lost: VersionInfo) -> bool:
        """Let exactly one process acquire the next version; return False if this turn must not run again."""
        assignment = Assignment.again(lost)
        # A user who had pressed stop does not want it to begin anew.
        if assignment is None or lost.attempt >= self._max_attempts or lost.stop_requested_at is not None:
            return False
        try:
            await self._runner.start(assignment)
        except (VersionConflict, Fenced, StreamStopped):
            logger.debug("stream %r version %d is run again elsewhere", lost.stream_id, lost.version)
        return True

    async def _visible(self, chat_id: str, owner: str | None, version: int | None = None) -> VersionInfo | None:
        info = await self._stored(self.stream_id(chat_id), version)
        return info if info is None or info.owner == owner else None

    async def _stored(self, stream_id: str, version: int | None = None) -> VersionInfo | None:
        try:
            return await self._service.status(stream_id, version)
        except UnknownStream:
            return None


def _joined(running: VersionInfo, request: ChatRequest) -> int:
    answered = ChatRequest.stored_with(running)
    if answered is None or not request.asks_the_same_as(answered):
        raise RequestRefused(409, BUSY)
    return running.version
