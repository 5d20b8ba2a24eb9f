"""A browser's requests to the chat routes, over a real socket."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import httpx

Chunk = dict[str, Any]


def user_message(text: str = "hi", id: str = "u1") -> dict[str, Any]:
    return {"id": id, "role": "user", "parts": [{"type": "text", "text": text}]}


def question(chat_id: str = "c1", text: str = "hi", id: str = "u1", **more: Any) -> dict[str, Any]:
    return {
        "id": chat_id,
        "messages": [user_message(text, id)],
        "trigger": "submit-message",
        **more,
    }


def chunks_in(body: str) -> list[Chunk]:
    """Return the chunks of an SSE body; comments, ids and [DONE] are left out."""
    data = [line.removeprefix("data: ") for line in body.splitlines() if line.startswith("data: ")]
    return [json.loads(each) for each in data if each != "[DONE]"]


def types_in(body: str) -> list[str]:
    return [chunk["type"] for chunk in chunks_in(body)]


class OpenStream:
    """A response read event by event."""

    def __init__(self, response: httpx.Response) -> None:
        self.response = response
        self._text = response.aiter_text()
        self._rest = ""

    async def event(self) -> str:
        """Return the next event or comment, without its blank line."""
        while "\n\n" not in self._rest:
            self._rest += await anext(self._text)
        event, _, self._rest = self._rest.partition("\n\n")
        return event

    async def chunk(self) -> Chunk:
        """Return the next chunk."""
        while not (chunks := chunks_in(await self.event())):
            pass
        return chunks[0]

    async def rest(self) -> str:
        """Read to the end; raises `httpx.RemoteProtocolError` if the connection breaks."""
        rest, self._rest = self._rest, ""
        return rest + "".join([piece async for piece in self._text])


class ChatClient:
    def __init__(self, http: httpx.AsyncClient, shut_down: Callable[[], Awaitable[None]]) -> None:
        self.http = http
        self.shut_down = shut_down
        """Ask the server to exit, and wait until it has."""

    async def post(self, body: Any, **options: Any) -> httpx.Response:
        """Post and read the whole answer."""
        return await self.http.post("/api/chat", content=json.dumps(body), **options)

    @asynccontextmanager
    async def ask(self, body: Any) -> AsyncIterator[OpenStream]:
        async with self.http.stream("POST", "/api/chat", content=json.dumps(body)) as response:
            yield OpenStream(response)

    @asynccontextmanager
    async def resume(self, chat_id: str = "c1") -> AsyncIterator[OpenStream]:
        async with self.http.stream("GET", f"/api/chat/{chat_id}/stream") as response:
            yield OpenStream(response)

    async def get(self, chat_id: str = "c1", **options: Any) -> httpx.Response:
        """Resume and read the whole answer."""
        return await self.http.get(f"/api/chat/{chat_id}/stream", **options)

    async def stop(self, chat_id: str = "c1", body: Any = None) -> httpx.Response:
        return await self.http.post(f"/api/chat/{chat_id}/stop", json=body)

    async def status(self, chat_id: str = "c1") -> dict[str, Any]:
        status: dict[str, Any] = (await self.http.get(f"/api/chat/{chat_id}/status")).json()
        return status
