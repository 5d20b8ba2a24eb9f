"""Requests to an ASGI application in this event loop, whose responses are read as they come."""

from __future__ import annotations

import asyncio
import json
from collections.abc import (
    AsyncIterator,
    Awaitable,
    Callable,
    Coroutine,
    Mapping,
    MutableMapping,
)
from contextlib import asynccontextmanager
from typing import Any, Final, TypeAlias
from urllib.parse import unquote, urlsplit

Message: TypeAlias = MutableMapping[str, Any]
Receive: TypeAlias = Callable[[], Awaitable[Message]]
Send: TypeAlias = Callable[[Message], Awaitable[None]]
Start: TypeAlias = Callable[[Coroutine[Any, Any, None]], asyncio.Task[None]]
ASGIApp: TypeAlias = Callable[[Any, Receive, Send], Awaitable[None]]

VERSION: Final = {"version": "3.0", "spec_version": "2.3"}
"""From 2.4 on, Starlette notices only at the next chunk that a client has left."""


class Response:
    """A response whose body is read while the application sends it."""

    def __init__(self) -> None:
        self.status = 0
        self.headers: dict[str, str] = {}
        # Without a bound: the end must find room even if nobody reads.
        self._body: asyncio.Queue[bytes | None] = asyncio.Queue()
        self._started = asyncio.Event()
        self._left = asyncio.Event()
        self._complete = False
        self._task: asyncio.Task[None]

    def __repr__(self) -> str:
        return f"<Response {self.status}>"

    async def read(self) -> bytes | None:
        """Return the next piece of the body; None at its end.

        Raises:
            ConnectionResetError: The application broke the response off.
        """
        piece = await self._body.get()
        if piece is None:
            # For the next call.
            self._body.put_nowait(None)
            if not self._complete:
                raise ConnectionResetError("the response broke off")
        return piece

    async def text(self) -> str:
        """Return the rest of the body. Raises as `read`."""
        whole = b""
        while (piece := await self.read()) is not None:
            whole += piece
        return whole.decode()

    async def json(self) -> Any:
        """Return the body as JSON. Raises as `read`."""
        return json.loads(await self.text())

    async def leave(self) -> None:
        """Close the connection, as a reloaded page does."""
        self._left.set()
        await asyncio.wait([self._task])

    async def _run(self, app: ASGIApp, scope: Message, body: bytes) -> None:
        asked = [{"type": "http.request", "body": body, "more_body": False}]

        async def receive() -> Message:
            if asked:
                return asked.pop()
            await self._left.wait()
            return {"type": "http.disconnect"}

        try:
            await app(scope, receive, self._take)
        finally:
            self._started.set()
            self._body.put_nowait(None)

    async def _take(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            self.headers = {
                name.decode().lower(): value.decode("latin-1") for name, value in message["headers"]
            }
            self._started.set()
        elif message["type"] == "http.response.body":
            if message.get("body"):
                self._body.put_nowait(bytes(message["body"]))
            self._complete = not message.get("more_body", False)
        else:
            # An application may send it to break the connection, as the chat router does.
            raise RuntimeError(f"unexpected ASGI message {message['type']!r}")


async def send(
    app: ASGIApp,
    method: str,
    url: str,
    *,
    headers: Mapping[str, str],
    body: bytes,
    start: Start,
) -> Response:
    """Send a request and return its response once that has begun.

    Args:
        start: Starts the task that serves the request.

    Raises:
        ConnectionResetError: The application ended without a response.
        Exception: As the application raised it, even if a middleware has answered with 500.
    """
    parts = urlsplit(url)
    scope: Message = {
        "type": "http",
        "asgi": VERSION,
        "http_version": "1.1",
        "method": method,
        "scheme": "http",
        "path": unquote(parts.path),
        "raw_path": parts.path.encode(),
        "query_string": parts.query.encode(),
        "root_path": "",
        "headers": [
            (name.lower().encode(), value.encode("latin-1"))
            for name, value in ({"host": "test"} | dict(headers)).items()
        ],
        "client": ("127.0.0.1", 1),
        "server": ("127.0.0.1", 80),
        "state": {},
    }
    response = Response()
    response._task = start(response._run(app, scope, body))
    # A response that breaks off after its start says so in `read`.
    response._task.add_done_callback(lambda done: done.cancelled() or done.exception())
    try:
        await response._started.wait()
        # Starlette answers an exception with 500 and raises it again, for the server to log.
        if response.status in (0, 500):
            await asyncio.wait([response._task])
    except asyncio.CancelledError:
        response._task.cancel()
        raise
    if response._task.done() and response.status in (0, 500):
        if not response._task.cancelled() and (error := response._task.exception()) is not None:
            raise error
        if not response.status:
            raise ConnectionResetError("the application sent no response")
    return response


@asynccontextmanager
async def lifespan(app: ASGIApp, *, start: Start) -> AsyncIterator[None]:
    """Start an application, and shut it down when the block is left.

    Args:
        start: Starts the task in which the application waits for both.

    Raises:
        RuntimeError: The application could not start, or could not shut down.
    """
    events: asyncio.Queue[Message] = asyncio.Queue()
    answers: asyncio.Queue[Message] = asyncio.Queue()
    scope = {"type": "lifespan", "asgi": VERSION, "state": {}}

    async def run() -> None:
        await app(scope, events.get, answers.put)

    running = start(run())
    # It raises the error that it has already sent.
    running.add_done_callback(lambda done: done.cancelled() or done.exception())

    async def tell(event: str) -> None:
        await events.put({"type": f"lifespan.{event}"})
        answer = asyncio.ensure_future(answers.get())
        await asyncio.wait([answer, running], return_when=asyncio.FIRST_COMPLETED)
        if not answer.done():
            answer.cancel()
            raise RuntimeError(f"the application ended before its {event}")
        if answer.result()["type"] != f"lifespan.{event}.complete":
            raise RuntimeError(f"the {event} failed: {answer.result().get('message')}")

    await tell("startup")
    try:
        yield
    finally:
        await tell("shutdown")
        await asyncio.wait([running])
