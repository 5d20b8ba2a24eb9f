"""A reader of one answer, which comes and goes: at one server process, or at the other when that
one breaks off.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import time
from collections.abc import AsyncGenerator, Sequence
from contextlib import AbstractAsyncContextManager, aclosing
from typing import Any

import httpx

from benchmarks.soaking.processes import ServerProcess
from benchmarks.soaking.tally import Tally

PAUSE = 0.15
"""Seconds after which a reader comes back from a break."""

Question = dict[str, Any]


class Reader:
    """Keeps what it has read; `read` goes on with it.

    Args:
        by_event: It comes back with `Last-Event-ID`, and reads the rest; without, it reads all
            again.
        question: Posted until it is answered; without one it only looks on.
    """

    def __init__(
        self,
        http: httpx.AsyncClient,
        servers: Sequence[ServerProcess],
        tally: Tally,
        chat_id: str,
        *,
        by_event: bool,
        question: Question | None = None,
    ) -> None:
        self.text = ""
        self.version: int | None = None
        self.answered = asyncio.Event()
        """Set when there is something to read."""
        self.writer: int | None = None
        """The process that writes what is read, if that was said."""
        self.whole = False
        """Whether it read to the ending."""
        self._http = http
        self._servers = servers
        self._tally = tally
        self._chat_id = chat_id
        self._by_event = by_event
        self._question = question
        self._cursor: str | None = None

    async def read(self, place: int, *, seconds: float | None = None) -> bool:
        """Read for so many seconds, or until the answer is over; begin at the server of this place.

        Returns:
            Whether it is over: read to its ending, or so long ago that the server has nothing to
                stream any more.
        """
        try:
            async with asyncio.timeout(seconds):
                for number in itertools.count(place):
                    server = self._servers[number % len(self._servers)]
                    if server.up and await self._over_at(server):
                        return True
                    await asyncio.sleep(PAUSE)
        except TimeoutError:
            self._tally.counts["left in mid-answer"] += 1
        return False

    async def _over_at(self, server: ServerProcess) -> bool:
        try:
            async with self._request(server) as response:
                return await self._over(server, response)
        except httpx.TransportError:
            self._tally.counts["broken off"] += 1
            return False

    def _request(self, server: ServerProcess) -> AbstractAsyncContextManager[httpx.Response]:
        if self._question is not None and self.version is None:
            self._tally.counts["posts"] += 1
            return self._http.stream("POST", f"{server.address}/api/chat", json=self._question)
        self._tally.counts["resumes"] += 1
        headers = {"last-event-id": self._cursor} if self._by_event and self._cursor else {}
        return self._http.stream(
            "GET", f"{server.address}/api/chat/{self._chat_id}/stream", headers=headers
        )

    async def _over(self, server: ServerProcess, response: httpx.Response) -> bool:
        if response.status_code == 200:
            self._tally.open += 1
            try:
                return await self._take_all(server, response)
            finally:
                self._tally.open -= 1
        self._tally.counts[f"status {response.status_code}"] += 1
        if response.status_code == 409 and self._cursor is not None:
            # Its version was superseded: whatever came of it is replayed from the beginning.
            self._cursor = None
        elif response.status_code not in (204, 503):
            self._tally.mismatch(
                f"{response.request.method} for {self._chat_id} was answered by {response.status_code}"
            )
        return response.status_code == 204

    async def _take_all(self, server: ServerProcess, response: httpx.Response) -> bool:
        self._join(int(response.headers["x-workflow-run-id"].rpartition("~")[2]))
        joined = time.monotonic()
        async with aclosing(events(response)) as read:
            async for id, data in read:
                if data == "[DONE]":
                    self.whole = True
                    return True
                self._cursor = id or self._cursor
                self._take(json.loads(data), server, joined)
        self._tally.mismatch(f"a response for {self._chat_id} ended cleanly without an ending")
        return False

    def _join(self, version: int) -> None:
        if not self._by_event or self._cursor is None or version != self.version:
            self.text = ""
        self.version = version
        self.answered.set()

    def _take(self, chunk: dict[str, Any], server: ServerProcess, joined: float) -> None:
        now = time.monotonic()
        if chunk["type"] == "data-writer":
            self.writer = chunk["data"]
        if chunk["type"] != "text-delta":
            return
        self.text += chunk["delta"]
        way = "within" if self.writer == server.pid else "across"
        for word in chunk["delta"].split():
            written = float(word.partition("@")[2])
            # What was written before is a replay.
            if written > joined:
                self._tally.late(way, now - written)


async def events(response: httpx.Response) -> AsyncGenerator[tuple[str | None, str]]:
    """Yield the id and the data of each whole event; what a break cuts off is no event, nor is a
    comment.
    """
    rest = ""
    async for text in response.aiter_text():
        *whole, rest = (rest + text).split("\n\n")
        for event in whole:
            fields = dict(
                line.split(": ", 1) for line in event.splitlines() if not line.startswith(":")
            )
            if "data" in fields:
                yield fields.get("id"), fields["data"]
