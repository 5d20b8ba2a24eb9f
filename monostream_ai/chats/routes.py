"""The endpoints of the chat routes."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any, Final

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from monostream_ai import ag_ui
from monostream_ai.chats.endpoints import Endpoint, event_in
from monostream_ai.chats.events import EventBody, TurnWatcher
from monostream_ai.chats.files import PATH, ChatFiles
from monostream_ai.chats.queue.chat_queue import Queued
from monostream_ai.chats.queue.waiting_body import WaitingBody
from monostream_ai.chats.rules import Begun, Chats, Found
from monostream_ai.chats.streaming.body import TurnBody
from monostream_ai.chats.streaming.catching_up import CatchUp
from monostream_ai.chats.streaming.replays.starting import (
    SUPERSEDED,
    Replay,
    after_event,
    from_index,
)
from monostream_ai.chats.streaming.responses import (
    TurnResponse,
    event_response,
    nothing_to_stream,
    only_finish,
)
from monostream_ai.chats.turns.names import QuestionRun, Run
from monostream_ai.chats.turns.requests import (
    ChatRequest,
    RequestRefused,
    check_chat_id,
    check_origin,
    checked_origins,
    read_run_to_stop,
)
from monostream_ai.chats.turns.takeover import Takeover
from monostream_ai.errors import InvalidArgument
from monostream_ai.json_text import encode_json
from monostream_ai.service import DurableStreamService
from monostream_ai.types import check_stream_id
from monostream_ai.ui_messages.profiles import Profile, check_profile
from monostream_ai.ui_messages.sse import HEADERS, SSEEncoder

RUN_ID: Final = "x-workflow-run-id"
TAIL_INDEX: Final = "x-workflow-stream-tail-index"
PROFILE_HEADER: Final = "x-ui-message-profile"
AG_UI: Final = "ag-ui"
PROTOCOLS: Final = ("ui-messages", AG_UI)

STREAM: Final = "/{chat_id:chat_id}/stream"
STOP: Final = "/{chat_id:chat_id}/stop"
STATUS: Final = "/{chat_id:chat_id}/status"
QUEUE: Final = "/{chat_id:chat_id}/queue"
QUESTION: Final = "/{chat_id:chat_id}/queue/{number:number}"


class ChatRoutes:
    """Answers the requests for one set of chats.

    The owner of each request is in its `state`, and so are its profile and protocol once
    `_read_client` has read them.
    """

    def __init__(
        self,
        service: DurableStreamService[Any],
        chats: Chats,
        takeover: Takeover,
        files: ChatFiles,
        watcher: TurnWatcher,
        *,
        keep_alive: float,
        catch_up: float,
        profile: Profile,
        max_body_bytes: int,
        allowed_origins: Collection[str],
        queues: bool,
    ) -> None:
        self._service = service
        self._chats = chats
        self._takeover = takeover
        self._files = files
        self._watcher = watcher
        self._keep_alive = keep_alive
        self._catch_up = CatchUp(service, catch_up)
        self._profile = profile
        self._max_body_bytes = max_body_bytes
        self._allowed_origins = checked_origins(allowed_origins)
        self._queues = queues

    @property
    def endpoints(self) -> list[Endpoint]:
        """All endpoints, in the order in which their paths are tried."""
        found = [
            Endpoint("POST", "", self.answer, "answer"),
            Endpoint("POST", "/", self.answer, "answer"),
            Endpoint("GET", "/events", self.events, "events"),
            Endpoint("GET", STREAM, self.resume, "resume"),
            Endpoint("POST", STOP, self.stop, "stop"),
            Endpoint("GET", STATUS, self.status, "status"),
        ]
        if self._queues:
            found += [
                Endpoint("GET", QUEUE, self.questions, "questions"),
                Endpoint("DELETE", QUESTION, self.cancel, "cancel"),
                Endpoint("DELETE", QUEUE, self.cancel, "cancel"),
            ]
        if self._files.stored is not None:
            found.append(Endpoint("GET", PATH, self._files.serve, self._files.route_name))
        return found

    async def answer(self, request: Request) -> Response:
        self._read_client(request)
        check_origin(request, self._allowed_origins)
        self._files.note_base(request.url.path)
        asked = await ChatRequest.read(request, self._max_body_bytes)
        turn = await self._chats.begin(asked, request.state.owner)
        if "respond-async" in request.headers.get("prefer", ""):
            return _accepted(turn)
        if isinstance(turn, Queued):
            return self._hold(request, turn)
        if turn.replaced:
            raise RequestRefused(409, SUPERSEDED)
        return self._stream(
            request,
            Run(asked.chat_id, turn.version),
            turn.stream_id,
            Replay.of_version(turn.version),
        )

    async def resume(self, request: Request) -> Response:
        self._read_client(request)
        start_index = request.query_params.get("startIndex")
        found = await self._chats.find(_chat_id(request), request.state.owner)
        if isinstance(found, Queued):
            return self._hold(request, found)
        recent = found is not None and found.worth_replaying
        if start_index is not None and request.state.protocol != AG_UI:
            if found is None or not (recent or found.is_run or start_index != "0"):
                return only_finish()
            replay = await found.replay(self._service)
            replay, tail_index = from_index(
                replay, found.version, start_index, same_run=not found.replaces_run
            )
            return self._stream(request, found.run, found.stream_id, replay, tail_index)
        event = event_in(request)
        if found is None or not (recent or event):
            return nothing_to_stream()
        if request.state.protocol == AG_UI:
            return self._resume_events(request, found, event)
        if event and (held := await self._catch_up.hold(found.version, event)) is not None:
            return TurnResponse(held, {RUN_ID: str(found.run)})
        rest = after_event(found.version, event) if event else await found.replay(self._service)
        if rest is None:
            return nothing_to_stream()
        return self._stream(request, found.run, found.stream_id, rest)

    async def events(self, request: Request) -> Response:
        chat = request.query_params.get("chat")
        chat_id = None if chat is None else check_chat_id(chat)
        owner, keep_alive = request.state.owner, self._keep_alive
        # Before the response begins: no store could look for such a stream.
        check_stream_id(self._watcher.prefix_of(owner, chat_id or ""))
        return event_response(
            EventBody(self._watcher, owner, chat_id, event_in(request), keep_alive=keep_alive)
        )

    async def stop(self, request: Request) -> Response:
        check_origin(request, self._allowed_origins)
        run_id = await read_run_to_stop(request, self._max_body_bytes)
        await self._chats.stop(_chat_id(request), request.state.owner, run_id)
        return JSONResponse({"success": True})

    async def questions(self, request: Request) -> Response:
        found = await self._chats.questions(_chat_id(request), request.state.owner)
        # Not by JSONResponse, which fails at half an emoji; a page may have sent one.
        return Response(
            encode_json({"questions": found}),
            headers={"cache-control": "no-store"},
            media_type="application/json",
        )

    async def cancel(self, request: Request) -> Response:
        check_origin(request, self._allowed_origins)
        chat_id, number = _chat_id(request), _question_number(request)
        cancelled = await self._chats.cancel(chat_id, request.state.owner, number)
        return JSONResponse({"success": True, "cancelled": cancelled})

    async def status(self, request: Request) -> Response:
        status = await self._chats.status(_chat_id(request), request.state.owner)
        return JSONResponse(status, headers={"cache-control": "no-store"})

    def _read_client(self, request: Request) -> None:
        """Store the protocol of the request, and the release of `ai` that the client has.

        Raises:
            RequestRefused: One of them is unknown.
        """
        query = request.query_params
        protocol = query.get("protocol", PROTOCOLS[0])
        if protocol not in PROTOCOLS:
            raise RequestRefused(
                400, f"The request has an unknown protocol: use one of {', '.join(PROTOCOLS)}."
            )
        request.state.protocol = protocol
        try:
            request.state.profile = check_profile(
                query.get("profile") or request.headers.get(PROFILE_HEADER) or self._profile
            )
        except InvalidArgument as error:
            raise RequestRefused(400, f"The request has an {error}.") from error

    def _resume_events(self, request: Request, found: Found, event: str | None) -> Response:
        after = ag_ui.EventCursor.parse(event) if event else None
        if after is not None:
            rest = after_event(found.version, str(after.chunk))
            if rest is None and after.event is None:
                return nothing_to_stream()
        replay = Replay.of_version(found.version.version)
        return self._stream(request, found.run, found.stream_id, replay, after=after)

    def _hold(self, request: Request, queued: Queued) -> Response:
        """Keep a response open until a question begins, then stream its answer."""
        chat_id = queued.run.chat_id
        cancelled = (
            ag_ui.AGUIEncoder(chat_id, str(queued.run)).cancelled()
            if request.state.protocol == AG_UI
            else SSEEncoder().end(None)
        )

        def answer(version: int) -> TurnBody:
            return self._body(request, chat_id, queued.stream_id, Replay.of_version(version))

        body = WaitingBody(
            self._service,
            queued,
            answer=answer,
            nothing=cancelled,
            keep_alive=self._keep_alive,
        )
        return TurnResponse(body, {RUN_ID: str(queued.run)}, _headers(request))

    def _stream(
        self,
        request: Request,
        run: Run | QuestionRun,
        stream_id: str,
        replay: Replay,
        tail_index: int | None = None,
        *,
        after: ag_ui.EventCursor | None = None,
    ) -> Response:
        headers = {RUN_ID: str(run)} | ({} if tail_index is None else {TAIL_INDEX: str(tail_index)})
        body = self._body(request, run.chat_id, stream_id, replay, after=after)
        return TurnResponse(body, headers, _headers(request))

    def _body(
        self,
        request: Request,
        chat_id: str,
        stream_id: str,
        replay: Replay,
        *,
        after: ag_ui.EventCursor | None = None,
    ) -> TurnBody:
        encoder = None
        if request.state.protocol == AG_UI:
            # Whatever name the client knows the turn by: a client that goes on later, or elsewhere,
            # must find the same ids in its events.
            run = Run(chat_id, replay.after.version)
            encoder = ag_ui.AGUIEncoder(chat_id, str(run), after=after)
        return TurnBody(
            self._service,
            stream_id,
            replay,
            on_lost=self._takeover.follow,
            keep_alive=self._keep_alive,
            profile=request.state.profile,
            encoder=encoder,
        )


def _headers(request: Request) -> Mapping[str, str]:
    return ag_ui.HEADERS if request.state.protocol == AG_UI else HEADERS


def _accepted(turn: Begun | Queued) -> Response:
    """Return the response to a client that asks and does not wait for the answer.

    Source: RFC 7240, 4.1.
    """
    version, number = (None, turn.run.number) if isinstance(turn, Queued) else (turn.version, None)
    return JSONResponse(
        {"version": version, "number": number},
        202,
        {"cache-control": "no-store", "preference-applied": "respond-async"},
    )


def _chat_id(request: Request) -> str:
    return check_chat_id(request.path_params["chat_id"])


def _question_number(request: Request) -> int | None:
    """Return the number of the question that the path names, if it names one."""
    number = request.path_params.get("number")
    if number is None:
        return None
    if not number.isascii() or not number.isdecimal() or len(number) >= 19:
        raise RequestRefused(400, "The request has no valid number of a question.")
    return int(number)
