"""A chat server whose answers survive reloads, lost networks and the death of this process.

CHAT_SECRET=$(openssl rand -hex 32) uvicorn server:app --app-dir examples/chat
"""

import os
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Annotated, Any

from fastapi import Body, Depends, FastAPI, HTTPException, Response
from fastapi.responses import JSONResponse
from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.schema import CreateTable
from starlette.background import BackgroundTask

import accounts
import titles
from agent import create_model, run_agent, run_approved
from login import Login, sessions
from monostream_ai import UnknownStream, create_service
from monostream_ai.fastapi import ChatHistory, ChatTurn, chat_stream_id, create_chat_router
from monostream_ai.langchain import StreamCallbackHandler, to_langchain_messages
from offline_model import OfflineChatModel
from sign_in import Pages, create_sign_in_router

DATABASE_URL = os.environ.get("DATABASE_URL", "sqlite+aiosqlite:///chat.db")
DEMO = os.environ.get("MONOSTREAM_DEMO") == "1"

service = create_service(DATABASE_URL)
engine = create_async_engine(DATABASE_URL)
history = ChatHistory(service)
users = accounts.Accounts(engine)
login = Login(users)
names = titles.Titles(engine)
model = create_model()
# The offline model goes on in mid-sentence after a beginning of its answer; OpenAI's begin anew.
GOES_ON = isinstance(model, OfflineChatModel)

User = Annotated[str, Depends(login.authorize)]
# Postgres stores no NUL.
Title = Annotated[str, Body(embed=True, max_length=titles.LONGEST, pattern="^[^\0]*$")]


async def reply(turn: ChatTurn) -> None:
    conversation = await history.ask(turn)
    # The page shows which process writes, and the crash button kills that one.
    await turn.pub.write({"type": "message-metadata", "messageMetadata": {"pid": os.getpid()}})
    asked = turn.messages[-1]
    # The user has decided on a call, and the answer goes on.
    continued = asked if asked["role"] == "assistant" else None
    callback = StreamCallbackHandler(turn.pub, send_start=False, continued=continued, goes_on=True)
    begun = turn.written.message if turn.written else continued
    if begun:
        await run_approved(begun, callback)
        conversation = [*(each for each in conversation if each["id"] != begun["id"]), begun]

    async def ask_user(call_id: str) -> None:
        request = {"type": "tool-approval-request", "approvalId": f"may-{call_id}"}
        await turn.pub.write({**request, "toolCallId": call_id})

    await run_agent(model, to_langchain_messages(conversation), callback, ask_user)


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    async with service:
        async with engine.begin() as connection:
            if engine.dialect.name == "postgresql":
                # There, even IF NOT EXISTS fails in one of two processes that start at once.
                await connection.execute(select(func.pg_advisory_xact_lock(1)))
            for table in (accounts.accounts, titles.titles):
                await connection.execute(CreateTable(table, if_not_exists=True))
        yield
    await engine.dispose()


chat = create_chat_router(
    service,
    reply,
    authorize=login.authorize,
    on_finish=history.finish,
    on_lost="continue" if GOES_ON else "retry",
    on_busy="queue",
    # Visitors press the crash button more than once.
    max_attempts=20,
    sweep_interval=2.0,
)
# Browsers treat localhost as HTTPS, except Safari; the demo is for all of them.
signed_cookies = sessions(os.environ["CHAT_SECRET"], https_only=not DEMO)
app = FastAPI(lifespan=lifespan, middleware=[signed_cookies])
app.include_router(chat, prefix="/api/chat")
app.include_router(create_sign_in_router(login, users, guests=DEMO), prefix="/api")


@app.get("/api/history/{chat_id:path}")
async def messages(chat_id: str, user: User) -> dict[str, Any]:
    return {"messages": await history.messages(chat_id, owner=user)}


@app.patch("/api/history/{chat_id:path}", status_code=204)
async def rename(chat_id: str, user: User, title: Title) -> None:
    """Name a chat; without a title, it has its automatic one again."""
    if not await history.messages(chat_id, owner=user):
        raise HTTPException(404)
    await names.put(user, chat_id, " ".join(title.split()))


@app.delete("/api/history/{chat_id:path}", status_code=204)
async def delete(chat_id: str, user: User) -> None:
    if not await history.delete(chat_id, owner=user):
        raise HTTPException(404)
    await names.put(user, chat_id, "")


@app.get("/api/chats")
async def chat_list(user: User) -> dict[str, Any]:
    """Return the id and title of the latest chats. Which of them answer now, events tell."""
    account = await users.find(user)
    named = await names.of(user)
    latest = [
        {"id": chat_id, "title": named.get(chat_id) or question or "Chat"}
        for chat_id, _, question in await history.chats(user, limit=200)
    ]
    return {"chats": latest, "user": account and account.name}


@app.get("/api/info")
async def info(user: User) -> dict[str, Any]:
    return {
        "model": getattr(model, "model_name", "demo model"),
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


app.mount("/", Pages(Path(__file__).parent / "static", login, users, guests=DEMO))
