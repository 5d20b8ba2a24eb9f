"""create_chat_router: the routes that `useChat({ resume: true })` calls.

No `from __future__ import annotations` here: FastAPI could not resolve annotations that name a closure's variables.
"""

from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any, Final, Literal

from fastapi import APIRouter, Depends, Header, HTTPException, Query, Request, Response
from fastapi.responses import JSONResponse, PlainTextResponse
from fastapi.routing import APIRoute

from monostream_ai.errors import InvalidArgument, ServiceClosed, StoreUnavailable
from monostream_ai.fastapi.bodies import TurnBody
from monostream_ai.fastapi.chats import Chats
from monostream_ai.fastapi.replays import Replay, after_event, from_index
from monostream_ai.fastapi.requests import MAX_BODY_BYTES, ChatRequest, RequestRefused, check_chat_id, read_body, read_stop
from monostream_ai.fastapi.responses import TurnResponse, nothing_to_stream, only_finish
from monostream_ai.fastapi.turns import Reply, TurnRunner
from monostream_ai.service import DurableStreamService
from monostream_ai.ui_messages.profiles import Profile, check_profile
from monostream_ai.ui_messages.sse import KEEP_ALIVE_INTERVAL

RUN_ID: Final = "x-workflow-run-id"
TAIL_INDEX: Final = "x-workflow-stream-tail-index"
PROFILE_HEADER: Final = "x-ui-message-profile"


def create_chat_router(
    service: DurableStreamService[Any],
    reply: Reply,
    *,
    authorize: Callable[..., Any] | None = None,
    prefix: str = "",
    stream_prefix: str = "chat:",
    on_lost: Literal["error", "retry"] = "error",
    max_attempts: int = 3,
    max_silence: float | None = None,
    drain_timeout: float = 10.0,
    keep_alive: float = KEEP_ALIVE_INTERVAL,
    profile: Profile = "v7",
    max_body_bytes: int = MAX_BODY_BYTES,
) -> APIRouter:
    """Return a router that answers chats with `reply` and lets clients come back to answers that run.

    - `POST` stores the request and the answer's `start`, lets the reply run in a task of its own, and streams what it writes. A
      request sent twice joins the turn that runs; another one meanwhile gets 409.
    - `GET /{chat_id}/stream` replays the running answer and goes on with it; 204 if there is none.
    - `POST /{chat_id}/stop` ends it, in whatever process it runs; 200 also if there is nothing to stop.
    - `GET /{chat_id}/status` says what is stored of the latest turn.

    A client that goes away stops nothing. When the process ends, responses are broken off at once, so that clients come back.

    Args:
        reply: Writes an answer, through `turn.callback` or `turn.pub`. Its return ends the turn, its exception ends it with a
            masked error. With `on_lost="retry"` it may run again for the same turn.
        authorize: A FastAPI dependency that returns who asks, as a string, or raises `HTTPException`. A chat belongs to whom its
            latest turn was written for; to others it looks like a chat that is not there.
        stream_prefix: The stream of a chat is called this plus the chat's id.
        on_lost: What becomes of a turn whose process died: an error, or another run by exactly one process.
        max_attempts: Runs of one turn, the first one included; after the last, a lost turn is an error.
        max_silence: Seconds; a reply that writes nothing for one to two times as long is ended with an error.
        drain_timeout: Seconds that running turns get when the process ends; then another process may take them over.
        keep_alive: Seconds of silence between comments that keep proxies from cutting a stream.
        profile: The release of `ai` that clients have. One that has another says so in each request, by the query `profile=v6` or
            the header `x-ui-message-profile: v6`.

    Raises:
        ValueError: `max_attempts` is below 1, or there is no such profile.
    """
    if max_attempts < 1:
        raise ValueError("max_attempts counts the first run too: use 1 or more")
    check_profile(profile)
    runner = TurnRunner(service, reply, max_silence=max_silence, drain_timeout=drain_timeout)
    chats = Chats(service, runner, stream_prefix=stream_prefix, max_attempts=max_attempts if on_lost == "retry" else 1)

    @asynccontextmanager
    async def lifespan(app: Any) -> AsyncIterator[None]:
        try:
            yield
        finally:
            await runner.drain()

    router = APIRouter(prefix=prefix, lifespan=lifespan, route_class=_PlainErrorsRoute)
    caller = Depends(authorize or _anybody)

    def choose_profile(
        query: str | None = Query(None, alias="profile"), header: str | None = Header(None, alias=PROFILE_HEADER)
    ) -> Profile:
        try:
            return check_profile(query or header or profile)
        except InvalidArgument as error:
            raise RequestRefused(400, f"The request has an {error}.") from error

    chosen = Depends(choose_profile)

    def stream(stream_id: str, replay: Replay, client: Profile, tail_index: int | None = None) -> Response:
        headers = {RUN_ID: chats.run_id(stream_id, replay.after.version)}
        if tail_index is not None:
            headers[TAIL_INDEX] = str(tail_index)
        body = TurnBody(service, stream_id, replay, on_lost=chats.recover, keep_alive=keep_alive, profile=client)
        return TurnResponse(body, headers)

    @router.post("")
    @router.post("/")
    async def answer(request: Request, client: Profile = chosen, owner: Any = caller) -> Response:
        asked = ChatRequest.from_body(await read_body(request, max_body_bytes))
        version = await chats.begin(asked, owner)
        return stream(chats.stream_id(asked.chat_id), Replay.of_version(version), client)

    @router.get("/{chat_id:path}/stream")
    async def resume(
        chat_id: str,
        start_index: str | None = Query(None, alias="startIndex"),
        last_event_id: str | None = Header(None),
        client: Profile = chosen,
        owner: Any = caller,
    ) -> Response:
        found = await chats.find(check_chat_id(chat_id), owner)
        if start_index is not None:
            if found is None or (found.closed and not found.is_run and start_index == "0"):
                return only_finish()
            replay, tail_index = from_index(found.replay, found.version, start_index)
            return stream(found.stream_id, replay, client, tail_index)
        if found is None or found.closed and last_event_id is None:
            return nothing_to_stream()
        rest = found.replay if last_event_id is None else after_event(found.version, last_event_id)
        return nothing_to_stream() if rest is None else stream(found.stream_id, rest, client)

    @router.post("/{chat_id:path}/stop")
    async def stop(chat_id: str, request: Request, owner: Any = caller) -> Response:
        await chats.stop(check_chat_id(chat_id), owner, await read_stop(request, max_body_bytes))
        return JSONResponse({"success": True})

    @router.get("/{chat_id:path}/status")
    async def status(chat_id: str, owner: Any = caller) -> Response:
        return JSONResponse(await chats.status(check_chat_id(chat_id), owner), headers={"cache-control": "no-store"})

    return router


class _PlainErrorsRoute(APIRoute):
    """Answers refusals in plain text: clients show the body of an error as it is, and JSON is no sentence."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        handle = super().get_route_handler()

        async def handle_plainly(request: Request) -> Response:
            try:
                return await handle(request)
            except RequestRefused as refused:
                return PlainTextResponse(refused.text, refused.status)
            except InvalidArgument:
                return PlainTextResponse("The request is not valid.", 400)
            except (StoreUnavailable, ServiceClosed):
                return PlainTextResponse("The server cannot answer right now. Please try again.", 503)
            except HTTPException as error:
                return PlainTextResponse(str(error.detail), error.status_code, dict(error.headers or {}))

        return handle_plainly


def _anybody() -> None:
    return None
