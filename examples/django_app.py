"""A chat beside a Django project, for users who have signed in:
`uvicorn --app-dir examples django_app:app`.
"""

from itertools import cycle

from django.conf import settings
from django.contrib.sessions.backends.signed_cookies import SessionStore
from django.core.asgi import get_asgi_application
from django.http import HttpRequest, HttpResponse
from django.urls import path
from langchain_core.language_models import GenericFakeChatModel
from starlette.requests import Request
from starlette.types import Receive, Scope, Send

from monostream_ai import create_service
from monostream_ai.chats import ChatTurn, RequestRefused, create_chat_app

settings.configure(
    ALLOWED_HOSTS=["*"],
    MIDDLEWARE=["django.contrib.sessions.middleware.SessionMiddleware"],
    ROOT_URLCONF=__name__,
    SECRET_KEY="change me",
    SESSION_ENGINE="django.contrib.sessions.backends.signed_cookies",
)
django = get_asgi_application()
service = create_service("sqlite+aiosqlite:///chat.db")
model = GenericFakeChatModel(messages=cycle(["Every word of this is stored before you see it."]))


async def reply(turn: ChatTurn) -> None:
    await model.ainvoke(turn.langchain_messages(), config={"callbacks": [turn.callback]})


def sign_in(request: HttpRequest, user: str) -> HttpResponse:
    request.session["user"] = user  # check a password here
    return HttpResponse("Welcome.")


async def signed_in(request: Request) -> str:
    session = SessionStore(request.cookies.get(settings.SESSION_COOKIE_NAME))
    if (user := await session.aget("user")) is None:
        raise RequestRefused(401, "Please sign in.")
    return str(user)


urlpatterns = [path("sign-in/<user>", sign_in)]
chats = create_chat_app(
    service, reply, authorize=signed_in, prefix="/api/chat", lifespan=lambda app: service
)


async def app(scope: Scope, receive: Receive, send: Send) -> None:
    # A server puts its --root-path in front.
    route = scope.get("path", "").removeprefix(scope.get("root_path", ""))
    # Django has no lifespan.
    if scope["type"] == "lifespan" or f"{route}/".startswith("/api/chat/"):
        await chats(scope, receive, send)
    else:
        await django(scope, receive, send)
