"""create_chat_router: the routes that `useChat({ resume: true })` calls."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any, Final, Literal

from fastapi import APIRouter, Depends

from monostream_ai.fastapi import openapi
from monostream_ai.fastapi.chats import Chats, OnBusy
from monostream_ai.fastapi.exiting import exit_noticed
from monostream_ai.fastapi.finishing import Finisher, OnFinish
from monostream_ai.fastapi.names import STREAM_PREFIX
from monostream_ai.fastapi.requests import MAX_BODY_BYTES
from monostream_ai.fastapi.routes import ChatRoutes, PlainErrorsRoute, owned_by
from monostream_ai.fastapi.runner import Reply, TurnRunner
from monostream_ai.fastapi.sweeping import sweeping
from monostream_ai.service import DurableStreamService
from monostream_ai.ui_messages.profiles import Profile, check_profile
from monostream_ai.ui_messages.sse import KEEP_ALIVE_INTERVAL

REPLAY_WINDOW: Final = 10.0
SWEEP_INTERVAL: Final = 15.0


def create_chat_router(
    service: DurableStreamService[Any],
    reply: Reply,
    *,
    authorize: Callable[..., Any] | None = None,
    prefix: str = "",
    stream_prefix: str = STREAM_PREFIX,
    on_lost: Literal["error", "retry"] = "error",
    max_attempts: int = 3,
    on_busy: OnBusy = "refuse",
    on_finish: OnFinish | None = None,
    replay_window: float = REPLAY_WINDOW,
    sweep_interval: float = SWEEP_INTERVAL,
    max_silence: float | None = None,
    drain_timeout: float = 10.0,
    keep_alive: float = KEEP_ALIVE_INTERVAL,
    profile: Profile = "v7",
    max_body_bytes: int = MAX_BODY_BYTES,
) -> APIRouter:
    """Return a router that answers chats with `reply` and lets clients come back to answers that
    run.

    - `POST` stores the request and the answer's `start`, lets the reply run in a task of its own,
      and streams what it writes. A request that is sent twice joins the turn that runs, or that has
      just answered it.
    - `GET /{chat_id}/stream` replays the running answer and goes on with it; 204 if there is none.
      It goes on after an event with `Last-Event-ID` or `?after=`, and with `?startIndex=` for
      `WorkflowChatTransport`.
    - `POST /{chat_id}/stop` ends it, in whatever process it runs; 200 also if there is nothing to
      stop.
    - `GET /{chat_id}/status` says what is stored of the latest turn.

    A client that goes away stops nothing. When the process is told to exit, responses are broken
    off within a second, so that clients come back, and turns get `drain_timeout`. That is seen
    under uvicorn, granian, gunicorn and hypercorn with `--workers 0`; elsewhere, call
    `service.begin_shutdown()` before the server waits for open responses. A client that does not
    read can keep a server waiting: give uvicorn a `--timeout-graceful-shutdown`, or granian a
    `--workers-kill-timeout` above `drain_timeout`.

    Args:
        reply: Writes an answer, through `turn.callback` or `turn.pub`. Its return ends the turn,
            its exception ends it with a masked error. With `on_lost="retry"` it may run again for
            the same turn.
        authorize: A FastAPI dependency that returns who asks, as a string, or raises
            `HTTPException`. Each owner has chats of their own: what somebody else calls by the same
            id is another stream. To share a chat, return the same owner.
        stream_prefix: The stream of a chat is `chat_stream_id(chat_id, owner=owner,
            prefix=stream_prefix)`. Each router of a service needs a prefix of its own, none the
            beginning of another.
        on_lost: What becomes of a turn whose process died: an error, or another run by exactly one
            process.
        max_attempts: Runs of one turn, the first one included; after the last, a lost turn is an
            error.
        on_busy: What becomes of another question while a turn runs. `refuse`: 409. `attach`: its
            response is the stream of the running turn, and the question is not answered. `stop`:
            the running turn is stopped, then the question is answered.
        on_finish: Called with each turn's message and a `FinishedTurn` once the turn has ended, in
            whatever way and in whatever process. Once for each turn, unless it raises, takes over a
            minute, or its process dies before it returns: then again.
        replay_window: Seconds for which an answer that has ended is still replayed, since the
            page's history may have been read before. Use 0 if clients are older than ai 5.0.233,
            6.0.250 or 7.0.61, which show such a replay twice.
        sweep_interval: Seconds between looks for lost turns without readers and for messages that
            were not handed over.
        max_silence: Seconds; a reply that writes nothing for one to two times as long is ended with
            an error.
        drain_timeout: Seconds that running turns get when the process exits; then another process
            may take them over.
        keep_alive: Seconds of silence between comments that keep proxies from cutting a stream.
        profile: The release of `ai` that clients have. One that has another says so in each
            request, by the query `profile=v6` or the header `x-ui-message-profile: v6`.

    Raises:
        ValueError: `max_attempts` is below 1, or there is no such profile.
    """
    if max_attempts < 1:
        raise ValueError("max_attempts counts the first run too: use 1 or more")
    finisher = Finisher(service, on_finish)
    runner = TurnRunner(
        service, reply, finisher, max_silence=max_silence, drain_timeout=drain_timeout
    )
    attempts = max_attempts if on_lost == "retry" else 1
    chats = Chats(
        service,
        runner,
        finisher,
        stream_prefix=stream_prefix,
        max_attempts=attempts,
        on_busy=on_busy,
        replay_window=replay_window,
    )

    @asynccontextmanager
    async def lifespan(app: Any) -> AsyncIterator[None]:
        with exit_noticed(runner.begin_exit):
            async with sweeping(service, stream_prefix, chats.attend, interval=sweep_interval):
                try:
                    yield
                finally:
                    await runner.drain()

    routes = ChatRoutes(
        service,
        chats,
        keep_alive=keep_alive,
        profile=check_profile(profile),
        max_body_bytes=max_body_bytes,
    )
    owned, profiled = [Depends(owned_by(authorize))], [Depends(routes.read_profile)]
    router = APIRouter(
        prefix=prefix, lifespan=lifespan, route_class=PlainErrorsRoute, dependencies=owned
    )
    router.post("", dependencies=profiled, **openapi.ANSWER)(routes.answer)
    router.post("/", dependencies=profiled, include_in_schema=False)(routes.answer)
    router.get("/{chat_id:chat_id}/stream", dependencies=profiled, **openapi.RESUME)(routes.resume)
    router.post("/{chat_id:chat_id}/stop", **openapi.STOP)(routes.stop)
    router.get("/{chat_id:chat_id}/status", **openapi.STATUS)(routes.status)
    return router
