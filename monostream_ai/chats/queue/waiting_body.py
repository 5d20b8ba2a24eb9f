"""The body of a response to a question that waits: comments first, then the answer."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from typing import Any

from monostream_ai.chats.exit_signals import process_exiting
from monostream_ai.chats.queue.chat_queue import Queued
from monostream_ai.chats.queue.questions import Question
from monostream_ai.chats.streaming.body import TurnBody
from monostream_ai.errors import MonostreamError
from monostream_ai.service import DurableStreamService
from monostream_ai.types import VersionInfo
from monostream_ai.ui_messages.sse import KEEP_ALIVE, STREAM_OPEN


class WaitingBody:
    """Yields comments while a question waits, then the frames of its answer. If the question
    is cancelled, the response ends without an answer.

    Args:
        answer: Makes the body of the version that answers it.
        nothing: The frames after a cancellation.

    Raises (from `anext`):
        asyncio.CancelledError: The response must break off; the server then cuts the connection.
    """

    def __init__(
        self,
        service: DurableStreamService[Any],
        queued: Queued,
        *,
        answer: Callable[[int], TurnBody],
        nothing: str,
        keep_alive: float,
    ) -> None:
        self.complete = False
        self._service = service
        self._queued = queued
        self._answer = answer
        self._nothing = nothing
        self._keep_alive = keep_alive
        self._spoke_at = time.monotonic()
        self._news = asyncio.Event()
        self._body: TurnBody | None = None

    def __repr__(self) -> str:
        return f"<WaitingBody of {self._queued.run}, {self._body}>"

    async def __aiter__(self) -> AsyncIterator[bytes]:
        yield STREAM_OPEN.encode()
        with self._queued.queue.lookout.telling(self._queued.stream_id, self._news):
            while isinstance(found := await self._found(), Question):
                if time.monotonic() - self._spoke_at >= self._keep_alive:
                    self._spoke_at = time.monotonic()
                    yield KEEP_ALIVE.encode()
        if found is None:
            self.complete = True
            yield self._nothing.encode()
            return
        self._body = self._answer(found.version)
        self._body.open()
        async for piece in self._body:
            self.complete = self._body.complete
            yield piece
        self.complete = self._body.complete

    def open(self) -> None:
        """Start the clock that sends keep-alives and notices shutdown."""
        self._service._clock.join(self._look, after=self._keep_alive, alarm=process_exiting)

    def close(self) -> None:
        """Stop that clock, and leave the stream of the answer. The question still waits."""
        self._service._clock.leave(self._look)
        if self._body is not None:
            self._body.close()

    def _look(self) -> float:
        self._news.set()
        return self._keep_alive

    async def _found(self) -> VersionInfo | Question | None:
        """Look at the question, and wait for news while it waits."""
        self._news.clear()
        if self._service.closing:
            raise asyncio.CancelledError
        try:
            found = await self._queued.find()
        except MonostreamError:
            raise asyncio.CancelledError from None
        if isinstance(found, Question):
            with suppress(TimeoutError):
                async with asyncio.timeout(self._service._runtime.poll_interval):
                    await self._news.wait()
        return found
