"""Answers by workflows of DBOS, on the Postgres that keeps the chats.

dbos migrate --sys-db-url $DATABASE_URL
python examples/workers/dbos_chat.py
uvicorn --app-dir examples/workers dbos_chat:app
"""

import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from dbos import DBOS, DBOSClient
from fastapi import FastAPI

from answers import DATABASE_URL, new_service, replies
from monostream_ai.fastapi import create_chat_router, run_turn

service = new_service()
client = DBOSClient(system_database_url=DATABASE_URL, lazy=True)


@DBOS.workflow(name="answer")
async def answer(turn: str) -> None:
    await write(turn)


@DBOS.step()
async def write(turn: str) -> bool:
    return await run_turn(service, turn, replies)


async def dispatch(turn: str) -> None:
    await client.enqueue_async({"queue_name": "answers", "workflow_name": "answer"}, turn)


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    async with service:
        yield


app = FastAPI(lifespan=lifespan)
app.include_router(create_chat_router(service, replies, dispatch=dispatch), prefix="/api/chat")


if __name__ == "__main__":
    DBOS(config={"name": "answers", "system_database_url": DATABASE_URL})
    DBOS.launch()
    DBOS.register_queue("answers")
    threading.Event().wait()
