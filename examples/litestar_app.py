"""A chat in a Litestar application, for users who have signed in:
`uvicorn --app-dir examples litestar_app:app`.
"""

from itertools import cycle
from typing import Any
from urllib.parse import unquote

import starlette.requests
from langchain_core.language_models import GenericFakeChatModel
from litestar import Litestar, Request, asgi, post
from litestar.middleware.session.client_side import CookieBackendConfig
from litestar.types import Receive, Scope, Send

from monostream_ai import create_service
from monostream_ai.chats import ChatTurn, RequestRefused, create_chat_app

service = create_service("sqlite+aiosqlite:///chat.db")
model = GenericFakeChatModel(messages=cycle(["Every word of this is stored before you see it."]))


async def reply(turn: ChatTurn) -> None:
    await model.ainvoke(turn.langchain_messages(), config={"callbacks": [turn.callback]})


@post("/sign-in/{user:str}")
async def sign_in(request: Request) -> str:
    request.session["user"] = request.path_params["user"]  # check a password here
    return "Welcome."


async def signed_in(request: starlette.requests.Request) -> str:
    if "user" not in request.session:  # Litestar's
        raise RequestRefused(401, "Please sign in.")
    return str(request.session["user"])


chats: Any = create_chat_app(
    service, reply, authorize=signed_in, prefix="/api/chat", lifespan=lambda app: service
)


@asgi("/api/chat", is_mount=True, copy_scope=True)
async def chat_routes(scope: Scope, receive: Receive, send: Send) -> None:
    # Litestar takes the prefix off the path, and adds a slash to its end.
    await chats({**scope, "path": unquote(scope["raw_path"])}, receive, send)


app = Litestar(
    [sign_in, chat_routes],
    lifespan=[chats.lifespan],
    middleware=[CookieBackendConfig(secret=b"change me please").middleware],
)
