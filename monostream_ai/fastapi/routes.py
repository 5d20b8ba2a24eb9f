"""The endpoints of the chat routes, and the plain text in which they refuse a request.

No `from __future__ import annotations` here: FastAPI could not resolve annotations that name the
variables of a function.
"""

from collections.abc import Awaitable, Callable, Collection, Coroutine
from typing import Annotated, Any, Final

from fastapi import Depends, Header, HTTPException, Query, Request, Response
from fastapi.responses import JSONResponse, PlainTextResponse
from fastapi.routing import APIRoute
from starlette.convertors import PathConvertor, register_url_convertor

from monostream_ai.errors import InvalidArgument, ServiceClosed, StoreUnavailable
from monostream_ai.fastapi.body import TurnBody
from monostream_ai.fastapi.catching_up import CatchUp
from monostream_ai.fastapi.chats import Chats, Run
from monostream_ai.fastapi.files import ChatFiles
from monostream_ai.fastapi.replays.starting import Replay, after_event, from_index
from monostream_ai.fastapi.requests import (
    ChatRequest,
    RequestRefused,
    check_chat_id,
    check_origin,
    checked_origins,
    read_run_to_stop,
)
from monostream_ai.fastapi.responses import TurnResponse, nothing_to_stream, only_finish
from monostream_ai.fastapi.takeover import Takeover
from monostream_ai.service import DurableStreamService
from monostream_ai.types import check_text
from monostream_ai.ui_messages.profiles import Profile, check_profile

RUN_ID: Final = "x-workflow-run-id"
TAIL_INDEX: Final = "x-workflow-stream-tail-index"
PROFILE_HEADER: Final = "x-ui-message-profile"


class ChatIdConvertor(PathConvertor):
    """Matches any text as a chat id, even with slashes and line breaks.

    Starlette's own `path` ends at a line break.
    """

    regex = "(?s:.*)"


register_url_convertor("chat_id", ChatIdConvertor())


class ChatRoutes:
    """The endpoints of one router.

    Dependencies of the router put the owner and the profile of each request into its `state`.
    """

    def __init__(
        self,
        service: DurableStreamService[Any],
        chats: Chats,
        takeover: Takeover,
        files: ChatFiles,
        *,
        keep_alive: float,
        catch_up: float,
        profile: Profile,
        max_body_bytes: int,
        allowed_origins: Collection[str],
    ) -> None:
        self._service = service
        self._chats = chats
        self._takeover = takeover
        self._files = files
        self._keep_alive = keep_alive
        self._catch_up = CatchUp(service, catch_up)
        self._profile = profile
        self._max_body_bytes = max_body_bytes
        self._allowed_origins = checked_origins(allowed_origins)

    async def answer(self, request: Request) -> Response:
        check_origin(request, self._allowed_origins)
        self._files.note_base(request.url.path)
        asked = await ChatRequest.read(request, self._max_body_bytes)
        turn = await self._chats.begin(asked, request.state.owner)
        return self._stream(
            request,
            Run(asked.chat_id, turn.version),
            turn.stream_id,
            Replay.of_version(turn.version),
        )

    async def resume(
        self,
        request: Request,
        chat_id: str,
        start_index: Annotated[str | None, Query(alias="startIndex")] = None,
        after: Annotated[str | None, Query()] = None,
        last_event_id: Annotated[str | None, Header()] = None,
    ) -> Response:
        found = await self._chats.find(check_chat_id(chat_id), request.state.owner)
        recent = found is not None and found.worth_replaying
        if start_index is not None:
            if found is None or not (recent or found.is_run or start_index != "0"):
                return only_finish()
            replay = await found.replay(self._service)
            replay, tail_index = from_index(replay, found.version, start_index)
            return self._stream(request, found.run, found.stream_id, replay, tail_index)
        event = last_event_id or after
        if found is None or not (recent or event):
            return nothing_to_stream()
        if event and (held := await self._catch_up.hold(found.version, event)) is not None:
            return TurnResponse(held, {RUN_ID: str(found.run)})
        rest = after_event(found.version, event) if event else await found.replay(self._service)
        if rest is None:
            return nothing_to_stream()
        return self._stream(request, found.run, found.stream_id, rest)

    async def stop(self, request: Request, chat_id: str) -> Response:
        check_origin(request, self._allowed_origins)
        run_id = await read_run_to_stop(request, self._max_body_bytes)
        await self._chats.stop(check_chat_id(chat_id), request.state.owner, run_id)
        return JSONResponse({"success": True})

    async def status(self, request: Request, chat_id: str) -> Response:
        status = await self._chats.status(check_chat_id(chat_id), request.state.owner)
        return JSONResponse(status, headers={"cache-control": "no-store"})

    # A coroutine though it awaits nothing: FastAPI runs other dependencies in its thread pool.
    async def read_profile(
        self,
        request: Request,
        query: Annotated[str | None, Query(alias="profile")] = None,
        header: Annotated[str | None, Header(alias=PROFILE_HEADER)] = None,
    ) -> None:
        """Store the profile of the request: the release of `ai` that the client has."""
        try:
            request.state.profile = check_profile(query or header or self._profile)
        except InvalidArgument as error:
            raise RequestRefused(400, f"The request has an {error}.") from error

    def _stream(
        self,
        request: Request,
        run: Run,
        stream_id: str,
        replay: Replay,
        tail_index: int | None = None,
    ) -> Response:
        headers = {RUN_ID: str(run)} | ({} if tail_index is None else {TAIL_INDEX: str(tail_index)})
        body = TurnBody(
            self._service,
            stream_id,
            replay,
            on_lost=self._takeover.follow,
            keep_alive=self._keep_alive,
            profile=request.state.profile,
        )
        return TurnResponse(body, headers)


def owned_by(authorize: Callable[..., Any] | None) -> Callable[..., Awaitable[None]]:
    """Return a dependency that stores the owner of the request: the result of `authorize`."""
    if authorize is None:
        return _owned_by_nobody

    async def store_owner(request: Request, owner: Annotated[Any, Depends(authorize)]) -> None:
        # None as an owner would show the chats of a router without `authorize`.
        if not isinstance(owner, str) or not owner:
            raise TypeError(
                "authorize must return the owner as a string that is not empty, "
                f"not {type(owner).__name__}"
            )
        # Here, so that each route refuses it, and none builds the id of a stream from it.
        request.state.owner = check_text("owner", owner)

    return store_owner


async def _owned_by_nobody(request: Request) -> None:
    request.state.owner = None


class PlainErrorsRoute(APIRoute):
    """Refuses requests in plain text, because clients show the body of an error to the user."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        handle = super().get_route_handler()

        async def handle_plainly(request: Request) -> Response:
            try:
                return await handle(request)
            except RequestRefused as refused:
                # The unread rest of a body that is too large would follow on this connection.
                headers = {"connection": "close"} if refused.status == 413 else None
                return PlainTextResponse(refused.text, refused.status, headers)
            except InvalidArgument:
                return PlainTextResponse("The request is not valid.", 400)
            except (StoreUnavailable, ServiceClosed):
                return PlainTextResponse(
                    "The server cannot answer right now. Please try again.", 503
                )
            except HTTPException as error:
                return PlainTextResponse(
                    str(error.detail), error.status_code, dict(error.headers or {})
                )

        return handle_plainly
