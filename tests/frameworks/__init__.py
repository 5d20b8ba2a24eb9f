"""The routes under each framework that a test can run them in: one application for each."""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable
from typing import Any, Final

from fastapi import FastAPI
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Route
from starlette.types import ASGIApp

from monostream_ai import DurableStreamService
from monostream_ai.chats import ChatApp, create_agui_app, create_chat_app
from monostream_ai.fastapi import create_agui_router, create_chat_router

CHAT: Final = (create_chat_app, create_chat_router)
AGUI: Final = (create_agui_app, create_agui_router)


def alone(chats: ChatApp) -> ASGIApp:
    return chats


def in_starlette(chats: ChatApp) -> ASGIApp:
    async def home(request: Request) -> PlainTextResponse:
        return PlainTextResponse("home")

    return Starlette(routes=[Route("/", home), *chats.routes], lifespan=chats.lifespan)


def in_litestar(chats: ChatApp) -> ASGIApp:
    # Processes of other tests need not load it.
    from tests.frameworks.under_litestar import app_with

    return app_with(chats)


def in_django(chats: ChatApp) -> ASGIApp:
    from tests.frameworks.under_django import app_with

    return app_with(chats)


HOSTS: Final[dict[str, Callable[[ChatApp], ASGIApp]]] = {
    "alone": alone,
    "starlette": in_starlette,
    "litestar": in_litestar,
    "django": in_django,
}
FRAMEWORKS: Final = ("fastapi", *HOSTS)


def application(
    framework: str,
    service: DurableStreamService[Any],
    reply: Any,
    *,
    routes: tuple[Any, Any] = CHAT,
    prefix: str = "/api/chat",
    lifespan: Any = None,
    **options: Any,
) -> Any:
    """Return an application of a framework with the routes of a service.

    Args:
        routes: The functions that make them, without FastAPI and with it.
        options: As for those functions. `authorize` is a function from headers to the owner.
    """
    create_app, create_router = routes
    if framework == "fastapi":
        app = FastAPI(lifespan=lifespan)
        app.include_router(create_router(service, reply, **options), prefix=prefix)
        return app
    if (authorize := options.get("authorize")) is not None:
        options["authorize"] = _of_request(authorize)
    chats = create_app(service, reply, prefix=prefix, lifespan=lifespan, **options)
    return HOSTS[framework](chats)


def _of_request(authorize: Callable[..., Any]) -> Callable[[Request], Awaitable[str]]:
    """Return a dependency of FastAPI, whose arguments are headers, as a function of the request."""
    names = {name: name.replace("_", "-") for name in inspect.signature(authorize).parameters}

    async def owner(request: Request) -> str:
        sent = {name: request.headers[of] for name, of in names.items() if of in request.headers}
        owner: Any = authorize(**sent)
        return await owner if inspect.isawaitable(owner) else owner

    return owner
