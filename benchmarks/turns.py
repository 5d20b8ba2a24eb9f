"""Readers of the soak, which come and go, and the turns that they read."""

from __future__ import annotations

import asyncio
import itertools
import json
import random
import time
from collections.abc import AsyncIterator
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import httpx

from benchmarks.processes import PortProgram
from monostream_ai.errors import UnknownStream
from monostream_ai.fastapi import chat_stream_id

if TYPE_CHECKING:
    from benchmarks.soak import Soak

PAUSE = 0.15
"""Seconds after which a reader comes back to a response that broke off."""

TURN_LIMIT = 90.0
"""Seconds after which a turn counts as stuck."""


class ChatServer(PortProgram):
    """One of the two processes; `up` while requests may go to it."""

    up, born = False, 0.0

    async def start(self) -> None:
        await super().start()
        self.up, self.born = True, time.monotonic()

    async def kill(self) -> None:
        self.up = False
        await super().kill()


class Reader:
    """Reads one answer, leaves and comes back; at the other process when one breaks off.

    Args:
        by_event: Comes back with `Last-Event-ID` for the rest; otherwise it reads all again.
        question: Posted until it is answered; without one the reader only looks on.
    """

    def __init__(
        self, soak: Soak, chat_id: str, *, by_event: bool, question: dict[str, Any] | None = None
    ) -> None:
        self.text = ""
        self.version: int | None = None
        self.answered = asyncio.Event()
        self.writer: int | None = None
        """Id of the process that writes the answer."""
        self.whole = False
        """Whether the ending was read."""
        self._soak, self._chat_id = soak, chat_id
        self._by_event, self._question = by_event, question
        self._cursor: str | None = None

    async def read(self, place: int, seconds: float | None = None) -> bool:
        """Read for so many seconds; return whether the answer is over and nothing is left of it."""
        try:
            async with asyncio.timeout(seconds):
                for number in itertools.count(place):
                    server = self._soak.servers[number % 2]
                    with suppress(httpx.TransportError):
                        if server.up and await self._over_at(server):
                            return True
                    await asyncio.sleep(PAUSE)
        except TimeoutError:
            self._soak.counts["left in mid-answer"] += 1
        return False

    async def _over_at(self, server: ChatServer) -> bool:
        method, url, options = "GET", f"{server.url}/api/chat/{self._chat_id}/stream", {}
        if self._question is not None and self.version is None:
            method, url, options = "POST", f"{server.url}/api/chat", {"json": self._question}
        elif self._by_event and self._cursor:
            options = {"headers": {"last-event-id": self._cursor}}
        async with self._soak.http.stream(method, url, **options) as response:
            status = response.status_code
            self._soak.counts[f"{method}, status {status}"] += 1
            if status == 200:
                self._soak.open += 1
                try:
                    return await self._take_all(response)
                finally:
                    self._soak.open -= 1
        if status == 409 and self._cursor is not None:
            # Its version was superseded; the next one is replayed from its beginning.
            self._cursor = None
        elif status not in (204, 503):
            self._soak.mismatch(f"{method} for {self._chat_id} was answered by {status}")
        return status == 204

    async def _take_all(self, response: httpx.Response) -> bool:
        version = int(response.headers["x-workflow-run-id"].rpartition("~")[2])
        if not self._by_event or self._cursor is None or version != self.version:
            self.text = ""
        self.version = version
        self.answered.set()
        async for id, data in _events(response):
            if data == "[DONE]":
                self.whole = True
                return True
            self._cursor = id or self._cursor
            chunk = json.loads(data)
            if chunk["type"] == "data-writer":
                self.writer = chunk["data"]
            if chunk["type"] == "text-delta":
                self.text += chunk["delta"]
        self._soak.mismatch(f"a response for {self._chat_id} ended cleanly without an ending")
        return False


async def _events(response: httpx.Response) -> AsyncIterator[tuple[str | None, str]]:
    """Yield the id and the data of each whole event, without comments."""
    rest = ""
    async for text in response.aiter_text():
        *whole, rest = (rest + text).split("\n\n")
        for event in whole:
            lines = [line for line in event.splitlines() if not line.startswith(":")]
            fields = dict(line.split(": ", 1) for line in lines)
            if "data" in fields:
                yield fields.get("id"), fields["data"]


class Turn:
    """One question: readers come and go, perhaps one stops it, and all compare their texts."""

    def __init__(self, soak: Soak, chance: random.Random, chat_id: str, number: int) -> None:
        self._soak, self._chance, self._chat_id = soak, chance, chat_id
        words, pause = chance.randint(20, 160), chance.choice((0.02, 0.05, 0.08))
        self._length = words * pause
        text = {"type": "text", "text": "Go on."}
        message = {"id": f"question-{number}", "role": "user", "parts": [text]}
        body = {"id": chat_id, "messages": [message], "trigger": "submit-message"}
        self._asker = self._reader({**body, "words": words, "pause": pause})
        self._readers = [self._asker]

    async def run(self) -> int | None:
        """Return the version in which the turn ended."""
        try:
            async with asyncio.timeout(TURN_LIMIT), asyncio.TaskGroup() as group:
                group.create_task(self._ask())
                for _ in range(self._chance.choice((0, 1, 1, 2, 3))):
                    group.create_task(self._look_on())
                if self._chance.random() < 0.15:
                    group.create_task(self._stop())
            return await self._compare()
        except TimeoutError:
            self._soak.mismatch(f"a turn of {self._chat_id} took over {TURN_LIMIT:g} s")
        return None

    def _reader(self, question: dict[str, Any] | None = None) -> Reader:
        by_event = self._chance.random() < 0.5
        return Reader(self._soak, self._chat_id, by_event=by_event, question=question)

    def _moment(self) -> float:
        return self._chance.uniform(0.0, self._length)

    async def _ask(self) -> None:
        place = self._chance.randrange(2)
        seconds = self._moment() if self._chance.random() < 0.4 else None
        while not await self._asker.read(place, seconds) or self._asker.version is None:
            # Back at the other process, where the answer comes from the database.
            place, seconds = place + 1, None
            await asyncio.sleep(self._chance.uniform(0.0, 2.0))

    async def _look_on(self) -> None:
        await self._asker.answered.wait()
        await asyncio.sleep(self._moment())
        reader, place = self._reader(), self._chance.randrange(2)
        self._readers.append(reader)
        if self._chance.random() < 0.4:
            if await reader.read(place, self._moment()) or self._chance.random() < 0.5:
                # Over, or gone for good.
                return
            await asyncio.sleep(self._chance.uniform(0.0, 1.0))
        await reader.read(place + 1)

    async def _stop(self) -> None:
        await self._asker.answered.wait()
        await asyncio.sleep(self._moment())
        # From the process that does not write, if it is known.
        servers = sorted(
            self._soak.servers, key=lambda one: one.up and one.pid == self._asker.writer
        )
        for server in servers * 20:
            with suppress(httpx.TransportError):
                response = await self._soak.http.post(f"{server.url}/api/chat/{self._chat_id}/stop")
                if response.status_code == 200:
                    self._soak.counts["stops"] += 1
                    return
            await asyncio.sleep(PAUSE)
        self._soak.mismatch(f"{self._chat_id} could not be stopped")

    async def _compare(self) -> int | None:
        stream_id = chat_stream_id(self._chat_id)
        latest = await self._soak.stored.status(stream_id)
        if latest.state != "closed":
            self._soak.mismatch(f"{self._chat_id} is {latest.state} after its ending was read")
        for reader in self._readers:
            if reader.version is None:
                continue
            name = f"{self._chat_id} version {reader.version}"
            self._soak.counts["texts compared"] += 1
            try:
                chunks = await self._soak.stored.chunks(stream_id, reader.version)
            except UnknownStream:
                self._soak.mismatch(f"{name} was read and is not stored")
                continue
            text = "".join(chunk["delta"] for chunk in chunks if chunk["type"] == "text-delta")
            whole = reader.text == text and reader.version == latest.version
            if not (whole if reader.whole else text.startswith(reader.text)):
                self._soak.mismatch(f"{name}: {reader.text[-60:]!r} was read of {text[-60:]!r}")
        self._soak.counts["turns"] += 1
        return latest.version
