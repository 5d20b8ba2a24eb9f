"""The routes in an application of Litestar, as docs/asgi.md shows it."""

from __future__ import annotations

from typing import Any
from urllib.parse import unquote

from litestar import Litestar, asgi
from litestar.types import Receive, Scope, Send
from starlette.types import ASGIApp

from monostream_ai.chats import ChatApp


def app_with(chats: ChatApp) -> ASGIApp:
    passed_on: Any = chats

    @asgi("/api", is_mount=True, copy_scope=True)
    async def api(scope: Scope, receive: Receive, send: Send) -> None:
        # Litestar takes the prefix off the path, and adds a slash to its end.
        await passed_on({**scope, "path": unquote(scope["raw_path"])}, receive, send)

    app: Any = Litestar([api], lifespan=[chats.lifespan], logging_config=None, openapi_config=None)
    return app
