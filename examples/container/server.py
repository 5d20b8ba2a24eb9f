"""The chat of examples/workers/procrastinate_chat.py, with a route that tells when it is ready."""

from fastapi import HTTPException
from procrastinate_chat import app, service

from monostream_ai import MonostreamError


@app.get("/ready")
async def ready() -> str:
    try:
        await service.ready()
    except MonostreamError as error:
        raise HTTPException(503, type(error).__name__) from error
    return "ready"
