"""A chat server whose answers survive restarts: `uvicorn --app-dir examples fastapi_app:app`."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from itertools import cycle

from fastapi import FastAPI
from langchain_core.language_models import GenericFakeChatModel

from monostream_ai import create_service
from monostream_ai.fastapi import ChatTurn, create_chat_router

service = create_service("sqlite+aiosqlite:///chat.db")
model = GenericFakeChatModel(messages=cycle(["Every word of this is stored before you see it."]))


async def reply(turn: ChatTurn) -> None:
    await model.ainvoke(turn.langchain_messages(), config={"callbacks": [turn.callback]})


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    async with service:
        yield


app = FastAPI(lifespan=lifespan)
app.include_router(create_chat_router(service, reply), prefix="/api/chat")
