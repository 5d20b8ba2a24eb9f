"""Calls `on_finish` with the finished message of each turn, once, in whichever process it ended."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Final, Literal, TypeAlias

from monostream_ai.chats.turns.names import STREAM_PREFIX, chat_stream_id
from monostream_ai.chats.turns.requests import NO_CHAT_IDS, Body, ChatRequest
from monostream_ai.chats.turns.written import Refusal, feed
from monostream_ai.errors import ServiceClosed, UnknownStream
from monostream_ai.interfaces import PAGE_ROWS
from monostream_ai.service import DurableStreamService
from monostream_ai.types import Changes, VersionInfo, log_fields
from monostream_ai.ui_messages import Chunk, MessageReducer, UIMessage

logger = logging.getLogger(__name__)

CANCEL_TIMEOUT: Final = 5.0
"""Seconds that a cancelled `on_finish` gets to return."""


TurnEnding: TypeAlias = Literal["finish", "error", "abort"]
"""How a turn ended: its reply returned, it failed or its process died, or it was stopped."""


@dataclass(frozen=True, slots=True)
class FinishedTurn:
    """A turn that has ended.

    `ending` is `finish` if its reply returned, `abort` if it was stopped, and `error` if it failed
    or its process died.
    """

    chat_id: str
    stream_id: str
    version: int
    message_id: str
    owner: str | None
    ending: TurnEnding
    messages: list[UIMessage]
    """The messages that the client had sent, as in `ChatTurn.messages`; most may be forged."""
    body: Body
    """The whole JSON body of the request."""

    def __repr__(self) -> str:
        return f"<FinishedTurn {self.stream_id!r} v{self.version} {self.ending}>"


OnFinish: TypeAlias = Callable[[UIMessage, FinishedTurn], Awaitable[object]]
"""Takes the message of a turn that has ended, as `ChatHistory.finish` does. If it raises, takes
over a minute, or dies with its process, it is called again.
"""


class Finisher:
    """Finishes turns: builds the message of each one and gives it to `on_finish`.

    If `on_finish` raises, takes over a minute, or dies with its process, a later sweep calls it
    again.

    Args:
        stream_prefix: Of the streams of the chats.
    """

    def __init__(
        self,
        service: DurableStreamService[Any],
        on_finish: OnFinish | None,
        stream_prefix: str = STREAM_PREFIX,
    ) -> None:
        self._stream_prefix = stream_prefix
        self._service = service
        self._on_finish = on_finish
        self._tasks: dict[tuple[str, int], asyncio.Task[None]] = {}
        # Calls that go on although they were cancelled: nobody waits for them.
        self._left: set[asyncio.Future[object]] = set()

    @property
    def is_needed(self) -> bool:
        """Whether there is an `on_finish`."""
        return self._on_finish is not None

    def begin(self, stream_id: str, version: int) -> asyncio.Task[None]:
        """Finish a turn in its own task; does nothing if the turn still runs."""
        key = (stream_id, version)
        # The end of a turn, a stop and a sweep may all call this. Here they share one task; between
        # processes `settle` lets one call run.
        task = self._tasks.get(key)
        if task is None:
            task = self._tasks[key] = asyncio.create_task(
                self._finish(stream_id, version), name=f"finish {stream_id} {version}"
            )
            task.add_done_callback(lambda _: self._tasks.pop(key, None))
        return task

    async def idle(self, stream_id: str | None = None) -> None:
        """Wait until this process is finishing no turn, of one stream or at all."""
        # Look again after each wait: another turn may have begun to finish meanwhile.
        while tasks := [task for key, task in self._tasks.items() if stream_id in (None, key[0])]:
            await asyncio.wait(tasks)

    async def cancel(self) -> None:
        """Break off what still runs; a later sweep calls `on_finish` again."""
        tasks = [*self._tasks.values()]
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks, timeout=CANCEL_TIMEOUT)

    async def _finish(self, stream_id: str, version: int) -> None:
        try:
            await self._service.settle(
                stream_id, version, lambda: self._call_on_finish(stream_id, version)
            )
        except ServiceClosed:
            # The process exits, which is no failure of `on_finish`.
            logger.info(
                "closed before stream %r version %d was finished; a later sweep will finish it",
                stream_id,
                version,
                extra=log_fields(stream_id, version),
            )
        except Exception:
            logger.exception(
                "finishing stream %r version %d failed; a sweep tries again",
                stream_id,
                version,
                extra=log_fields(stream_id, version),
            )

    async def _call_on_finish(self, stream_id: str, version: int) -> None:
        if self._on_finish is None:
            return
        info = await self._service.status(stream_id, version)
        request = await ChatRequest.stored_with(self._service, info)
        if request is None:
            request = await self._unasked(info)
        if request is not None:
            message, last = await finished_message(self._service, info, request)
            turn = _finished_turn(info, request, message["id"], _ending(last))
            await self._await(self._on_finish(message, turn), turn)

    async def _unasked(self, info: VersionInfo) -> ChatRequest | None:
        """Return the stand-in for the request of a version that `chat_publisher` did not open; None
        if its stream is not a chat's, or may be that of an owner whom the version lacks.
        """
        beginning = chat_stream_id("", owner=info.owner, prefix=self._stream_prefix)
        chat_id = info.stream_id.removeprefix(beginning)
        if chat_id in (*NO_CHAT_IDS, info.stream_id) or (info.owner is None and "/" in chat_id):
            logger.warning(
                "stream %r version %d names no chat of its owner, so on_finish does not get it: "
                "open it by chat_publisher",
                info.stream_id,
                info.version,
                extra=log_fields(info.stream_id, info.version),
            )
            return None
        body = await self._service.request(info.stream_id, info.version)
        unasked = ChatRequest.unasked(chat_id)
        return replace(unasked, body=body) if isinstance(body, dict) else unasked

    async def _await(self, call: Awaitable[object], turn: FinishedTurn) -> None:
        """Await a call of `on_finish`; if it outlives its cancellation, leave it behind."""
        task: asyncio.Future[object] = asyncio.ensure_future(call)
        try:
            await asyncio.wait([task])
        except asyncio.CancelledError:
            task.cancel()
            await asyncio.wait([task], timeout=CANCEL_TIMEOUT)
            if not task.done():
                self._left.add(task)
                task.add_done_callback(self._left.discard)
                logger.error(
                    "on_finish of stream %r version %d goes on although it was cancelled",
                    turn.stream_id,
                    turn.version,
                    extra=log_fields(turn.stream_id, turn.version),
                )
            if not task.done() or task.cancelled():
                raise
        else:
            if task.cancelled():
                # It would pass for a drain, and nobody would hear of it.
                raise RuntimeError("on_finish raised CancelledError, but was not cancelled")
        task.result()


async def finished_message(
    service: DurableStreamService[Any], info: VersionInfo, request: ChatRequest | None
) -> tuple[UIMessage, Chunk | None]:
    """Return the whole message of a turn, including the parts that the turn continued, and its last
    chunk if it has any.

    No part is left streaming. A stopped message has `metadata.stopped`, a failed one
    `metadata.failed`. So has one with a chunk at which pages fail: it is left out, and logged.

    Args:
        request: None if no chat router opened the version.

    Raises:
        UnknownStream: The version is gone.
    """
    reducer = MessageReducer(None if request is None else request.continued_message)
    refusals, read, last = list[Refusal](), 0, None
    async for page in service._pages(info.stream_id, info.version):
        refusals += [each._replace(place=read + each.place) for each in feed(reducer, page)]
        read, last = read + len(page), page[-1]
    if refusals:
        _log_refusals(info, refusals)
    if refusals or _ending(last) == "error":
        reducer.feed({"type": "message-metadata", "messageMetadata": {"failed": True}})
    reducer.settle()
    message = reducer.message
    # Without an id, a page could not tell it from another answer.
    message["id"] = message["id"] or info.message_id or f"msg_{info.version}"
    return message, last


def _log_refusals(info: VersionInfo, refusals: Sequence[Refusal]) -> None:
    place, kind, error = refusals[0]
    logger.error(
        "pages that read stream %r version %d stop at its chunk %d, a %r: %s; "
        "its stored message lacks %d such chunks and has the rest",
        info.stream_id,
        info.version,
        place,
        kind,
        error,
        len(refusals),
        extra=log_fields(info.stream_id, info.version),
    )


async def all_changes(
    service: DurableStreamService[Any], prefix: str, since: datetime | None
) -> Changes:
    """Return all that `Store.changes` lists, by the clock of the first page."""
    store = await service._connected()
    page = await store.changes(prefix=prefix, since=since, after=None, limit=PAGE_ROWS)
    now, found = page.now, page.versions
    while len(page.versions) == PAGE_ROWS:
        last = found[-1].stream_id, found[-1].version
        page = await store.changes(prefix=prefix, since=since, after=last, limit=PAGE_ROWS)
        found = [*found, *page.versions]
    return Changes(now, [service._judged(info) for info in found])


async def latest_version(service: DurableStreamService[Any], stream_id: str) -> VersionInfo | None:
    """Return the latest version of a stream; None if there is no such stream."""
    try:
        return await service.status(stream_id)
    except UnknownStream:
        return None


async def last_type(service: DurableStreamService[Any], version: VersionInfo) -> str | None:
    """Return the type of the last chunk of a version that was closed; None if it has none."""
    if version.state != "closed" or version.next_id == 0:
        return None
    store = await service._connected()
    payloads = await store.payloads(
        version.stream_id, version.version, version.next_id - 1, max_rows=1, max_bytes=1
    )
    chunks = [service.protocol.decode(payload) for payload in payloads]
    return str(chunks[0]["type"]) if chunks else None


def _finished_turn(
    info: VersionInfo, request: ChatRequest, message_id: str, ending: TurnEnding
) -> FinishedTurn:
    return FinishedTurn(
        chat_id=request.chat_id,
        stream_id=info.stream_id,
        version=info.version,
        message_id=info.message_id or message_id,
        owner=info.owner,
        ending=ending,
        messages=request.messages,
        body=request.body,
    )


def _ending(last: Chunk | None) -> TurnEnding:
    kind = None if last is None else last["type"]
    return kind if kind in ("error", "abort") else "finish"
