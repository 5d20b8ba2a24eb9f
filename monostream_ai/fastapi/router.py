"""Builds the router: `create_chat_router` wires the parts of this package together."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Collection, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any, Final, Literal, TypeAlias, get_args

from fastapi import APIRouter, Depends
from starlette.types import Lifespan

from monostream_ai.fastapi import openapi
from monostream_ai.fastapi.catching_up import CATCH_UP
from monostream_ai.fastapi.chats import STREAM_PREFIX, Chats, OnBusy
from monostream_ai.fastapi.exit_signals import exit_noticed
from monostream_ai.fastapi.files import PATH, ChatFiles
from monostream_ai.fastapi.finishing import Finisher, OnFinish
from monostream_ai.fastapi.requests import MAX_BODY_BYTES
from monostream_ai.fastapi.routes import ChatRoutes, PlainErrorsRoute, owned_by
from monostream_ai.fastapi.runner import Reply, TurnRunner
from monostream_ai.fastapi.takeover import Takeover
from monostream_ai.files import DatabaseFiles
from monostream_ai.service import DurableStreamService
from monostream_ai.types import check_async
from monostream_ai.ui_messages.file_hook import Files
from monostream_ai.ui_messages.profiles import Profile, check_profile
from monostream_ai.ui_messages.sse import KEEP_ALIVE_INTERVAL

WhenLost: TypeAlias = Literal["error", "retry", "continue"]

REPLAY_WINDOW: Final = 10.0
SWEEP_INTERVAL: Final = 15.0

_WRITE_INSTEAD: Final = "use an async function that writes through turn.callback or turn.pub"


def create_chat_router(
    service: DurableStreamService[Any],
    reply: Reply,
    *,
    authorize: Callable[..., Any] | None = None,
    prefix: str = "",
    stream_prefix: str = STREAM_PREFIX,
    on_lost: WhenLost = "error",
    max_attempts: int = 3,
    on_busy: OnBusy = "refuse",
    on_finish: OnFinish | None = None,
    replay_window: float = REPLAY_WINDOW,
    sweep_interval: float = SWEEP_INTERVAL,
    max_silence: float | None = None,
    drain_timeout: float = 10.0,
    keep_alive: float = KEEP_ALIVE_INTERVAL,
    catch_up: float = CATCH_UP,
    profile: Profile = "v7",
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
      and from `?startIndex=` for `WorkflowChatTransport`.
    - `POST /{chat_id}/stop` stops the running answer, in whatever process it runs; 200 even if
      there is nothing to stop.
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
            it may run again for the same turn.
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
        max_attempts: Runs of one turn, including the first; lost in the last one, it ends with an
            error.
        on_busy: How to treat a request of other content while a turn runs. `refuse`: 409. `attach`:
            stream the running turn and leave the question unanswered. `stop`: stop the running
            turn, then answer the question.
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
        profile: The release of `ai` that clients have. A client with another one says so in each
            request, by the query `profile=v6` or the header `x-ui-message-profile: v6`.
        allowed_origins: Other origins whose pages may ask and stop, such as
            `https://app.example.com`; pass the list that `CORSMiddleware` allows. Without it, a
            POST from a page of another origin gets 403, since a browser would send the visitor's
            cookies with it. Programs are not concerned.
        files: Stores the large files of answers, such as images that a model makes:
            `DatabaseFiles(service)`, a `FileHook`, or an async function from bytes and media type
            to a URL. All captures of a turn use it. Without it, a file that is too large to store
            becomes a text that says so.

    Raises:
        ValueError: An option has a value that it does not know, or a duration is not one.
        TypeError: `reply`, `on_finish` or `files` is not an async function.
    """
    _check_word("on_lost", on_lost, get_args(WhenLost))
    _check_word("on_busy", on_busy, get_args(OnBusy))
    if max_attempts < 1:
        raise ValueError("max_attempts counts the first run too: use 1 or more")
    _check_numbers(
        or_zero=True,
        replay_window=replay_window,
        drain_timeout=drain_timeout,
        keep_alive=keep_alive,
        catch_up=catch_up,
    )
    _check_numbers(
        or_zero=False,
        sweep_interval=sweep_interval,
        max_silence=1.0 if max_silence is None else max_silence,
        max_body_bytes=max_body_bytes,
    )
    check_async("reply", reply, _WRITE_INSTEAD)
    if on_finish is not None:
        check_async("on_finish", on_finish, _WRITE_INSTEAD)
    finisher = Finisher(service, on_finish)
    if on_lost == "error":
        max_attempts = 1
    chat_files = ChatFiles(files, stream_prefix)
    runner = TurnRunner(
        service,
        reply,
        finisher,
        max_attempts=max_attempts,
        hook_for=chat_files.hook_for,
        max_silence=max_silence,
        drain_timeout=drain_timeout,
    )
    takeover = Takeover(
        service,
        runner,
        finisher,
        max_attempts=max_attempts,
        goes_on=on_lost == "continue",
    )
    chats = Chats(
        service,
        runner,
        finisher,
        takeover,
        stream_prefix=stream_prefix,
        on_busy=on_busy,
        replay_window=replay_window,
    )
    routes = ChatRoutes(
        service,
        chats,
        takeover,
        chat_files,
        keep_alive=keep_alive,
        catch_up=catch_up,
        profile=check_profile(profile),
        max_body_bytes=max_body_bytes,
        allowed_origins=allowed_origins,
    )

    def sweeping() -> AbstractAsyncContextManager[None]:
        return takeover.sweeping(stream_prefix, every=sweep_interval)

    lifespan = _lifespan(runner, chat_files, sweeping)
    return _routed(routes, chat_files, prefix, authorize, lifespan)


def _check_word(name: str, word: str, known: Sequence[str]) -> None:
    if word not in known:
        raise ValueError(f"{name} is {word!r}: use one of {', '.join(map(repr, known))}")


def _check_numbers(*, or_zero: bool, **numbers: float) -> None:
    for name, number in numbers.items():
        # NaN compares false with everything.
        if not (number > 0 or (or_zero and number == 0)):
            raise ValueError(
                f"{name} is {number!r}: use {'0 or more' if or_zero else 'more than 0'}"
            )


def _lifespan(
    runner: TurnRunner,
    files: ChatFiles,
    sweeping: Callable[[], AbstractAsyncContextManager[None]],
) -> Lifespan[Any]:
    @asynccontextmanager
    async def lifespan(app: Any) -> AsyncIterator[None]:
        files.find_base(app)
        with exit_noticed(runner.begin_exit):
            async with sweeping():
                try:
                    yield
                finally:
                    await runner.drain()

    return lifespan


def _routed(
    routes: ChatRoutes,
    files: ChatFiles,
    prefix: str,
    authorize: Callable[..., Any] | None,
    lifespan: Lifespan[Any],
) -> APIRouter:
    owned, profiled = [Depends(owned_by(authorize))], [Depends(routes.read_profile)]
    router = APIRouter(
        prefix=prefix, lifespan=lifespan, route_class=PlainErrorsRoute, dependencies=owned
    )
    router.post("", dependencies=profiled, **openapi.ANSWER)(routes.answer)
    router.post("/", dependencies=profiled, include_in_schema=False)(routes.answer)
    router.get("/{chat_id:chat_id}/stream", dependencies=profiled, **openapi.RESUME)(routes.resume)
    router.post("/{chat_id:chat_id}/stop", **openapi.STOP)(routes.stop)
    router.get("/{chat_id:chat_id}/status", **openapi.STATUS)(routes.status)
    if files.stored is not None:
        router.get(PATH, name=files.route_name, **openapi.FILE)(files.serve)
    return router
