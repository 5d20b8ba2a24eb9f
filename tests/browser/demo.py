"""The chat example as `scripts/demo` runs it, on a database that tests can read too."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from collections.abc import Callable, Container
from pathlib import Path
from typing import Any, NamedTuple

from monostream_ai import DurableStreamService, create_service
from monostream_ai.ui_messages import UIMessage, reduce_chunks
from tests.plugins.postgres import create_database, drop_database

ROOT = Path(__file__).parents[2]
EXAMPLE = ROOT / "examples" / "chat"
PATIENCE = 60.0
"""Seconds for a start, for the end of a stream, or for a shutdown."""
SUPERVISE = "import asyncio, supervisor; asyncio.run(supervisor.supervise(0))"
"""`supervisor.py`, on a database whose address the test knows."""


class Turn(NamedTuple):
    """A turn as a reader of its stream gets it."""

    version: int
    attempt: int
    chunks: list[dict[str, Any]]

    @property
    def message(self) -> UIMessage:
        return reduce_chunks(self.chunks, finished=True)

    @property
    def text(self) -> str:
        return "\n\n".join(part["text"] for part in self.message["parts"] if part["type"] == "text")


class Demo:
    """The demo as one test sees it, which may have been used by others before."""

    def __init__(self, url: str, database_url: str, before: Container[str]) -> None:
        self.url = url
        self._database_url = database_url
        self._before = before

    async def turn(self, chat_id: str = "c1") -> Turn:
        """Read the latest turn without the page, and check that store and subscription agree."""
        service: DurableStreamService[Any]
        async with create_service(self._database_url) as service:
            # The visitor is a guest whose account id only the browser knows.
            [status] = [
                each
                for each in await service.streams(prefix="chat:")
                if each.stream_id.endswith(f"/{chat_id}") and each.stream_id not in self._before
            ]
            stream_id = status.stream_id
            stored = await service.chunks(stream_id)
            assert [
                chunk async for chunk in service.subscribe(stream_id, timeout=PATIENCE)
            ] == stored
        return Turn(status.version, status.attempt, stored)


class Servers:
    """Two servers, with the lease of the demo."""

    def __init__(self, process: subprocess.Popen[str], url: str, database_url: str) -> None:
        self._process = process
        self._url = url
        self._database_url = database_url

    @classmethod
    async def start(cls, database_url: str, tokens_per_second: int) -> Servers:
        settings = {
            "DATABASE_URL": database_url,
            "OFFLINE_TOKENS_PER_SECOND": str(tokens_per_second),
            "MONOSTREAM_DEMO": "1",
        }
        environment = os.environ | settings | {"PYTHONPATH": str(EXAMPLE)}
        environment.pop("OPENAI_API_KEY", None)
        supervisor = subprocess.Popen(
            [sys.executable, "-c", SUPERVISE],
            cwd=ROOT,
            env=environment,
            stdout=subprocess.PIPE,
            text=True,
        )
        servers = cls(supervisor, "", database_url)
        assert supervisor.stdout is not None
        try:
            async with asyncio.timeout(PATIENCE):
                line = await asyncio.to_thread(supervisor.stdout.readline)
        except BaseException:
            servers.stop()
            raise
        servers._url = line.removeprefix("open ").strip()
        return servers

    async def demo(self) -> Demo:
        """Return the demo for a visitor who has not been there before."""
        service: DurableStreamService[Any]
        async with create_service(self._database_url) as service:
            before = {each.stream_id for each in await service.streams(prefix="chat:")}
        return Demo(self._url, self._database_url, before)

    def stop(self) -> None:
        self._process.terminate()
        self._process.communicate(timeout=PATIENCE)


class Demos:
    """The servers of some tests.

    Those for a store and a pace last for all tests that kill none: two servers take three seconds
    of a processor to start.
    """

    def __init__(
        self, new_directory: Callable[[], Path], postgres_server: Callable[[], str]
    ) -> None:
        self._new_directory = new_directory
        self._postgres_server = postgres_server
        self._lasting: dict[tuple[str, int], Servers] = {}
        self._databases: list[str] = []

    async def start(self, store: str, tokens_per_second: int) -> Servers:
        """Start servers on an empty database."""
        if store == "sqlite":
            return await Servers.start(
                f"sqlite+aiosqlite:///{self._new_directory() / 'chat.db'}", tokens_per_second
            )
        self._databases.append(url := await create_database(self._postgres_server()))
        return await Servers.start(url, tokens_per_second)

    async def lasting(self, store: str, tokens_per_second: int) -> Servers:
        kind = (store, tokens_per_second)
        if kind not in self._lasting:
            self._lasting[kind] = await self.start(*kind)
        return self._lasting[kind]

    def close(self) -> None:
        for servers in self._lasting.values():
            servers.stop()
        for url in self._databases:
            asyncio.run(drop_database(self._postgres_server(), url))
