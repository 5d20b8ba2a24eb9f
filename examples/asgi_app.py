"""A chat server without a framework: `uvicorn --app-dir examples asgi_app:app`."""

from itertools import cycle

from langchain_core.language_models import GenericFakeChatModel

from monostream_ai import create_service
from monostream_ai.chats import ChatTurn, create_chat_app

service = create_service("sqlite+aiosqlite:///chat.db")
model = GenericFakeChatModel(messages=cycle(["Every word of this is stored before you see it."]))


async def reply(turn: ChatTurn) -> None:
    await model.ainvoke(turn.langchain_messages(), config={"callbacks": [turn.callback]})


app = create_chat_app(service, reply, prefix="/api/chat", lifespan=lambda app: service)
