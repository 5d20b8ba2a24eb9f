"""Answers by workers of procrastinate, on the Postgres that keeps the chats.

export PYTHONPATH=examples/workers
procrastinate --app procrastinate_chat.queue schema --apply
procrastinate --app procrastinate_chat.queue worker
uvicorn procrastinate_chat:app
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import procrastinate
from fastapi import FastAPI

from answers import DATABASE_URL, new_service, replies
from monostream_ai.fastapi import create_chat_router, run_turn

service = new_service()
queue = procrastinate.App(
    # After a restart of Postgres, the pool tries its connections one after another with growing
    # pauses: with the usual four the first question would wait for 7 s.
    connector=procrastinate.PsycopgConnector(conninfo=DATABASE_URL, min_size=1, max_size=4),
    worker_defaults={
        "concurrency": 20,
        "delete_jobs": "always",
        "shutdown_graceful_timeout": 5.0,
        # A worker that loses its notifications, as by a restart of Postgres, only polls from then
        # on, and says nothing.
        "fetch_job_polling_interval": 0.5,
    },
)


@queue.task(name="answer")
async def answer(turn: str) -> None:
    await run_turn(service, turn, replies)


async def dispatch(turn: str) -> None:
    await answer.defer_async(turn=turn)


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    async with service, queue.open_async():
        yield


app = FastAPI(lifespan=lifespan)
app.include_router(create_chat_router(service, replies, dispatch=dispatch), prefix="/api/chat")
