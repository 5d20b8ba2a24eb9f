"""Bodies of responses that do not end by themselves."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import httpx

from tests.openai.recordings import body_of


class OpenBody(httpx.AsyncByteStream):
    """Sends the first events of a recording and then waits.

    With `error` it fails there instead, like a broken connection.
    """

    def __init__(self, name: str, events: int, *, error: Exception | None = None) -> None:
        self.closed = asyncio.Event()
        self._frames = body_of(name).split(b"\n\n")[:events]
        self._error = error

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for frame in self._frames:
            yield frame + b"\n\n"
        if self._error is not None:
            raise self._error
        await asyncio.Event().wait()

    async def aclose(self) -> None:
        self.closed.set()

    async def wait_closed(self) -> None:
        async with asyncio.timeout(5.0):
            await self.closed.wait()


RESET = httpx.ReadError("connection reset")
