"""Streaming responses, and the two responses to a resume that finds no answer running.

`TurnResponse` cuts the connection of a response that breaks off, for example on shutdown.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import suppress
from typing import Any, Protocol

from starlette.responses import Response, StreamingResponse
from starlette.types import Receive, Scope, Send

from monostream_ai.errors import UnknownStream
from monostream_ai.fastapi.body import OnLost, TurnBody
from monostream_ai.fastapi.replays.starting import Replay
from monostream_ai.service import DurableStreamService
from monostream_ai.ui_messages.profiles import Profile
from monostream_ai.ui_messages.sse import HEADERS, KEEP_ALIVE_INTERVAL, STREAM_OPEN, SSEEncoder


async def stream_response(
    service: DurableStreamService[Any],
    stream_id: str,
    *,
    version: int | None = None,
    on_lost: OnLost | None = None,
    keep_alive: float = KEEP_ALIVE_INTERVAL,
    profile: Profile = "v7",
    headers: Mapping[str, str] | None = None,
) -> Response:
    """Return a response for `useChat` that replays a version from its start and then tails it.

    The response breaks off, so that the client comes back, when a newer version is opened, the
    process exits, or the store fails. Exits are noticed as by `create_chat_router`; under granian
    and gunicorn, only if the application has a chat router.

    Args:
        version: By default the latest, if it is open. Otherwise the response is 204, which tells
            `useChat` that no answer is running.
        on_lost: By default the version ends with the protocol's error, which the response shows.
        keep_alive: Seconds of silence between comments that keep proxies from cutting the
            connection.
        profile: The release of `ai` that the client has.
        headers: Sent in addition to those of a UI message stream.

    Raises:
        StoreUnavailable: The store did not answer.
        InvalidArgument: There is no such profile.
    """
    if version is None:
        try:
            latest = await service.status(stream_id)
        except UnknownStream:
            return nothing_to_stream()
        if latest.state != "open":
            return nothing_to_stream()
        version = latest.version
    body = TurnBody(
        service,
        stream_id,
        Replay.of_version(version),
        on_lost=on_lost,
        keep_alive=keep_alive,
        profile=profile,
    )
    return TurnResponse(body, headers or {})


def nothing_to_stream() -> Response:
    """Return the response to a resume that finds no answer running."""
    return Response(status_code=204, headers={"cache-control": "no-store"})


def only_finish() -> Response:
    """Return an empty message stream, for a client that would take 204 for a failure."""
    return Response(STREAM_OPEN + SSEEncoder().end(None), headers=dict(HEADERS))


class Body(Protocol):
    """The body of a response that may break off."""

    complete: bool

    def __aiter__(self) -> AsyncIterator[bytes]: ...

    def open(self) -> None:
        """Begin; called before the first frame is asked for."""

    def close(self) -> None:
        """Let go of everything."""


class TurnResponse(StreamingResponse):
    """Streams a body, and breaks the connection if the body breaks off.

    uvicorn then logs "ASGI callable returned without completing response", as intended.
    """

    def __init__(self, body: Body, headers: Mapping[str, str]) -> None:
        super().__init__(body, headers={**HEADERS, **headers})
        self._body = body

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self._body.open()
        try:
            await super().__call__(scope, receive, send)
        finally:
            self._body.close()
            if not self._body.complete:
                await _cut_connection(send)


async def _cut_connection(send: Send) -> None:
    """Make every layer up to the server fail.

    Starlette's `BaseHTTPMiddleware` (`@app.middleware("http")`) would turn a cut body into a clean
    end, which clients take for a whole answer. It passes on a message that is illegal here, and the
    server refuses that message by cutting the connection. So does granian, which can send files,
    because a body has begun.
    """
    with suppress(Exception):
        await send({"type": "http.response.pathsend", "path": ""})
