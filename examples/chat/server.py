"""A chat server whose answers survive reloads, lost networks and the death of this process.

CHAT_SECRET=$(openssl rand -hex 32) uvicorn server:app --app-dir examples/chat
"""

import os
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Annotated, Any

from fastapi import Depends, FastAPI, HTTPException, Response
from fastapi.responses import JSONResponse
from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import create_async_engine
from starlette.background import BackgroundTask

import accounts
import history
from agent import create_model, run_agent
from login import Login
from monostream_ai import UnknownStream, create_service
from monostream_ai.fastapi import ChatTurn, chat_stream_id, create_chat_router
from monostream_ai.langchain import StreamCallbackHandler, to_langchain_messages
from offline_model import OfflineChatModel
from sign_in import Pages, create_sign_in_router

DATABASE_URL = os.environ.get("DATABASE_URL", "sqlite+aiosqlite:///chat.db")
DEMO = os.environ.get("MONOSTREAM_DEMO") == "1"

service = create_service(DATABASE_URL)
engine = create_async_engine(DATABASE_URL)
conversations = history.History(engine, service)
users = accounts.Accounts(engine)
login = Login(users, secret=os.environ["CHAT_SECRET"])
model = create_model()
# The offline model goes on in mid-sentence after a beginning of its answer; OpenAI's begin anew.
GOES_ON = isinstance(model, OfflineChatModel)

User = Annotated[str, Depends(login.authorize)]


async def reply(turn: ChatTurn) -> None:
    await conversations.ask(turn)
    conversation = await conversations.messages(turn.stream_id)
    # The page shows which process writes, and the crash button kills that one.
    await turn.pub.write({"type": "message-metadata", "messageMetadata": {"pid": os.getpid()}})
    if turn.written:
        conversation.append(turn.written.message)
    callback = StreamCallbackHandler(turn.pub, send_start=False, goes_on=True)
    await run_agent(model, to_langchain_messages(conversation), callback)


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
    on_lost="continue" if GOES_ON else "retry",
    # Visitors press the crash button more than once.
    max_attempts=20,
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
async def crash(user: User, chat: str) -> Response:
    """Kill the process that writes an answer of this chat, or else this one."""
    if not DEMO:
        raise HTTPException(404)
    pid = await writer(chat_stream_id(chat, owner=user)) or os.getpid()
    # Respond before dying: a browser repeats a request that gets no response, which would kill the
    # next process too.
    return JSONResponse({"pid": pid}, 202, background=BackgroundTask(kill, pid))


async def writer(stream_id: str) -> int | None:
    """Return the process that writes an answer now."""
    try:
        turn = await service.status(stream_id)
        chunks = await service.chunks(stream_id, turn.version)
    except UnknownStream:
        return None
    if turn.state != "open" or turn.lost:
        return None
    named = [chunk["messageMetadata"].get("pid") for chunk in chunks if "messageMetadata" in chunk]
    return next((pid for pid in reversed(named) if pid is not None), None)


def kill(pid: int) -> None:
    # It may be gone by now.
    with suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)


app.mount("/", Pages(Path(__file__).parent / "static", login, guests=DEMO))
