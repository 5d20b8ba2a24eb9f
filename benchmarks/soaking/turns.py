"""One turn of a chat: somebody asks, others look on, all of them come and go, perhaps somebody
stops it.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Sequence
from typing import Any

import httpx

from benchmarks.soaking.processes import ServerProcess
from benchmarks.soaking.reading import PAUSE, Reader
from benchmarks.soaking.tally import Tally
from monostream_ai import DurableStreamService
from monostream_ai.errors import UnknownStream
from monostream_ai.fastapi import chat_stream_id

LIMIT = 90.0
"""Seconds after which a turn hangs."""


class Turn:
    """Asks the `number`th question of a chat, and compares what everybody read with what is stored.

    Args:
        stored: Looks at what the servers have stored.
    """

    def __init__(
        self,
        http: httpx.AsyncClient,
        servers: Sequence[ServerProcess],
        stored: DurableStreamService[Any],
        tally: Tally,
        chance: random.Random,
        chat_id: str,
        number: int,
    ) -> None:
        self._http = http
        self._servers = servers
        self._stored = stored
        self._tally = tally
        self._chance = chance
        self._chat_id = chat_id
        words, pause = chance.randint(20, 160), chance.choice((0.02, 0.05, 0.08))
        self._length = words * pause
        message = {
            "id": f"question-{number}",
            "role": "user",
            "parts": [{"type": "text", "text": "Go on."}],
        }
        question = {
            "id": chat_id,
            "messages": [message],
            "trigger": "submit-message",
            "words": words,
            "pause": pause,
        }
        self._asker = self._reader(question)
        self._readers = [self._asker]

    async def run(self) -> int | None:
        """Return the version in which the turn came to its end."""
        try:
            async with asyncio.timeout(LIMIT), asyncio.TaskGroup() as group:
                group.create_task(self._ask())
                for _ in range(self._chance.choice((0, 1, 1, 2, 3))):
                    group.create_task(self._look_on())
                if self._chance.random() < 0.15:
                    group.create_task(self._stop())
            return await self._compare()
        except TimeoutError:
            self._tally.mismatch(f"a turn of {self._chat_id} took over {LIMIT:g} s")
        return None

    def _reader(self, question: dict[str, Any] | None = None) -> Reader:
        by_event = self._chance.random() < 0.5
        return Reader(
            self._http,
            self._servers,
            self._tally,
            self._chat_id,
            by_event=by_event,
            question=question,
        )

    async def _ask(self) -> None:
        place = self._chance.randrange(2)
        seconds = self._moment() if self._chance.random() < 0.4 else None
        while not await self._asker.read(place, seconds=seconds) or self._asker.version is None:
            # Back at the other process, where the answer is read across the database.
            place, seconds = place + 1, None
            await asyncio.sleep(self._chance.uniform(0.0, 2.0))

    async def _look_on(self) -> None:
        await self._asker.answered.wait()
        await asyncio.sleep(self._moment())
        reader, place = self._reader(), self._chance.randrange(2)
        self._readers.append(reader)
        if self._chance.random() < 0.4:
            if await reader.read(place, seconds=self._moment()) or self._chance.random() < 0.5:
                # Over, or gone for good.
                return
            await asyncio.sleep(self._chance.uniform(0.0, 1.0))
        await reader.read(place + 1)

    async def _stop(self) -> None:
        await self._asker.answered.wait()
        await asyncio.sleep(self._moment())
        others = [server for server in self._servers if server.pid != self._asker.writer]
        for server in [*others, *self._servers] * 20:
            try:
                response = await self._http.post(f"{server.address}/api/chat/{self._chat_id}/stop")
            except httpx.TransportError:
                await asyncio.sleep(PAUSE)
                continue
            if response.status_code == 200:
                self._tally.counts["stops"] += 1
                return
            await asyncio.sleep(PAUSE)
        self._tally.mismatch(f"{self._chat_id} could not be stopped")

    def _moment(self) -> float:
        return self._chance.uniform(0.0, self._length)

    async def _compare(self) -> int | None:
        stream_id = chat_stream_id(self._chat_id)
        latest = await self._stored.status(stream_id)
        if latest.state != "closed":
            self._tally.mismatch(f"{self._chat_id} is {latest.state} after its ending was read")
        for reader in self._readers:
            if reader.version is not None:
                await self._compare_reader(stream_id, reader, latest.version)
        self._tally.counts["turns"] += 1
        return latest.version

    async def _compare_reader(self, stream_id: str, reader: Reader, latest: int) -> None:
        try:
            chunks = await self._stored.chunks(stream_id, reader.version)
        except UnknownStream:
            self._tally.mismatch(
                f"{self._chat_id} was read as version {reader.version}, which is not stored"
            )
            return
        text = "".join(chunk["delta"] for chunk in chunks if chunk["type"] == "text-delta")
        fits = (
            reader.text == text and reader.version == latest
            if reader.whole
            else text.startswith(reader.text)
        )
        self._tally.counts["texts compared"] += 1
        if not fits:
            self._tally.mismatch(
                f"{self._chat_id} version {reader.version}: {reader.text[-60:]!r} was read of {text[-60:]!r}"
            )
