"""Answers by workers of taskiq, whose queue is in Redis.

uvicorn --app-dir examples/workers taskiq_chat:app
taskiq worker --app-dir examples/workers taskiq_chat:broker
"""

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import FastAPI
from taskiq import TaskiqEvents, TaskiqState
from taskiq_redis import ListQueueBroker

from answers import new_service, replies
from monostream_ai.fastapi import create_chat_router, run_turn

service = new_service()
# From redis 8 on, a read ends after 5 s by default, and with it a worker that waits for a turn.
broker = ListQueueBroker(os.environ.get("REDIS_URL", "redis://localhost"), socket_timeout=None)


@broker.task(task_name="answer")
async def answer(turn: str) -> None:
    await run_turn(service, turn, replies)


@broker.on_event(TaskiqEvents.WORKER_SHUTDOWN)
async def close(state: TaskiqState) -> None:
    await service.aclose()


async def dispatch(turn: str) -> None:
    await answer.kiq(turn)


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    async with service:
        await broker.startup()
        yield
        await broker.shutdown()


app = FastAPI(lifespan=lifespan)
app.include_router(create_chat_router(service, replies, dispatch=dispatch), prefix="/api/chat")
