"""Clients of two server processes hear of all turns, though the writing process is killed."""

from __future__ import annotations

import asyncio
from pathlib import Path

import httpx
import pytest

from tests.fastapi.chat_client import ChatClient, question
from tests.fastapi.test_events import events_of
from tests.fastapi_processes.conftest import PATIENCE, ForkServer, until_it_answers

KILLS = 3


async def nothing() -> None:
    pass


class Listener:
    """Hears of turns from any of the servers, and goes to the next one after each event."""

    def __init__(self, servers: list[ChatClient]) -> None:
        self._servers = servers
        self._cursor: str | None = None
        self.told: set[tuple[str, str, str | None]] = set()
        self.connected = asyncio.Event()

    async def listen(self) -> None:
        for number in range(10**6):
            try:
                async with events_of(self._servers[number % 2], self._cursor) as events:
                    name, _ = event = await events.next()
                    if name == "running":
                        self.connected.set()
                        event = await events.next()
                    self._cursor = events.last_id
                    turn = event[1]
                    self.told.add((turn["chatId"], turn["state"], turn["ending"]))
            except (httpx.TransportError, StopAsyncIteration):
                await asyncio.sleep(0.05)


@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
async def test_a_listener_hears_of_every_end_whatever_process_dies(
    kind: str, fork_server: ForkServer, http: httpx.AsyncClient, tmp_path: Path
) -> None:
    url = {"database": f"sqlite+aiosqlite:///{tmp_path}/chats.db"} if kind == "sqlite" else {}
    servers = [fork_server(words=20, pause=0.02, **url) for _ in range(2)]
    for server in servers:
        await until_it_answers(server.url)
    async with (
        httpx.AsyncClient(base_url=servers[0].url, timeout=PATIENCE) as one,
        httpx.AsyncClient(base_url=servers[1].url, timeout=PATIENCE) as two,
    ):
        clients = [ChatClient(one, nothing), ChatClient(two, nothing)]
        listener = Listener(clients)
        listening = asyncio.create_task(listener.listen())
        await listener.connected.wait()
        for number in range(KILLS):
            with_whom = number % 2
            try:
                async with clients[with_whom].ask(question(f"c{number}")) as stream:
                    while (await stream.chunk())["type"] != "text-delta":
                        pass
                    await asyncio.to_thread(servers[with_whom].kill)
            except httpx.TransportError:
                pass
            servers[with_whom].start()
            await until_it_answers(servers[with_whom].url)
            clients[with_whom].http.base_url = httpx.URL(servers[with_whom].url)
        async with asyncio.timeout(PATIENCE):
            while not {(f"c{n}", "closed", "finish") for n in range(KILLS)} <= listener.told:
                await asyncio.sleep(0.1)
        listening.cancel()
        await asyncio.wait([listening])
