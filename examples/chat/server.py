"""A chat server whose answers survive reloads, lost networks and the death of this process.

CHAT_SECRET=$(openssl rand -hex 32) uvicorn server:app --app-dir examples/chat
"""

import os
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Annotated, Any

from fastapi import Depends, FastAPI, HTTPException, Response
from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import create_async_engine
from starlette.background import BackgroundTask

import accounts
import history
from agent import create_model, run_agent
from login import Login
from monostream_ai import create_service
from monostream_ai.fastapi import ChatTurn, chat_stream_id, create_chat_router
from monostream_ai.langchain import to_langchain_messages
from sign_in import Pages, create_sign_in_router

DATABASE_URL = os.environ.get("DATABASE_URL", "sqlite+aiosqlite:///chat.db")
DEMO = os.environ.get("MONOSTREAM_DEMO") == "1"

# A short lease, so that a visitor sees the takeover soon after a crash; the default is 15 s.
service = create_service(DATABASE_URL, lease=3.0)
engine = create_async_engine(DATABASE_URL)
conversations = history.History(engine, service)
users = accounts.Accounts(engine)
login = Login(users, secret=os.environ["CHAT_SECRET"])
model = create_model()

User = Annotated[str, Depends(login.authorize)]


async def reply(turn: ChatTurn) -> None:
    await conversations.ask(turn)
    conversation = await conversations.messages(turn.stream_id)
    await run_agent(model, to_langchain_messages(conversation), turn.callback)


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    async with service:
        async with engine.begin() as connection:
            if engine.dialect.name == "postgresql":
                # If two processes start at once, one creates the tables and the other waits for it.
                await connection.execute(select(func.pg_advisory_xact_lock(1)))
            await connection.run_sync(history.metadata.create_all)
            await connection.run_sync(accounts.metadata.create_all)
        yield
    await engine.dispose()


chat = create_chat_router(
    service,
    reply,
    authorize=login.authorize,
    on_finish=conversations.finish,
    on_lost="retry",
    sweep_interval=2.0,
)
app = FastAPI(lifespan=lifespan)
app.include_router(chat, prefix="/api/chat")
app.include_router(create_sign_in_router(login, users, guests=DEMO), prefix="/api")


@app.get("/api/history/{chat_id:path}")
async def messages(chat_id: str, user: User) -> dict[str, Any]:
    return {"messages": await conversations.messages(chat_stream_id(chat_id, owner=user))}


@app.get("/api/info")
async def info(user: User) -> dict[str, Any]:
    name = getattr(model, "model_name", "offline")
    return {
        "model": name,
        "backend": DATABASE_URL.partition(":")[0].partition("+")[0],
        "pid": os.getpid(),
        "demo": DEMO,
    }


@app.post("/api/demo/crash")
async def crash(user: User) -> Response:
    if not DEMO:
        raise HTTPException(404)
    # Respond before dying: a browser repeats a request that gets no response, which would kill the
    # next process too.
    return Response(
        status_code=202, background=BackgroundTask(os.kill, os.getpid(), signal.SIGKILL)
    )


app.mount("/", Pages(Path(__file__).parent / "static", login, guests=DEMO))
