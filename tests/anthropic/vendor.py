"""The real SDK, answered by a server on this machine from recordings."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Final

import anthropic

from tests.anthropic.recordings import body_of

REQUEST: Final[dict[str, Any]] = {
    "model": "claude-opus-5-5",
    "max_tokens": 1024,
    "messages": [{"role": "user", "content": "Hi"}],
}


class Vendor:
    """Answers requests with one recording; the methods return the SDK's own stream."""

    def __init__(self, url: str, name: str) -> None:
        self.options: dict[str, Any] = {"api_key": "none", "base_url": url, "max_retries": 0}
        self.body = body_of(name)

    async def create(self) -> Any:
        client = anthropic.AsyncAnthropic(**self.options)
        return await client.messages.create(**REQUEST, stream=True)

    def manager(self) -> Any:
        return anthropic.AsyncAnthropic(**self.options).messages.stream(**REQUEST)

    def create_sync(self) -> Any:
        return anthropic.Anthropic(**self.options).messages.create(**REQUEST, stream=True)

    def manager_sync(self) -> Any:
        return anthropic.Anthropic(**self.options).messages.stream(**REQUEST)


@asynccontextmanager
async def vendor_of(name: str) -> AsyncIterator[Vendor]:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        length = next(
            int(line.split(b":")[1])
            for line in head.lower().split(b"\r\n")
            if line.startswith(b"content-length:")
        )
        await reader.readexactly(length)
        writer.write(
            b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n"
            b"content-length: %d\r\nconnection: close\r\n\r\n%b" % (len(vendor.body), vendor.body)
        )
        await writer.drain()
        writer.close()

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        vendor = Vendor(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}", name)
        yield vendor
