"""Long answers: a replay lets other requests run, and a stalled reader holds up nobody."""

from __future__ import annotations

import asyncio
import socket
import tracemalloc
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Literal

import pytest
from starlette.requests import ClientDisconnect

from monostream_ai import DurableStreamService, Publisher
from monostream_ai.chats.turns.written import Written
from monostream_ai.fastapi import ChatTurn, FinishedTurn, stream_response
from monostream_ai.interfaces import PAGE_ROWS
from monostream_ai.ui_messages import Chunk, UIMessage, UIMessageProtocol
from monostream_ai.ui_messages.protocol import UIMessageTranscript
from tests.fastapi.chat_client import question, types_in
from tests.fastapi.conftest import NewService, Serve
from tests.fastapi.replies import greet
from tests.plugins.services import ServiceFactory

CHUNKS = 5_000
PIECE = 64 * 1024
"""Approximate characters of a response between two turns of the event loop."""

Deltas = list[dict[str, Any]]


def deltas(count: int, padding: str = "") -> Deltas:
    return [
        {"type": "text-delta", "id": "t", "delta": f"{number} {padding}"} for number in range(count)
    ]


async def store(service: DurableStreamService[Any], chunks: Deltas) -> None:
    async with service.publisher("s") as pub:
        await pub.write({"type": "start"}, {"type": "text-start", "id": "t"})
        for first in range(0, len(chunks), 1000):
            await pub.write(*chunks[first : first + 1000])


async def test_the_event_loop_runs_after_each_piece_of_a_long_replay(
    new_service: NewService,
) -> None:
    service = new_service()
    await store(service, deltas(CHUNKS, "x" * 4000))
    response = await stream_response(service, "s", version=0)
    sizes, events, done = [0], 0, False

    async def send(message: Any) -> None:
        # Like a server whose client takes everything at once: nothing here waits.
        nonlocal events
        sizes[-1] += len(message.get("body", b""))
        events += message.get("body", b"").count(b"data: ")

    async def turn_with_the_loop() -> None:
        while not done:
            sizes.append(0)
            await asyncio.sleep(0)

    turning = asyncio.create_task(turn_with_the_loop())
    scope = {"type": "http", "asgi": {"spec_version": "2.4"}, "extensions": {}}
    await response(scope, asyncio.Event().wait, send)  # type: ignore[arg-type]
    done = True
    await turning

    assert events == CHUNKS + 5
    assert max(sizes) < 3 * PIECE
    assert len(sizes) > sum(sizes) / (3 * PIECE)


@pytest.mark.parametrize("spec_version", ["2.3", "2.4"])
async def test_a_client_that_leaves_a_long_replay_ends_its_work(
    new_service: NewService, spec_version: str
) -> None:
    service = new_service()
    await store(service, deltas(1000, "x" * 4000))
    response = await stream_response(service, "s", version=0)
    sent, left = 0, asyncio.Event()

    async def send(message: Any) -> None:
        nonlocal sent
        sent += len(message.get("body", b""))
        if sent > 5 * PIECE:
            left.set()
            if spec_version == "2.4":
                raise OSError("the client is gone")

    async def receive() -> Any:
        await left.wait()
        return {"type": "http.disconnect"}

    scope = {"type": "http", "asgi": {"spec_version": spec_version}, "extensions": {}}
    with suppress(ClientDisconnect):
        await response(scope, receive, send)  # type: ignore[arg-type]

    assert 5 * PIECE < sent < 8 * PIECE


class Pausing:
    """A client with a small socket buffer, which reads only on demand."""

    async def ask(self, url: str) -> None:
        host, port = url.removeprefix("http://").split(":")
        narrow = socket.socket()
        narrow.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        narrow.setblocking(False)
        await asyncio.get_running_loop().sock_connect(narrow, (host, int(port)))
        self._reader, self._writer = await asyncio.open_connection(sock=narrow, limit=1024)
        self._writer.write(b"GET /api/chat/c1/stream HTTP/1.0\r\n\r\n")
        await self._reader.readuntil(b": stream-open\n\n")

    async def rest(self) -> str:
        body = await self._reader.read(-1)
        self._writer.close()
        return body.decode()


async def test_a_stalled_reader_delays_nobody_and_misses_nothing(
    new_service: NewService, serve: Serve
) -> None:
    all_here = asyncio.Event()
    service = new_service()

    async def reply(turn: ChatTurn) -> None:
        await turn.pub.write({"type": "text-start", "id": "t"})
        await all_here.wait()
        # More than the socket buffers between two processes hold.
        for _ in range(200):
            await turn.pub.write(*deltas(100, "x" * 1000))

    client = await serve(service, reply)
    async with client.ask(question()) as stream:
        await stream.chunk()
        pausing = [Pausing() for _ in range(5)]
        for each in pausing:
            await each.ask(str(client.http.base_url).rstrip("/"))
        all_here.set()
        whole = await stream.rest()
    late = [await each.rest() for each in pausing]

    assert types_in(whole).count("text-delta") == 20_000
    assert [events_of(body) == events_of(whole) for body in late] == [True] * 5


def events_of(body: str) -> list[str]:
    """Return the events from the second one on, without comments: they come to a reader that waits,
    also to one that a busy machine lets wait.
    """
    events = body.partition("id: 0.1\n")[2].split("\n\n")
    return [event for event in events if not event.startswith(":")]


class CountedProtocol(UIMessageProtocol):
    """Counts the chunks that are decoded or taken note of without a turn of the event loop, and all
    that are decoded.
    """

    def __init__(self) -> None:
        self.at_once, self.total, self._running = [0], 0, False

    def decode(self, payload: str) -> Chunk:
        self.total += 1
        self.count()
        return super().decode(payload)

    def transcript(self, message_id: str | None = None) -> UIMessageTranscript:
        return CountedTranscript(message_id, self.count)

    def count(self) -> None:
        self.at_once[-1] += 1
        if not self._running:
            self._running = True
            asyncio.get_running_loop().call_soon(self._turn)

    def _turn(self) -> None:
        self._running = False
        self.at_once.append(0)


class CountedTranscript(UIMessageTranscript):
    def __init__(self, message_id: str | None, count: Callable[[], None]) -> None:
        super().__init__(message_id)
        self._count = count

    def feed(self, chunk: Chunk) -> None:
        self._count()
        super().feed(chunk)


async def write_long_answer(pub: Publisher[Chunk]) -> None:
    await pub.write({"type": "start", "messageId": "m1"}, {"type": "text-start", "id": "t"})
    for _ in range(20):
        await pub.write(*deltas(1000))


async def test_the_end_of_a_long_answer_takes_neither_memory_nor_the_loop(
    service_factory: ServiceFactory, serve: Serve
) -> None:
    protocol, ended = CountedProtocol(), asyncio.Event()
    service = service_factory(protocol=UIMessageProtocol())
    messages: list[UIMessage] = []

    async def keep(message: UIMessage, turn: FinishedTurn) -> None:
        messages.append(message)
        ended.set()

    pub = service.publisher("chat:c1", message_id="m1", request=question(), watched=True)
    await pub.open()
    await write_long_answer(pub)
    client = await serve(service_factory(protocol=protocol), greet, on_finish=keep)
    tracemalloc.start()
    try:
        await client.stop()
        await asyncio.wait_for(ended.wait(), 30)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    # Once for the ending, and once for the message.
    assert protocol.total > 40_000
    assert max(protocol.at_once) <= PAGE_ROWS / 2
    # All chunks at once take more than 8 MB.
    assert peak < 4_000_000
    assert messages[0]["metadata"] == {"stopped": True}


@pytest.mark.parametrize("on_lost", ["continue", "retry"])
async def test_a_lost_long_answer_is_taken_up_with_turns_of_the_loop(
    service_factory: ServiceFactory, serve: Serve, on_lost: Literal["continue", "retry"]
) -> None:
    protocol, texts = CountedProtocol(), list[str]()
    service = service_factory(protocol=UIMessageProtocol())

    async def reply(turn: ChatTurn) -> None:
        texts.append((await turn.previous()).text)
        await turn.pub.write({"type": "text-start", "id": "u"})

    pub = service.publisher("chat:c1", message_id="m1", request=question(), watched=True)
    await pub.open()
    await write_long_answer(pub)
    await pub.release()
    client = await serve(service_factory(protocol=protocol), reply, on_lost=on_lost)
    await client.get()

    assert texts[0].split()[-1] == "999"
    # Once when it is decoded, and once for the ending.
    assert max(protocol.at_once) <= PAGE_ROWS / 2


async def test_the_message_of_a_long_answer_is_made_with_turns_of_the_loop() -> None:
    written, turns = Written([{"type": "text-start", "id": "t"}, *deltas(20_000)]), 0

    async def take_turns() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    taking = asyncio.create_task(take_turns())
    await written.prepare()
    taking.cancel()

    assert turns >= 20
