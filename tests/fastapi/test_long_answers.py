"""Long answers: a replay lets other requests run, and a stalled reader holds up nobody."""

from __future__ import annotations

import asyncio
import socket
from contextlib import suppress
from typing import Any

import pytest
from starlette.requests import ClientDisconnect

from monostream_ai import DurableStreamService
from monostream_ai.fastapi import ChatTurn, stream_response
from tests.fastapi.chat_client import question, types_in
from tests.fastapi.conftest import NewService, Serve

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
    assert [body.partition("id: 0.1\n")[2] for body in late] == [
        whole.partition("id: 0.1\n")[2]
    ] * 5
