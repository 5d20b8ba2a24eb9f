"""A reply that writes chunks of a test, and waits in between until clients have come back."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from monostream_ai.fastapi import ChatTurn
from monostream_ai.ui_messages import Chunk


class Returns:
    """Counts the streaming responses to a GET that have begun, for each chat.

    This is an ASGI middleware, since only the application sees that moment: chunks stored before it
    are replayed, and later ones are tailed.
    """

    def __init__(self) -> None:
        self._counts: Counter[str] = Counter()
        self._changed = asyncio.Condition()

    async def reach(self, chat_id: str, count: int) -> None:
        async with self._changed:
            await self._changed.wait_for(lambda: self._counts[chat_id] >= count)

    def around(self, app: Any) -> Any:
        async def counting(scope: Any, receive: Any, send: Any) -> None:
            async def sending(message: Any) -> None:
                await send(message)
                if message["type"] == "http.response.start" and message["status"] == 200:
                    await self._count(scope["path"])

            await app(
                scope,
                receive,
                sending if scope["type"] == "http" and scope["method"] == "GET" else send,
            )

        return counting

    async def _count(self, path: str) -> None:
        # Of a run's name too, which is the chat's with its version.
        chat_id = path.split("/")[-2].partition("~")[0]
        async with self._changed:
            self._counts[chat_id] += 1
            self._changed.notify_all()


class Scripted:
    """Writes what `{"script": {"scenario": name, "stages": [[n, returns], …]}}` in the request asks
    for.

    After the first n chunks, `start` among them, it waits until so many GETs of the chat were
    answered; the rest comes at last.
    """

    def __init__(self, scenarios: Mapping[str, Sequence[Chunk]]) -> None:
        self.returns = Returns()
        self.message_ids: dict[str, str] = {}
        """By chat."""
        self._scenarios = scenarios

    async def __call__(self, turn: ChatTurn) -> None:
        self.message_ids[turn.chat_id] = turn.message_id
        script = turn.body["script"]
        chunks, written = self._scenarios[script["scenario"]], 1
        for count, returns in script["stages"]:
            await self._write(turn, chunks[written:count])
            written = max(written, count)
            await self.returns.reach(turn.chat_id, returns)
        await self._write(turn, chunks[written:])

    async def _write(self, turn: ChatTurn, chunks: Sequence[Chunk]) -> None:
        if chunks:
            await turn.pub.write(*chunks)
