"""A chat whose answers survive: reload the page, cut the network, kill this process.

uvicorn server:app --app-dir examples/chat
"""

import os
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from fastapi import FastAPI, HTTPException, Response
from fastapi.staticfiles import StaticFiles
from starlette.background import BackgroundTask

from agent import create_model, run_agent
from history import History
from monostream_ai import create_service
from monostream_ai.fastapi import ChatTurn, create_chat_router
from monostream_ai.langchain import to_langchain_messages

DATABASE_URL = os.environ.get("DATABASE_URL", "sqlite+aiosqlite:///chat.db")
DEMO = os.environ.get("MONOSTREAM_DEMO") == "1"

# The lease is short so that a visitor sees a crash being noticed; the default is 15 s.
service = create_service(DATABASE_URL, lease=3.0)
history = History(DATABASE_URL, service)
model = create_model()


async def reply(turn: ChatTurn) -> None:
    conversation = await history.messages(turn.chat_id)
    await run_agent(model, to_langchain_messages(conversation), turn.callback)


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    async with service, history:
        yield


app = FastAPI(lifespan=lifespan)
app.include_router(create_chat_router(service, reply, on_lost="retry"), prefix="/api/chat")


@app.get("/api/history/{chat_id:path}")
async def messages(chat_id: str) -> dict[str, Any]:
    return {"messages": await history.messages(chat_id)}


@app.get("/api/info")
async def info() -> dict[str, Any]:
    name = getattr(model, "model_name", "offline")
    return {"model": name, "backend": DATABASE_URL.partition(":")[0].partition("+")[0], "pid": os.getpid(), "demo": DEMO}


@app.post("/api/demo/crash")
async def crash() -> Response:
    if not DEMO:
        raise HTTPException(404)
    # It dies after the answer: a browser sends a request again that got none, and so would kill the next process too.
    return Response(status_code=202, background=BackgroundTask(os.kill, os.getpid(), signal.SIGKILL))


app.mount("/", StaticFiles(directory=Path(__file__).parent / "static", html=True))
