"""A server process told to exit: readers leave within a second, turns end or are taken over."""

from __future__ import annotations

import asyncio
import socket
from typing import Any

import httpx
import pytest

from monostream_ai import DurableStreamService
from tests.fastapi.chat_client import question
from tests.fastapi_processes.chat_server import answer
from tests.fastapi_processes.conftest import CommandServer, RunServer, until_it_answers
from tests.fastapi_processes.page import Chunk, Page, events
from tests.frameworks import HOSTS

SERVED = [
    *((server, "fastapi") for server in ("uvicorn", "granian", "hypercorn")),
    *(("uvicorn", framework) for framework in HOSTS),
]

LONG_LEASE = 60.0
"""Seconds; longer than any test, so a turn can be taken over only if it was released."""


class Reader:
    """Reads one response of a chat until it breaks off."""

    def __init__(self, response: httpx.Response) -> None:
        self._response = response
        self.began = asyncio.Event()

    async def read(self) -> None:
        with pytest.raises(httpx.TransportError):
            async for event in events(self._response):
                if '"text-delta"' in event:
                    self.began.set()


async def break_off(http: httpx.AsyncClient, server: CommandServer) -> None:
    """Ask, read with two readers, and tell the server to exit; return once both responses have
    broken off.
    """
    body = http.build_request("POST", f"{server.url}/api/chat", json=question())
    posted = await http.send(body, stream=True)
    resumed = await http.send(
        http.build_request("GET", f"{server.url}/api/chat/c1/stream"), stream=True
    )
    readers = [Reader(posted), Reader(resumed)]
    async with asyncio.TaskGroup() as group:
        for reader in readers:
            group.create_task(reader.read())
        for reader in readers:
            await reader.began.wait()
        server.terminate()


@pytest.mark.parametrize(("name", "framework"), SERVED)
async def test_a_process_told_to_exit_breaks_readers_off_and_lets_turns_end(
    name: str,
    framework: str,
    run_server: RunServer,
    http: httpx.AsyncClient,
    database: Any,
    stored: DurableStreamService[Any],
) -> None:
    settings = {"framework": framework, "middleware": framework == "fastapi"}
    server = run_server(name, lease=LONG_LEASE, words=100, pause=0.05, **settings)
    await until_it_answers(server.url)

    await break_off(http, server)
    # The answer takes five seconds; the readers were sent away in the middle of it.
    assert (await stored.status("chat:c1")).state == "open"
    await server.ended()

    chunks = await stored.chunks("chat:c1")
    assert [chunk["type"] for chunk in chunks].count("text-delta") == 100
    assert chunks[-1]["type"] == "finish"
    assert [row["ending"] for row in await database.fetch("SELECT * FROM handed_over")] == [
        "finish"
    ]


async def connect_and_not_read(url: str) -> socket.socket:
    """Resume a chat but do not read, so that the server has more than it can send."""
    hanging = socket.socket()
    hanging.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    hanging.setblocking(False)
    host, port = url.removeprefix("http://").split(":")
    loop = asyncio.get_running_loop()
    await loop.sock_connect(hanging, (host, int(port)))
    await loop.sock_sendall(hanging, b"GET /api/chat/c1/stream HTTP/1.1\r\nhost: test\r\n\r\n")
    assert (await loop.sock_recv(hanging, 16)).startswith(b"HTTP/1.1 200")
    return hanging


@pytest.mark.parametrize(("name", "framework"), SERVED)
async def test_a_stalled_client_delays_no_takeover(
    name: str,
    framework: str,
    run_server: RunServer,
    http: httpx.AsyncClient,
    stored: DurableStreamService[Any],
) -> None:
    leaving = run_server(
        name,
        framework=framework,
        lease=LONG_LEASE,
        words=10_000,
        pause=0.05,
        drain_timeout=0.5,
        ballast=10,
    )
    await until_it_answers(leaving.url)
    async with http.stream("POST", f"{leaving.url}/api/chat", json=question()) as posted:
        reader = Reader(posted)
        reading = asyncio.create_task(reader.read())
        await reader.began.wait()
        hanging = await connect_and_not_read(leaving.url)
        # Let the server fill the socket buffers. If that takes longer, this test still passes but
        # proves less.
        await asyncio.sleep(1.0)
        leaving.terminate()
        await reading
    async with asyncio.timeout(LONG_LEASE / 2):
        while not (await stored.status("chat:c1")).lost:
            await asyncio.sleep(0.05)

    hanging.close()
    await leaving.ended()


@pytest.mark.parametrize(("name", "framework"), SERVED)
async def test_a_turn_that_outlasts_its_process_is_taken_over_at_once(
    name: str,
    framework: str,
    run_server: RunServer,
    http: httpx.AsyncClient,
    stored: DurableStreamService[Any],
) -> None:
    leaving = run_server(
        name, framework=framework, lease=LONG_LEASE, words=10_000, pause=0.05, drain_timeout=0.5
    )
    staying = run_server(name, framework=framework, lease=LONG_LEASE, words=20)
    for server in (leaving, staying):
        await until_it_answers(server.url)
    seen: list[Chunk] = []
    page = Page(
        http,
        lambda: [staying.url, staying.url],
        "c1",
        on_chunk=lambda cursor, chunk: seen.append(chunk),
    )

    await break_off(http, leaving)
    async with asyncio.timeout(LONG_LEASE / 2):
        await page.read()
        await leaving.ended()

    assert page.versions == [0, 1]
    assert page.text == answer(words=20)
    assert (await stored.status("chat:c1")).attempt == 2
    assert len({chunk["data"] for chunk in seen if chunk["type"] == "data-writer"}) == 2
