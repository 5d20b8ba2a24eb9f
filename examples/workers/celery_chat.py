"""Answers by workers of Celery, whose queue is in Redis.

uvicorn --app-dir examples/workers celery_chat:app
celery --workdir examples/workers --app celery_chat:queue worker
"""

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from celery import Celery
from fastapi import FastAPI

from answers import new_service, replies
from monostream_ai.fastapi import create_chat_router, run_turn

service = new_service()
queue = Celery("answers", broker=os.environ.get("REDIS_URL", "redis://localhost"))
queue.conf.task_ignore_result = True


@queue.task(name="answer")
def answer(turn: str) -> None:
    asyncio.run(run(turn))


async def run(turn: str) -> None:
    # Celery forks its workers and has no event loop, so each turn has both of its own.
    async with new_service() as own:
        await run_turn(own, turn, replies)


async def dispatch(turn: str) -> None:
    await asyncio.to_thread(answer.delay, turn)


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    async with service:
        yield


app = FastAPI(lifespan=lifespan)
app.include_router(create_chat_router(service, replies, dispatch=dispatch), prefix="/api/chat")
