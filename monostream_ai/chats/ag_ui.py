"""Endpoints for programs that answer with events of AG-UI: a POST of `RunAgentInput` starts a run.

Sources: PyPI ag-ui-protocol 1.0.0, ag_ui/_generated/models.py (`RunAgentInput`); npm @ag-ui/client
1.0.0, src/agent/http.ts (the request).
"""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Awaitable, Callable, Collection
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from monostream_ai._writing.publisher import Publisher
from monostream_ai.ag_ui import HEADERS, Event
from monostream_ai.ag_ui.sse import StoredEventEncoder
from monostream_ai.chats.endpoints import Endpoint, event_in
from monostream_ai.chats.rules import BUSY, NO_CHAT, RACES
from monostream_ai.chats.streaming.body import TurnBody
from monostream_ai.chats.streaming.replays.starting import Replay, after_event
from monostream_ai.chats.streaming.responses import TurnResponse, nothing_to_stream
from monostream_ai.chats.turns.finishing import latest_version
from monostream_ai.chats.turns.names import chat_stream_id
from monostream_ai.chats.turns.requests import (
    Body,
    ChatRequest,
    RequestRefused,
    check_chat_id,
    check_origin,
    checked_origins,
    read_json,
)
from monostream_ai.chats.turns.runner import TurnRunner
from monostream_ai.chats.turns.tracing import attempt_traced
from monostream_ai.chats.turns.turn import Assignment
from monostream_ai.chats.turns.writing import errors_told
from monostream_ai.errors import (
    Fenced,
    StreamDeleted,
    StreamStopped,
    VersionConflict,
)
from monostream_ai.service import DurableStreamService
from monostream_ai.types import check_text

AGUI_STREAM_PREFIX: Final = "ag-ui:"

RESUME: Final = "/{thread_id:chat_id}/stream"
STOP: Final = "/{thread_id:chat_id}/stop"


@dataclass(frozen=True, slots=True)
class AGUIRun:
    """One run of a thread, stored as one version of the thread's stream."""

    input: Body
    """The `RunAgentInput` as the client sent it, as JSON. Only its `threadId` and `runId` were
    checked; `ag_ui.core.RunAgentInput.model_validate` checks the rest.
    """
    pub: Publisher[Event]
    owner: str | None
    """The result of `authorize`."""


AGUIReply: TypeAlias = Callable[[AGUIRun], Awaitable[object]]
"""Writes the events of a run to `run.pub`, from `RUN_STARTED` on."""


class AGUIRoutes:
    """Answers the requests for one set of threads. The `state` of a request has its owner."""

    def __init__(
        self,
        service: DurableStreamService[Any],
        runner: TurnRunner,
        *,
        stream_prefix: str,
        keep_alive: float,
        max_body_bytes: int,
        allowed_origins: Collection[str],
    ) -> None:
        self._service = service
        self._runner = runner
        self._stream_prefix = stream_prefix
        self._keep_alive = keep_alive
        self._max_body_bytes = max_body_bytes
        self._allowed_origins = checked_origins(allowed_origins)

    @property
    def endpoints(self) -> list[Endpoint]:
        """All endpoints, in the order in which their paths are tried."""
        return [
            Endpoint("POST", "", self.run, "run"),
            Endpoint("POST", "/", self.run, "run"),
            Endpoint("GET", RESUME, self.resume, "resume"),
            Endpoint("POST", STOP, self.stop, "stop"),
        ]

    async def run(self, request: Request) -> Response:
        check_origin(request, self._allowed_origins)
        asked = _checked(await read_json(request, self._max_body_bytes))
        stream_id, owner = self._stream_of(asked["threadId"], request), request.state.owner
        version = await _begin(self._service, self._runner, stream_id, asked, owner)
        return self._stream(stream_id, Replay.of_version(version))

    async def resume(self, request: Request) -> Response:
        stream_id, event = self._stream_named(request), event_in(request)
        latest = await latest_version(self._service, stream_id)
        if latest is None or latest.state == "pruned" or not (event or latest.state == "open"):
            return nothing_to_stream()
        if not event:
            return self._stream(stream_id, Replay.of_version(latest.version))
        rest = after_event(latest, event)
        return nothing_to_stream() if rest is None else self._stream(stream_id, Replay(rest.after))

    async def stop(self, request: Request) -> Response:
        check_origin(request, self._allowed_origins)
        await self._service.stop(self._stream_named(request))
        return JSONResponse({"success": True})

    def _stream_named(self, request: Request) -> str:
        return self._stream_of(request.path_params["thread_id"], request)

    def _stream_of(self, thread_id: str, request: Request) -> str:
        return chat_stream_id(
            check_chat_id(thread_id), owner=request.state.owner, prefix=self._stream_prefix
        )

    def _stream(self, stream_id: str, replay: Replay) -> Response:
        body = TurnBody(
            self._service,
            stream_id,
            replay,
            on_lost=None,
            keep_alive=self._keep_alive,
            profile="v7",
            encoder=StoredEventEncoder(),
        )
        return TurnResponse(body, {}, HEADERS)


class RunWriter:
    """Opens the version of a run and has the reply write it."""

    def __init__(self, service: DurableStreamService[Any], reply: AGUIReply) -> None:
        self._service = service
        self._reply = reply

    async def write(self, assignment: Assignment, opened: asyncio.Future[None]) -> None:
        with errors_told(assignment, opened), ExitStack() as trace:
            async with await self._publisher(assignment) as pub:
                trace.enter_context(attempt_traced(self._service, assignment, pub))
                opened.set_result(None)
                await self._reply(AGUIRun(assignment.request.body, pub, assignment.owner))

    async def _publisher(self, assignment: Assignment) -> Publisher[Event]:
        make = functools.partial(
            self._service.publisher,
            assignment.stream_id,
            assignment.version,
            message_id=assignment.message_id,
            owner=assignment.owner,
            request=assignment.request.body,
            # Only a drain cancels a run without ending its version.
            on_cancel="release",
        )
        # It encodes the request, which may be large.
        return await asyncio.to_thread(make)


async def _begin(
    service: DurableStreamService[Any],
    runner: TurnRunner,
    stream_id: str,
    asked: Body,
    owner: str | None,
) -> int:
    """Start the run that was asked for, unless it is the latest one; return its version.

    Raises:
        RequestRefused: Another run is open.
    """
    taken = -1
    for _ in range(RACES):
        latest = await latest_version(service, stream_id)
        if latest is not None and latest.message_id == asked["runId"] and latest.state != "pruned":
            return latest.version
        if latest is not None and latest.state == "open":
            if not latest.lost:
                raise RequestRefused(409, BUSY)
            await service.end_lost(stream_id, latest.version)
            continue
        version = max(taken, -1 if latest is None else latest.version) + 1
        request = ChatRequest(asked["threadId"], [], asked)
        work = Assignment(stream_id, version, request, owner, message_id=asked["runId"])
        try:
            # The version is explicit, so that of two requests at once one starts the run and the
            # other finds it.
            await runner.start(work)
        except VersionConflict as conflict:
            taken = conflict.latest
        except (Fenced, StreamStopped):
            continue
        except StreamDeleted as error:
            raise RequestRefused(404, NO_CHAT) from error
        else:
            return version
    raise RequestRefused(409, BUSY)


def _checked(body: object) -> Body:
    if not isinstance(body, dict) or not isinstance(body.get("messages"), list):
        raise RequestRefused(400, "The request is no RunAgentInput.")
    check_chat_id(body.get("threadId"))
    run_id = body.get("runId")
    if not isinstance(run_id, str) or not run_id:
        raise RequestRefused(400, "The request has no valid run id.")
    check_text("run id", run_id)
    return body
