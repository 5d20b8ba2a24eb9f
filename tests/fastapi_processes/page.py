"""A page that reads one answer.

It reconnects after each break, to whichever process responds, until it has the whole message.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import aclosing
from itertools import cycle
from typing import Any, Final

import httpx

from monostream_ai.types import Cursor
from monostream_ai.ui_messages import MessageReducer, UIMessage

Chunk = dict[str, Any]

RETRY_PAUSE: Final = 0.1
"""Seconds before a page reconnects."""

OnChunk = Callable[[Cursor | None, Chunk], None]


class Page:
    """Reads with the requests of `useChat`, or with those of an EventSource.

    Args:
        urls: Called before each request for the URLs of the processes; a restarted process has a
            new one.
        question: Posted first, to the first process, and again only if it was never answered.
        by_event: Resume after the last event, as an EventSource does.
    """

    def __init__(
        self,
        http: httpx.AsyncClient,
        urls: Callable[[], Sequence[str]],
        chat_id: str,
        *,
        question: Any = None,
        by_event: bool = False,
        on_chunk: OnChunk = lambda cursor, chunk: None,
    ) -> None:
        self._http = http
        self._urls = urls
        self._chat_id = chat_id
        self._question = question
        self._by_event = by_event
        self._on_chunk = on_chunk
        self._last: Cursor | None = None
        self._chunks: list[Chunk] = []
        self._asking = question is not None
        self.breaks = 0
        self.versions: list[int] = []
        """The versions of the responses, in order."""

    @property
    def message(self) -> UIMessage:
        reducer = MessageReducer()
        for chunk in self._chunks:
            reducer.feed(chunk)
        return reducer.message

    @property
    def text(self) -> str:
        return "".join(part["text"] for part in self.message["parts"] if part["type"] == "text")

    @property
    def types(self) -> list[str]:
        return [chunk["type"] for chunk in self._chunks]

    async def read(self) -> None:
        """Return when a response ends with a terminal chunk; raise if one ends cleanly without."""
        for number in cycle(range(2)):
            try:
                async with self._request(self._urls()[number]) as response:
                    if await self._ended(response):
                        return
            except httpx.TransportError:
                self.breaks += 1
            await asyncio.sleep(RETRY_PAUSE)

    def _request(self, url: str) -> Any:
        if self._asking:
            self._asking = False
            return self._http.stream("POST", f"{url}/api/chat", content=json.dumps(self._question))
        headers = {"last-event-id": str(self._last)} if self._by_event and self._last else {}
        return self._http.stream("GET", f"{url}/api/chat/{self._chat_id}/stream", headers=headers)

    async def _ended(self, response: httpx.Response) -> bool:
        if response.status_code == 204:
            # No answer is running: the question never arrived, or the page has seen everything.
            self._asking = self._question is not None and not self.versions
            return bool(self._chunks) and self.types[-1] in ("finish", "error", "abort")
        if response.status_code == 409:
            self._last = None
            return False
        assert response.status_code in (200, 503), response.status_code
        return response.status_code == 200 and await self._all_read(response)

    async def _all_read(self, response: httpx.Response) -> bool:
        version: int | None = None
        async with aclosing(events(response)) as read:
            async for event in read:
                fields = dict(line.split(": ", 1) for line in event.splitlines())
                cursor = Cursor.parse(fields["id"]) if "id" in fields else None
                if cursor is not None:
                    assert version in (None, cursor.version), "two versions in one response"
                    version = self._see(version, cursor)
                if fields["data"] == "[DONE]":
                    return True
                self._take(cursor, json.loads(fields["data"]))
        raise AssertionError(
            f"the response of version {version} ended cleanly after {self.types[-1:]}"
        )

    def _see(self, version: int | None, cursor: Cursor) -> int:
        if version is None:
            self.versions.append(cursor.version)
        assert self._last is None or version is None or self._last.id < cursor.id, (
            "events out of order"
        )
        self._last = cursor
        return cursor.version

    def _take(self, cursor: Cursor | None, chunk: Chunk) -> None:
        if chunk["type"] == "start":
            self._chunks = []
        self._chunks.append(chunk)
        self._on_chunk(cursor, chunk)


async def events(response: httpx.Response) -> AsyncIterator[str]:
    """Yield each complete event; skip comments, and events that a break cuts off."""
    rest = ""
    async for text in response.aiter_text():
        *whole, rest = (rest + text).split("\n\n")
        for event in whole:
            if not event.startswith(":"):
                yield event
