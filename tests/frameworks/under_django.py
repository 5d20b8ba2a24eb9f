"""The routes beside Django, as docs/asgi.md shows it."""

from __future__ import annotations

from typing import Any, Final

from django.conf import settings
from django.core.asgi import get_asgi_application
from starlette.types import ASGIApp, Receive, Scope, Send

from monostream_ai.chats import ChatApp

urlpatterns: Final[list[Any]] = []
"""The pages of Django: none."""

settings.configure(ROOT_URLCONF=__name__, SECRET_KEY="x", ALLOWED_HOSTS=["*"])


def app_with(chats: ChatApp) -> ASGIApp:
    django = get_asgi_application()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        path = scope.get("path", "").removeprefix(scope.get("root_path", ""))
        chosen = scope["type"] == "lifespan" or path.startswith("/api/")
        await (chats if chosen else django)(scope, receive, send)

    return app
