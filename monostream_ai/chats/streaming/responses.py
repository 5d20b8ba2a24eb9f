"""Streaming responses, and the two responses to a resume that finds no answer running.

`TurnResponse` cuts the connection of a response that breaks off, for example on shutdown.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import suppress
from typing import Any, Protocol

from starlette.responses import Response, StreamingResponse
from starlette.types import Receive, Scope, Send

from monostream_ai.chats.streaming.body import LostHandler, TurnBody
from monostream_ai.chats.streaming.replays.starting import Replay
from monostream_ai.errors import UnknownStream
from monostream_ai.service import DurableStreamService
from monostream_ai.ui_messages.profiles import Profile
from monostream_ai.ui_messages.protocol import UIMessageProtocol
from monostream_ai.ui_messages.sse import HEADERS, KEEP_ALIVE_INTERVAL, STREAM_OPEN, SSEEncoder


async def stream_response(
    service: DurableStreamService[Any],
    stream_id: str,
    *,
    version: int | None = None,
    on_lost: LostHandler | None = None,
    keep_alive: float = KEEP_ALIVE_INTERVAL,
    profile: Profile | None = None,
    headers: Mapping[str, str] | None = None,
) -> Response:
    """Return a response for `useChat` that replays a version from its start and then tails it.

    The response breaks off, so that the client comes back, when a newer version is opened, the
    process exits, or the store fails. Exits are noticed as by `create_chat_router`; under granian
    and gunicorn, only if the application has a chat router.

    Args:
        version: By default the latest, if it is open. If it is not, or if this version does not
            exist or is pruned, the response is 204, which tells `useChat` that no answer is
            running.
        on_lost: By default the version ends with the protocol's error, which the response shows.
        keep_alive: Seconds of silence between comments that keep proxies from cutting the
            connection.
        profile: The release of `ai` that the client has; by default `any`. Chunks of any
            protocol other than UI messages are sent as they are, unless this says otherwise.
        headers: Sent in addition to those of a UI message stream.

    Raises:
        StoreUnavailable: The store did not answer.
        InvalidArgument: There is no such profile.
    """
    try:
        found = await service.status(stream_id, version)
    except UnknownStream:
        return nothing_to_stream()
    # A pruned version has no end that a response could show.
    if found.state == "pruned" or (version is None and found.state != "open"):
        return nothing_to_stream()
    has_ui_messages = isinstance(service.protocol, UIMessageProtocol)
    body = TurnBody(
        service,
        stream_id,
        Replay.of_version(found.version),
        on_lost=on_lost,
        keep_alive=keep_alive,
        profile=profile or ("any" if has_ui_messages else "v7.0.149"),
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

    def __init__(
        self, body: Body, headers: Mapping[str, str], usual: Mapping[str, str] = HEADERS
    ) -> None:
        super().__init__(body, headers={**usual, **headers})
        self._body = body

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self._body.open()
        try:
            await super().__call__(scope, receive, send)
        finally:
            self._body.close()
            if not self._body.complete:
                await _cut_connection(send)


def event_response(body: Body) -> Response:
    """Return a response whose events are not chunks of a UI message."""
    response = TurnResponse(body, {})
    del response.headers["x-vercel-ai-ui-message-stream"]
    return response


async def _cut_connection(send: Send) -> None:
    """Make every layer up to the server fail.

    Starlette's `BaseHTTPMiddleware` (`@app.middleware("http")`) would turn a cut body into a clean
    end, which clients take for a whole answer. It passes on a message that is illegal here, and the
    server refuses that message by cutting the connection. So does granian, which can send files,
    because a body has begun.
    """
    with suppress(Exception):
        await send({"type": "http.response.pathsend", "path": ""})
