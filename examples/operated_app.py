"""Operate an app: prune old answers, export metrics and traces, and tell a load balancer that it is
ready.

uvicorn --app-dir examples operated_app:app
"""

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import FastAPI, HTTPException

from monostream_ai import MonostreamError, create_service
from monostream_ai.opentelemetry import OpenTelemetryObserver

DAY = 86400.0

# The observer uses the global providers of meters and tracers, which `opentelemetry-instrument`
# sets up.
service = create_service(
    os.environ.get("DATABASE_URL", "sqlite:///answers.db"), observer=OpenTelemetryObserver()
)


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    async with service, service.pruning(older_than=30 * DAY):
        yield


app = FastAPI(lifespan=lifespan)


@app.get("/live")
async def live() -> str:
    return "alive"


@app.get("/ready")
async def ready() -> str:
    try:
        await service.ready()
    except MonostreamError as error:
        raise HTTPException(503, type(error).__name__) from error
    return "ready"
