"""A chat in a Starlette application, for users who have signed in:
`uvicorn --app-dir examples starlette_app:app`.
"""

from itertools import cycle

from langchain_core.language_models import GenericFakeChatModel
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.sessions import SessionMiddleware
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from monostream_ai import create_service
from monostream_ai.chats import ChatTurn, RequestRefused, create_chat_app

service = create_service("sqlite+aiosqlite:///chat.db")
model = GenericFakeChatModel(messages=cycle(["Every word of this is stored before you see it."]))


async def reply(turn: ChatTurn) -> None:
    await model.ainvoke(turn.langchain_messages(), config={"callbacks": [turn.callback]})


async def sign_in(request: Request) -> Response:
    request.session["user"] = request.path_params["user"]  # check a password here
    return PlainTextResponse("Welcome.")


async def signed_in(request: Request) -> str:
    if "user" not in request.session:
        raise RequestRefused(401, "Please sign in.")
    return str(request.session["user"])


chats = create_chat_app(
    service, reply, authorize=signed_in, prefix="/api/chat", lifespan=lambda app: service
)
app = Starlette(
    routes=[Route("/sign-in/{user}", sign_in, methods=["POST"]), *chats.routes],
    middleware=[Middleware(SessionMiddleware, secret_key="change me")],
    lifespan=chats.lifespan,
)
