"""The rules of a chat: when a request starts a turn, joins one, or is refused.

A chat is a stream, and each of its turns is one version. Turns are also found and stopped here.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final, Literal, NamedTuple, TypeAlias
from urllib.parse import quote, unquote

from monostream_ai.errors import Fenced, StreamStopped, UnknownStream, VersionConflict
from monostream_ai.fastapi.continuing import verified
from monostream_ai.fastapi.finishing import Finisher
from monostream_ai.fastapi.replays.starting import SUPERSEDED, Replay
from monostream_ai.fastapi.requests import ChatRequest, RequestRefused
from monostream_ai.fastapi.runner import TurnRunner
from monostream_ai.fastapi.takeover import Takeover
from monostream_ai.fastapi.turns import Assignment
from monostream_ai.service import DurableStreamService
from monostream_ai.types import Cursor, VersionInfo

STREAM_PREFIX: Final = "chat:"

RACES: Final = 5
"""Times a request may lose the next version to another request; then the chat is called busy."""

BUSY: Final = "This chat is still answering. Wait for the answer, or stop it first."

OnBusy: TypeAlias = Literal["refuse", "attach", "stop"]
"""How to treat another question while a turn runs: refuse it with 409, show it the running turn, or
stop that turn and answer.
"""


def chat_stream_id(chat_id: str, *, owner: str | None = None, prefix: str = STREAM_PREFIX) -> str:
    """Return the stream of a chat: `prefix + chat_id`, or `prefix + owner + "/" + chat_id`.

    The owner is percent-encoded, so no two owners share a stream, whatever they call their chats.
    """
    return prefix + chat_id if owner is None else f"{prefix}{quote(owner, safe='')}/{chat_id}"


class Run(NamedTuple):
    """One turn, as clients name it in the header `x-workflow-run-id` and in URLs."""

    chat_id: str
    version: int

    def __str__(self) -> str:
        return f"{quote(self.chat_id, safe='')}~{self.version}"

    @classmethod
    def parse(cls, name: str) -> Run | None:
        """Read a run id, percent-encoded or decoded by the server; None if it is not one."""
        chat_id, _, version = unquote(name).rpartition("~")
        if not chat_id or not version.isdecimal() or len(version) >= 19:
            return None
        return cls(chat_id, int(version))


class Begun(NamedTuple):
    """The turn that answers a request."""

    stream_id: str
    version: int


@dataclass(frozen=True, slots=True)
class Found:
    """A turn that a client asks for."""

    run: Run
    version: VersionInfo
    worth_replaying: bool
    """Whether the turn runs, or ended so recently that the page may have loaded an older history.
    """
    is_run: bool = False
    """Whether the client named this run, and not just the chat."""

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
        replay_window: Seconds for which a turn that has ended is still shown.
    """

    def __init__(
        self,
        service: DurableStreamService[Any],
        runner: TurnRunner,
        finisher: Finisher,
        takeover: Takeover,
        *,
        stream_prefix: str,
        on_busy: OnBusy,
        replay_window: float,
    ) -> None:
        self._service = service
        self._runner = runner
        self._finisher = finisher
        self._takeover = takeover
        self._stream_prefix = stream_prefix
        self._on_busy = on_busy
        self._replay_window = replay_window

    async def begin(self, request: ChatRequest, owner: str | None) -> Begun:
        """Start a turn, or find the one that already answers this request.

        Raises:
            RequestRefused: Another turn runs, the chat has another owner, or the request continues
                a message that it may not continue; see `verified`.
        """
        stream_id = chat_stream_id(request.chat_id, owner=owner, prefix=self._stream_prefix)
        # Another request or process may take the next version at any time; then look again.
        taken = -1
        for _ in range(RACES):
            latest = await self._stored(stream_id)
            if latest is not None and latest.owner != owner:
                raise RequestRefused(404, "There is no such chat.")
            try:
                version = await self._begin_after(latest, stream_id, request, owner, taken)
            except VersionConflict as conflict:
                # A chat that was deleted has no latest version, but its numbers are taken.
                taken = conflict.latest
            else:
                if version is not None:
                    return Begun(stream_id, version)
        raise RequestRefused(409, BUSY)

    async def find(self, name: str, owner: str | None) -> Found | None:
        """Return the latest turn of the chat with this id, or the turn with this run id.

        A lost turn that may run again is started again first.

        Raises:
            RequestRefused: The run was superseded. Its client counts chunks, so the chunks of two
                runs must not mix.
        """
        if latest := await self._latest(name, owner):
            return Found(Run(name, latest.version), latest, self._is_shown(latest))
        run = Run.parse(name)
        latest = await self._latest(run.chat_id, owner) if run is not None else None
        if run is None or latest is None or run.version > latest.version:
            return None
        if run.version < latest.version:
            raise RequestRefused(409, SUPERSEDED)
        return Found(run, latest, self._is_shown(latest), is_run=True)

    async def stop(self, chat_id: str, owner: str | None, run_id: str | None) -> None:
        """Stop the running turn, if there is one and the caller names it or no run at all."""
        latest = await self._visible(chat_id, owner)
        if latest is not None and run_id in (None, str(Run(chat_id, latest.version))):
            await self._stop(latest)

    async def status(self, chat_id: str, owner: str | None) -> dict[str, Any]:
        """Return a summary of the latest turn, as JSON for a page."""
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
        return version

    async def _joins(self, latest: VersionInfo, request: ChatRequest) -> bool:
        """Return whether a request is shown the open version; if not, that version is ending."""
        if latest.lost:
            await self._takeover.run_again_or_end(latest)
            return False
        if self._on_busy == "attach" or await request.repeats(self._service, latest):
            return True
        if self._on_busy == "refuse":
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
        # The runner of the turn finishes it too, but its process may be gone.
        if await self._service.stop(turn.stream_id, turn.version):
            self._finisher.begin(turn.stream_id, turn.version)

    async def _latest(self, chat_id: str, owner: str | None) -> VersionInfo | None:
        latest = await self._visible(chat_id, owner)
        if latest is None or not latest.lost or self._runner.draining:
            return latest
        runs_again = await self._takeover.run_again(latest)
        return await self._visible(chat_id, owner) if runs_again else latest

    async def _visible(self, chat_id: str, owner: str | None) -> VersionInfo | None:
        info = await self._stored(chat_stream_id(chat_id, owner=owner, prefix=self._stream_prefix))
        return info if info is None or info.owner == owner else None

    async def _stored(self, stream_id: str) -> VersionInfo | None:
        try:
            return await self._service.status(stream_id)
        except UnknownStream:
            return None
