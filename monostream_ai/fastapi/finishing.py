"""The finished message of a turn, given to the application once, whichever process wrote or ended
the turn.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

from monostream_ai.errors import InvalidChunk
from monostream_ai.fastapi.requests import Body, ChatRequest
from monostream_ai.service import DurableStreamService
from monostream_ai.types import VersionInfo, log_fields
from monostream_ai.ui_messages import Chunk, MessageReducer, UIMessage

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class FinishedTurn:
    """A turn that has ended: `finish` if its reply returned, `abort` if it was stopped, `error` if
    it failed or was lost.
    """

    chat_id: str
    stream_id: str
    version: int
    message_id: str
    owner: str | None
    ending: Literal["finish", "error", "abort"]
    messages: list[UIMessage]
    """What the client had sent; it may be forged."""
    body: Body
    """The whole JSON body of the request."""


OnFinish: TypeAlias = Callable[[UIMessage, FinishedTurn], Awaitable[object]]


class Finisher:
    """Settles turns: builds the message of each one and hands it over.

    A turn whose `on_finish` raised, took over a minute, or died with its process is left to a later
    sweep.
    """

    def __init__(self, service: DurableStreamService[Any], on_finish: OnFinish | None) -> None:
        self._service = service
        self._on_finish = on_finish
        self._tasks: dict[tuple[str, int], asyncio.Task[None]] = {}

    def begin(self, stream_id: str, version: int) -> asyncio.Task[None]:
        """Settle a turn in a task of its own; nothing happens unless the turn has ended."""
        key = (stream_id, version)
        task = self._tasks.get(key)
        if task is None:
            task = self._tasks[key] = asyncio.create_task(
                self._settle(stream_id, version), name=f"finish {stream_id} {version}"
            )
            task.add_done_callback(lambda _: self._tasks.pop(key, None))
        return task

    async def idle(self, stream_id: str | None = None) -> None:
        """Wait until nothing is being settled here, of one stream or at all."""
        while tasks := [task for key, task in self._tasks.items() if stream_id in (None, key[0])]:
            await asyncio.wait(tasks)

    async def _settle(self, stream_id: str, version: int) -> None:
        try:
            await self._service.settle(
                stream_id, version, lambda: self._hand_over(stream_id, version)
            )
        except Exception:
            fields = log_fields(stream_id, version)
            logger.exception(
                "finishing stream %r version %d failed; a sweep tries again",
                stream_id,
                version,
                extra=fields,
            )

    async def _hand_over(self, stream_id: str, version: int) -> None:
        if self._on_finish is None:
            return
        info = await self._service.status(stream_id, version)
        request = ChatRequest.stored_with(info)
        if request is not None:
            chunks = await self._service.chunks(stream_id, version)
            await self._on_finish(
                finished_message(request, chunks), _finished_turn(info, request, chunks)
            )


def finished_message(request: ChatRequest, chunks: list[Chunk]) -> UIMessage:
    """Return the message that a turn has made, with what it had before if the turn went on with it;
    no part is left streaming.

    A stopped one has `metadata.stopped`, and one that failed `metadata.failed`.
    """
    reducer = MessageReducer(None if request.continued_message_id is None else request.messages[-1])
    failed = _ending(chunks) == "error"
    for chunk in chunks:
        try:
            reducer.feed(chunk)
        except InvalidChunk:
            # Clients fail here too, and ignore what follows.
            failed = True
            break
    if failed:
        reducer.feed({"type": "message-metadata", "messageMetadata": {"failed": True}})
    reducer.settle()
    return reducer.message


def _finished_turn(info: VersionInfo, request: ChatRequest, chunks: list[Chunk]) -> FinishedTurn:
    return FinishedTurn(
        chat_id=request.chat_id,
        stream_id=info.stream_id,
        version=info.version,
        message_id=info.message_id or "",
        owner=info.owner,
        ending=_ending(chunks),
        messages=request.messages,
        body=request.body,
    )


def _ending(chunks: list[Chunk]) -> Literal["finish", "error", "abort"]:
    kind = chunks[-1]["type"] if chunks else None
    return kind if kind in ("error", "abort") else "finish"
