"""The routes as ASGI applications, which `create_chat_app` and `create_agui_app` put together."""

from __future__ import annotations

import functools
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Sequence
from contextlib import (
    AbstractAsyncContextManager,
    AsyncExitStack,
    asynccontextmanager,
    nullcontext,
)
from typing import Any, Final, TypeAlias, get_args

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from monostream_ai.ag_ui import AGUIProtocol
from monostream_ai.chats.ag_ui import AGUI_STREAM_PREFIX, AGUIReply, AGUIRoutes, RunWriter
from monostream_ai.chats.endpoints import Endpoint, answer_plainly, store_owner
from monostream_ai.chats.events import TurnWatcher
from monostream_ai.chats.exit_signals import exit_noticed
from monostream_ai.chats.files import ChatFiles
from monostream_ai.chats.queue.chat_queue import ChatQueue
from monostream_ai.chats.queue.questions import MAX_WAITING, Questions
from monostream_ai.chats.routes import ChatRoutes
from monostream_ai.chats.rules import Chats, OnBusy
from monostream_ai.chats.streaming.catching_up import CATCH_UP
from monostream_ai.chats.turns.dispatching import DISPATCH_TIMEOUT, Dispatch, Dispatcher
from monostream_ai.chats.turns.finishing import Finisher, OnFinish
from monostream_ai.chats.turns.names import STREAM_PREFIX
from monostream_ai.chats.turns.replies import (
    MAX_ATTEMPTS,
    ChatReplies,
    OnLost,
    Reply,
    check_numbers,
    check_option,
    check_queue_prefix,
)
from monostream_ai.chats.turns.requests import MAX_BODY_BYTES
from monostream_ai.chats.turns.runner import TurnRunner, Work
from monostream_ai.chats.turns.takeover import Takeover
from monostream_ai.chats.turns.writing import TurnWriter
from monostream_ai.files import DatabaseFiles
from monostream_ai.service import DurableStreamService
from monostream_ai.types import check_async
from monostream_ai.ui_messages.file_hook import Files
from monostream_ai.ui_messages.profiles import Profile, check_profile
from monostream_ai.ui_messages.sse import KEEP_ALIVE_INTERVAL

logger = logging.getLogger(__name__)

REPLAY_WINDOW: Final = 10.0
SWEEP_INTERVAL: Final = 15.0
DRAIN_TIMEOUT: Final = 10.0

Authorize: TypeAlias = Callable[[Request], Awaitable[str]]
Lifespan: TypeAlias = Callable[[Any], AbstractAsyncContextManager[Any]]


class ChatApp(Starlette):
    """The routes of chats as an ASGI application.

    Run it by itself, give its `routes` to another Starlette application, or call it from any ASGI
    application. Its `lifespan` must be entered: a server does so for the application that it was
    given, but no framework does so for the applications that it mounts.
    """

    def __init__(
        self,
        endpoints: Sequence[Endpoint],
        working: Callable[[Sequence[Any]], AbstractAsyncContextManager[None]],
        *,
        authorize: Authorize | None,
        prefix: str,
        lifespan: Lifespan | None,
    ) -> None:
        if authorize is not None:
            check_async("authorize", authorize)
        if prefix and (not prefix.startswith("/") or prefix.endswith("/")):
            raise ValueError(f"prefix is {prefix!r}: use a path such as '/api/chat', or ''")
        self.endpoints: Final = endpoints
        self._working = working
        self._authorize = authorize
        self._lifespan = lifespan
        self._works = False
        routes = [self._route(each, prefix) for each in endpoints if prefix + each.path]
        super().__init__(routes=routes, lifespan=self.lifespan)

    @asynccontextmanager
    async def lifespan(self, app: Any = None) -> AsyncIterator[None]:
        """Notice the exit of the process, sweep for lost turns, and let running turns end.

        Enter it once, where the framework begins and ends its work:
        `Starlette(routes=chats.routes, lifespan=chats.lifespan)`, or
        `async with chats.lifespan(app)` in a lifespan of your own. It may be entered again after it
        was left, such as by tests, while the service is open.

        Args:
            app: The application that has the routes, if it is Starlette's or FastAPI's; it knows
                their path before the first request does.
        """
        async with AsyncExitStack() as stack:
            if self._lifespan is not None:
                await stack.enter_async_context(self._lifespan(self))
            await stack.enter_async_context(self._working([self, app]))
            self._works = True
            yield

    def _route(self, endpoint: Endpoint, prefix: str) -> Route:
        answer = functools.partial(self._answer, endpoint)
        route = Route(prefix + endpoint.path, answer, methods=[endpoint.method], name=endpoint.name)
        # Starlette adds HEAD, which would open a stream and send nothing of it.
        route.methods = {endpoint.method}
        return route

    def check_lifespan(self) -> None:
        """Say once that nobody has entered the lifespan, when a request comes."""
        if not self._works:
            self._works = True
            logger.warning(
                "nobody has entered the lifespan of the chat routes, so lost turns are not "
                "found and an exit cuts answers off: no framework enters that of an application "
                "which it mounts, see ChatApp.lifespan"
            )

    async def _answer(self, endpoint: Endpoint, request: Request) -> Response:
        self.check_lifespan()
        return await answer_plainly(functools.partial(self._answer_owner, endpoint), request)

    async def _answer_owner(self, endpoint: Endpoint, request: Request) -> Response:
        if self._authorize is None:
            request.state.owner = None
        else:
            store_owner(request, await self._authorize(request))
        return await endpoint.answer(request)


def create_chat_app(
    service: DurableStreamService[Any],
    reply: Reply | ChatReplies,
    *,
    dispatch: Dispatch | None = None,
    dispatch_timeout: float = DISPATCH_TIMEOUT,
    authorize: Authorize | None = None,
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
    lifespan: Lifespan | None = None,
) -> ChatApp:
    """Return an ASGI application with the routes of `create_chat_router`, without FastAPI.

    The routes and the options are the same, except for these. `HEAD` gets 405, and each refusal is
    one line of plain text.

    Args:
        authorize: An async function from a Starlette `Request` to the owner, as a string. It
            refuses a request by raising `RequestRefused(401, "Please sign in.")`, or Starlette's
            `HTTPException`.
        prefix: The path of the routes, such as `/api/chat`. Leave it out only if the application
            is mounted by a framework that passes on the rest of the path.
        lifespan: Entered before the routes begin to work, and left after their turns have ended:
            `lambda app: service` closes the service.

    Raises:
        ValueError: An option has an unknown value, or a number is out of range.
        TypeError: `reply`, `authorize`, `on_finish`, `dispatch` or `files` is not an async
            function, or an option that belongs to a `ChatReplies` is given beside it.
    """
    replies = _declared(
        reply,
        on_finish=on_finish,
        on_lost=on_lost,
        max_attempts=max_attempts,
        max_silence=max_silence,
        files=files,
        stream_prefix=stream_prefix,
    )
    check_option("on_busy", on_busy, get_args(OnBusy))
    if on_busy == "queue":
        check_queue_prefix(replies.stream_prefix)
    check_numbers(
        or_zero=True,
        replay_window=replay_window,
        drain_timeout=drain_timeout,
        keep_alive=keep_alive,
        catch_up=catch_up,
    )
    check_numbers(
        or_zero=False,
        max_waiting=max_waiting,
        sweep_interval=sweep_interval,
        max_body_bytes=max_body_bytes,
        dispatch_timeout=dispatch_timeout,
    )
    finisher = Finisher(service, replies.on_finish, replies.stream_prefix)
    chat_files = ChatFiles(replies.files, replies.stream_prefix)
    work: Work = TurnWriter(service, replies, finisher, chat_files.hook_for)
    if dispatch is not None:
        check_async("dispatch", dispatch)
        replies.check_away()
        work = Dispatcher(service, dispatch, finisher, timeout=dispatch_timeout)
    runner = TurnRunner(
        service,
        work,
        finisher,
        max_attempts=replies.attempts,
        drain_timeout=drain_timeout,
    )
    queue = None
    if on_busy == "queue":
        questions = Questions(service, most=max_waiting, look_again=sweep_interval)
        queue = ChatQueue(service, questions, runner, finisher, stream_prefix=replies.stream_prefix)
    takeover = Takeover(
        service,
        runner,
        finisher,
        max_attempts=replies.attempts,
        goes_on=replies.go_on,
    )
    chats = Chats(
        service,
        runner,
        finisher,
        takeover,
        queue,
        stream_prefix=replies.stream_prefix,
        on_busy=on_busy,
        replay_window=replay_window,
    )
    routes = ChatRoutes(
        service,
        chats,
        takeover,
        chat_files,
        TurnWatcher(service, replies.stream_prefix, queues=queue is not None),
        keep_alive=keep_alive,
        catch_up=catch_up,
        profile=check_profile(profile),
        max_body_bytes=max_body_bytes,
        allowed_origins=allowed_origins,
        queues=queue is not None,
    )

    @asynccontextmanager
    async def sweeping() -> AsyncIterator[None]:
        async with AsyncExitStack() as stack:
            if queue is not None:
                await stack.enter_async_context(queue.lookout.running(every=sweep_interval))
            swept = takeover.sweeping(replies.stream_prefix, every=sweep_interval)
            await stack.enter_async_context(swept)
            yield

    @asynccontextmanager
    async def working(apps: Sequence[Any]) -> AsyncIterator[None]:
        for app in apps:
            chat_files.find_base(app)
        async with _exits(runner, sweeping()):
            yield

    return ChatApp(routes.endpoints, working, authorize=authorize, prefix=prefix, lifespan=lifespan)


def create_agui_app(
    service: DurableStreamService[Any],
    reply: AGUIReply,
    *,
    authorize: Authorize | None = None,
    prefix: str = "",
    stream_prefix: str = AGUI_STREAM_PREFIX,
    drain_timeout: float = DRAIN_TIMEOUT,
    keep_alive: float = KEEP_ALIVE_INTERVAL,
    max_body_bytes: int = MAX_BODY_BYTES,
    allowed_origins: Collection[str] = (),
    lifespan: Lifespan | None = None,
) -> ChatApp:
    """Return an ASGI application with the routes of `create_agui_router`, without FastAPI.

    The routes and the options are the same, except for `authorize`, `prefix` and `lifespan`, which
    are as for `create_chat_app`.

    Raises:
        ValueError: A number is out of range, or an origin is not one.
        TypeError: `reply` or `authorize` is not an async function, or the service has another
            protocol.
    """
    check_async("reply", reply)
    if not isinstance(service.protocol, AGUIProtocol):
        raise TypeError("the service stores other chunks: create_service(url, AGUIProtocol())")
    check_numbers(or_zero=True, drain_timeout=drain_timeout, keep_alive=keep_alive)
    check_numbers(or_zero=False, max_body_bytes=max_body_bytes)
    runner = TurnRunner(
        service,
        RunWriter(service, reply),
        Finisher(service, None),
        max_attempts=1,
        drain_timeout=drain_timeout,
    )
    routes = AGUIRoutes(
        service,
        runner,
        stream_prefix=stream_prefix,
        keep_alive=keep_alive,
        max_body_bytes=max_body_bytes,
        allowed_origins=allowed_origins,
    )

    def working(apps: Sequence[Any]) -> AbstractAsyncContextManager[None]:
        return _exits(runner, nullcontext())

    return ChatApp(routes.endpoints, working, authorize=authorize, prefix=prefix, lifespan=lifespan)


def _declared(reply: Reply | ChatReplies, **options: Any) -> ChatReplies:
    """Return the replies, which options here or a `ChatReplies` declare, but not both."""
    if not isinstance(reply, ChatReplies):
        return ChatReplies(reply, **options)
    usual = ChatReplies(reply.reply)
    for name, option in options.items():
        if option != getattr(usual, name):
            raise TypeError(f"{name} belongs to the replies: give it to ChatReplies")
    return reply


@asynccontextmanager
async def _exits(
    runner: TurnRunner, sweeping: AbstractAsyncContextManager[None]
) -> AsyncIterator[None]:
    """Notice an exit while the block runs, and let the turns end after it."""
    runner.begin()
    with exit_noticed(runner.begin_exit):
        async with sweeping:
            try:
                yield
            finally:
                await runner.drain()
