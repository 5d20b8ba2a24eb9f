"""Two server processes answer the questions that wait in a few chats, and are killed at random.

Each question is answered once, in the order in which they were asked, and none is lost.
"""

from __future__ import annotations

import asyncio
import json
import os
import random
from itertools import cycle
from pathlib import Path
from typing import Any, Final

import httpx
import pytest

from monostream_ai import DurableStreamService, create_service
from monostream_ai.ui_messages import reduce_chunks
from tests.fastapi.chat_client import question
from tests.fastapi_processes.chat_server import answer
from tests.fastapi_processes.conftest import ForkedServer, ForkServer

SEED: Final = int(os.environ.get("MONOSTREAM_SEED", random.randrange(2**32)))

CHATS: Final = ("c0", "c1", "c2")

WORDS: Final = 40

MOST_AHEAD: Final = 5
"""Questions that a user asks ahead of the answers."""

AT_REST: Final = 60.0
"""Seconds for the last questions to be answered, on a busy machine."""


class User:
    """Asks one question after another in a chat, each until a server has taken it."""

    def __init__(self, http: httpx.AsyncClient, servers: list[ForkedServer], chat_id: str) -> None:
        self._http = http
        self._servers = cycle(servers)
        self.chat_id = chat_id
        self.asked: list[str] = []

    async def ask_until(self, over: asyncio.Event) -> None:
        while not over.is_set():
            self.asked.append(f"u{len(self.asked)}")
            await self._ask(question(self.chat_id, id=self.asked[-1]))
            while not over.is_set() and await self.ahead() >= MOST_AHEAD:
                await asyncio.sleep(0.05)

    async def ahead(self) -> int:
        """Return how many questions are not answered yet."""
        status = await self._request("GET", f"/{self.chat_id}/status")
        return int(status["queued"]) + (status["state"] != "closed")

    async def _ask(self, body: Any) -> None:
        await self._request(
            "POST", "", content=json.dumps(body), headers={"prefer": "respond-async"}
        )

    async def _request(self, method: str, path: str, **options: Any) -> Any:
        while True:
            url = f"{next(self._servers).url}/api/chat{path}"
            try:
                response = await self._http.request(method, url, **options)
            except httpx.TransportError:
                await asyncio.sleep(0.02)
                continue
            if response.status_code in (200, 202):
                return response.json()
            assert response.status_code == 503, response.text


async def kill(servers: list[ForkedServer], kills: int, chance: random.Random) -> None:
    for _ in range(kills):
        await asyncio.sleep(chance.uniform(0.05, 0.8))
        server = chance.choice(servers)
        await asyncio.to_thread(server.kill)
        await asyncio.to_thread(server.start)


@pytest.fixture
def kills(request: pytest.FixtureRequest) -> int:
    """How often to kill in one test."""
    return 10 if request.config.getoption("sample") else 35


@pytest.mark.parametrize("store", ["sqlite", "postgres"])
async def test_killed_processes_answer_each_question_once_and_in_order(
    store: str,
    kills: int,
    fork_server: ForkServer,
    http: httpx.AsyncClient,
    postgres_url: str,
    tmp_path: Path,
) -> None:
    print(f"seed {SEED}")
    url = postgres_url if store == "postgres" else f"sqlite+aiosqlite:///{tmp_path / 'chat.db'}"
    options: dict[str, Any] = {"database": url, "on_busy": "queue", "on_lost": "continue"}
    servers = [fork_server(words=WORDS, **options) for _ in range(2)]
    users = [User(http, servers, chat_id) for chat_id in CHATS]
    over = asyncio.Event()
    async with asyncio.TaskGroup() as group:
        for user in users:
            group.create_task(user.ask_until(over))
        await kill(servers, kills, random.Random(f"{SEED} {store}"))
        over.set()
    async with asyncio.timeout(AT_REST):
        while any([await user.ahead() for user in users]):
            await asyncio.sleep(0.1)

    async with create_service(url) as stored:
        for user in users:
            await check_answers(stored, user)


async def check_answers(stored: DurableStreamService[Any], user: User) -> None:
    stream_id = f"chat:{user.chat_id}"
    versions = list(reversed(await stored.versions(stream_id, limit=1000)))
    answered = []
    for version in versions:
        request = await stored.request(stream_id, version.version)
        answered.append(request["messages"][-1]["id"])
        message = reduce_chunks(await stored.chunks(stream_id, version.version), finished=True)
        text = "".join(part["text"] for part in message["parts"] if part["type"] == "text")
        assert text == answer(words=WORDS)
    assert answered == user.asked, f"seed {SEED}"
    assert {version.state for version in versions} == {"closed"}
