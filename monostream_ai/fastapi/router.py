"""The routers: the routes of the ASGI applications, with FastAPI's dependencies and OpenAPI."""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Any

from fastapi import APIRouter

from monostream_ai.chats.ag_ui import AGUI_STREAM_PREFIX, AGUIReply
from monostream_ai.chats.asgi import (
    DRAIN_TIMEOUT,
    REPLAY_WINDOW,
    SWEEP_INTERVAL,
    create_agui_app,
    create_chat_app,
)
from monostream_ai.chats.queue.questions import MAX_WAITING
from monostream_ai.chats.rules import OnBusy
from monostream_ai.chats.streaming.catching_up import CATCH_UP
from monostream_ai.chats.turns.dispatching import DISPATCH_TIMEOUT, Dispatch
from monostream_ai.chats.turns.finishing import OnFinish
from monostream_ai.chats.turns.names import STREAM_PREFIX
from monostream_ai.chats.turns.replies import MAX_ATTEMPTS, ChatReplies, OnLost, Reply
from monostream_ai.chats.turns.requests import MAX_BODY_BYTES
from monostream_ai.fastapi.openapi import AGUI_OPERATIONS, CHAT_OPERATIONS
from monostream_ai.fastapi.routes import routed
from monostream_ai.files import DatabaseFiles
from monostream_ai.service import DurableStreamService
from monostream_ai.ui_messages.file_hook import Files
from monostream_ai.ui_messages.profiles import Profile
from monostream_ai.ui_messages.sse import KEEP_ALIVE_INTERVAL


def create_chat_router(
    service: DurableStreamService[Any],
    reply: Reply | ChatReplies,
    *,
    dispatch: Dispatch | None = None,
    dispatch_timeout: float = DISPATCH_TIMEOUT,
    authorize: Callable[..., Any] | None = None,
    prefix: str = "",
    stream_prefix: str = STREAM_PREFIX,
    on_lost: OnLost = "error",
    max_attempts: int = MAX_ATTEMPTS,
    on_busy: OnBusy = "refuse",
    max_waiting: int = MAX_WAITING,
    on_finish: OnFinish | None = None,
    replay_window: float = REPLAY_WINDOW,
    sweep_interval: float = SWEEP_INTERVAL,
    max_silence: float | None = None,
    drain_timeout: float = DRAIN_TIMEOUT,
    keep_alive: float = KEEP_ALIVE_INTERVAL,
    catch_up: float = CATCH_UP,
    profile: Profile = "any",
    max_body_bytes: int = MAX_BODY_BYTES,
    allowed_origins: Collection[str] = (),
    files: Files | DatabaseFiles | None = None,
) -> APIRouter:
    """Return a router that answers chats with `reply` and lets clients resume running answers.

    - `POST` stores the request and the answer's `start`, runs the reply in a task of its own, and
      streams its chunks. A repeated request joins the turn that runs, or that has just answered it.
      If its last message is the assistant's, the turn continues the chat's latest answer as it is
      stored; the client adds results and decisions that the answer waits for, and nothing else.
    - `GET /{chat_id}/stream` replays the running answer and tails it, or replays one that has just
      ended; 204 if there is neither. It continues after an event with `Last-Event-ID` or `?after=`,
      and from `?startIndex=` for `WorkflowChatTransport`. With `?protocol=ag-ui`, this and `POST`
      send the same answer as events of AG-UI.
    - `POST /{chat_id}/stop` stops the running answer, in whatever process it runs; 200 even if
      there is nothing to stop.
    - `GET /events` sends a server-sent event when a turn of any chat of the owner begins, ends,
      waits, is lost or runs again; with `?chat=`, for one chat only. After an event that
      `Last-Event-ID` or `?after=` names, it first tells which turns have ended since.
    - `GET /{chat_id}/status` summarizes the latest turn.
    - `GET /{chat_id}/files/{token}` serves a file of an answer, if `files` is a `DatabaseFiles`.

    A client that goes away stops nothing. When the process is told to exit, responses break off
    within a second, so that clients come back, and turns get `drain_timeout` to end. Exits are
    noticed under uvicorn, granian, gunicorn and hypercorn with `--workers 0`; elsewhere, call
    `service.begin_shutdown()` before the server waits for open responses. A client that does not
    read can keep a server waiting: give uvicorn a `--timeout-graceful-shutdown`, or granian a
    `--workers-kill-timeout` above `drain_timeout`.

    Args:
        reply: Writes an answer, through `turn.callback` or `turn.pub`. The turn ends when it
            returns, or with a masked error when it raises. With `on_lost="retry"` or `"continue"`
            it may run again for the same turn. A `ChatReplies` holds it together with `on_lost`,
            `max_attempts`, `on_finish`, `max_silence`, `files` and `stream_prefix`, declared once
            for this router and for workers.
        dispatch: Called with a short text that names a turn, to put it into a queue; a worker
            passes it to `run_turn`. The reply then runs there and not in this process, which opens
            the version, streams, stops, and dispatches again the turns of workers that died. If it
            raises, or takes over a third of `dispatch_timeout`, the turn ends with an error and the
            request gets 503.
        dispatch_timeout: Seconds that a turn waits for a worker. Then it is dispatched again, and
            after the fourth time it ends with an error.
        authorize: A FastAPI dependency that returns the owner of the request as a string, or raises
            `HTTPException`. Each owner has their own chats: the same chat id under another owner is
            another stream. To share a chat, return the same owner.
        stream_prefix: The stream of a chat is `chat_stream_id(chat_id, owner=owner,
            prefix=stream_prefix)`. Each router of a service needs a prefix of its own, and none may
            be the beginning of another.
        on_lost: How to treat a turn whose process died. `error`: end it with an error. `retry`: let
            exactly one process run it again, as a new answer in place of the lost one. `continue`:
            let exactly one process run the reply with `turn.written`, and write the rest of the
            same answer.
        max_attempts: Runs of one turn, including the first; a turn that is lost in the last one
            ends with an error. The first ten runs that a process hands over when it exits do not
            count, unless there is only one attempt.
        on_busy: How to treat another question while a turn runs. `refuse`: 409. `attach`:
            stream the running turn and leave the question unanswered. `stop`: stop the running
            turn, then answer the question. `queue`: let the question wait until the turns before it
            have ended, in whatever way; exactly one process then begins it.
        max_waiting: Questions that may wait in one chat; a further one gets 429.
        on_finish: Called with each turn's message and a `FinishedTurn` once the turn has ended, in
            whatever way and whatever process. It is called once for each turn, and again only if it
            raises, takes over a minute, or its process dies before it returns.
        replay_window: Seconds for which an ended answer is still replayed, because the page may
            have loaded its history before the end. Use 0 if clients are older than ai 5.0.233,
            6.0.250 or 7.0.61, which show such a replay twice.
        sweep_interval: Seconds between sweeps for lost turns without readers and for `on_finish`
            calls that are still due.
        max_silence: Seconds; a reply that writes nothing for one to two times as long ends with an
            error.
        drain_timeout: Seconds that running turns get when the process exits; then another process
            may take them over. Under a reloader of uvicorn, granian or hypercorn, turns that have
            an attempt left get none.
        keep_alive: Seconds of silence between comments that keep proxies from cutting a stream.
        catch_up: Seconds for which a client that shows the text of a lost turn waits at most until
            the retried turn has as much text; then it gets that turn in one piece. 0 replaces the
            text at once.
        profile: The release of `ai` that clients have. By default, pages of `ai` 6 and 7 read every
            chunk, and pages of `ai` 5 all but approvals. A client with another one says so in each
            request, by the query `profile=v7` or the header `x-ui-message-profile: v7`.
        allowed_origins: Other origins whose pages may ask and stop, such as
            `https://app.example.com`; pass the list that `CORSMiddleware` allows. Without it, a
            POST from a page of another origin gets 403, since a browser would send the visitor's
            cookies with it. Programs are not affected.
        files: Stores the large files of answers, such as images that a model makes:
            `DatabaseFiles(service)`, a `FileHook`, or an async function from bytes and media type
            to a URL. All captures of a turn use it. Without it, a file that is too large to store
            becomes a text that says so.

    Raises:
        ValueError: An option has an unknown value, or a number is out of range.
        TypeError: `reply`, `on_finish`, `dispatch` or `files` is not an async function,
            `authorize` is no function, or an option that belongs to a `ChatReplies` is given beside
            it.
    """
    app = create_chat_app(
        service,
        reply,
        dispatch=dispatch,
        dispatch_timeout=dispatch_timeout,
        stream_prefix=stream_prefix,
        on_lost=on_lost,
        max_attempts=max_attempts,
        on_busy=on_busy,
        max_waiting=max_waiting,
        on_finish=on_finish,
        replay_window=replay_window,
        sweep_interval=sweep_interval,
        max_silence=max_silence,
        drain_timeout=drain_timeout,
        keep_alive=keep_alive,
        catch_up=catch_up,
        profile=profile,
        max_body_bytes=max_body_bytes,
        allowed_origins=allowed_origins,
        files=files,
    )
    return routed(app, CHAT_OPERATIONS, prefix=prefix, authorize=authorize)


def create_agui_router(
    service: DurableStreamService[Any],
    reply: AGUIReply,
    *,
    authorize: Callable[..., Any] | None = None,
    prefix: str = "",
    stream_prefix: str = AGUI_STREAM_PREFIX,
    drain_timeout: float = DRAIN_TIMEOUT,
    keep_alive: float = KEEP_ALIVE_INTERVAL,
    max_body_bytes: int = MAX_BODY_BYTES,
    allowed_origins: Collection[str] = (),
) -> APIRouter:
    """Return a router for `HttpAgent` that stores each run, so that clients can come back to it.

    - `POST` starts a run in a task of its own and streams its events. A request with the id of the
      latest run of its thread replays that run and tails it. While another run of the thread is
      open, it gets 409.
    - `GET /{thread_id}/stream` replays the open run and tails it, or goes on after an event with
      `Last-Event-ID` or `?after=`; 204 if nothing follows.
    - `POST /{thread_id}/stop` stops the open run, in whatever process it runs.

    A client that goes away stops nothing. A run whose process died ends with `RUN_ERROR` once a
    client asks for it, and a run that is cut off by an exit does so too.

    Args:
        service: Its protocol is `AGUIProtocol`.
        reply: The run is finished when it returns, and fails with a masked error when it raises.
        authorize: As for `create_chat_router`: each owner has their own threads.
        stream_prefix: The stream of a thread is `chat_stream_id(thread_id, owner=owner,
            prefix=stream_prefix)`. No prefix may be the beginning of another router's.
        drain_timeout: Seconds that running replies get when the process exits.
        keep_alive: Seconds of silence between comments that keep proxies from cutting a stream.
        allowed_origins: As for `create_chat_router`.

    Raises:
        ValueError: A number is out of range, or an origin is not one.
        TypeError: `reply` is not an async function, or the service has another protocol.
    """
    app = create_agui_app(
        service,
        reply,
        stream_prefix=stream_prefix,
        drain_timeout=drain_timeout,
        keep_alive=keep_alive,
        max_body_bytes=max_body_bytes,
        allowed_origins=allowed_origins,
    )
    return routed(app, AGUI_OPERATIONS, prefix=prefix, authorize=authorize)
