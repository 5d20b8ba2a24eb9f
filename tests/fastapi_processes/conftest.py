from __future__ import annotations

import asyncio
import multiprocessing
import os
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import asyncpg
import httpx
import pytest

from monostream_ai import DurableStreamService, create_service
from tests.fastapi_processes.chat_server import HANDED_OVER, Settings, serve
from tests.plugins.postgres import asyncpg_dsn

ROOT = Path(__file__).parents[2]

PATIENCE = 30.0
"""Seconds for a process to respond or to end."""

APPLICATION = "tests.fastapi_processes.chat_server:create_app"
COMMANDS = {
    "uvicorn": f"uvicorn --log-level critical --factory {APPLICATION} --host 127.0.0.1 --port",
    "granian": f"granian --interface asgi --no-log --factory {APPLICATION} --host 127.0.0.1 --port",
    "hypercorn": f"hypercorn --workers 0 --log-level CRITICAL {APPLICATION}() --bind 127.0.0.1:",
}
RELOAD = {"uvicorn": "--reload --reload-dir", "granian": "--reload --reload-paths"}
"""Options that start another process when a file below a folder is saved."""


def free_port() -> int:
    with socket.socket() as chosen:
        chosen.bind(("127.0.0.1", 0))
        port: int = chosen.getsockname()[1]
    return port


async def until_it_answers(url: str) -> None:
    async with asyncio.timeout(PATIENCE), httpx.AsyncClient() as http:
        while True:
            try:
                await http.get(f"{url}/api/chat/none/status")
            except httpx.TransportError:
                await asyncio.sleep(0.02)
            else:
                return


class ForkedServer:
    """uvicorn in a process of its own, forked after all imports so that it starts at once."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._context = multiprocessing.get_context("forkserver")
        self._context.set_forkserver_preload(
            [serve.__module__, "monostream_ai.notifiers.postgres", "monostream_ai.stores.sql"]
        )

    def start(self) -> None:
        self.url = f"http://127.0.0.1:{(port := free_port())}"
        self._process = self._context.Process(
            target=serve, args=(self._settings, port), daemon=True
        )
        self._process.start()

    @property
    def pid(self) -> int | None:
        return self._process.pid

    def kill(self) -> None:
        """Kill it with SIGKILL, and return when it is dead."""
        self._process.kill()
        self._process.join()


class CommandServer:
    """A server started by its own command line.

    Args:
        watched: A folder; the server reloads when a file in it is saved.
    """

    def __init__(self, server: str, settings: Settings, watched: Path | None = None) -> None:
        port = free_port()
        self.url = f"http://127.0.0.1:{port}"
        command = COMMANDS[server]
        arguments = f"{command}{port}" if command.endswith(":") else f"{command} {port}"
        reload = [*RELOAD[server].split(), str(watched)] if watched else []
        self._process = subprocess.Popen(
            [sys.executable, "-m", *arguments.split(), *reload],
            cwd=ROOT,
            env={**os.environ, **settings.as_environment()},
        )

    def terminate(self) -> None:
        self._process.terminate()

    async def ended(self) -> None:
        await asyncio.to_thread(self._process.wait, PATIENCE)

    def end(self) -> None:
        self._process.terminate()
        try:
            self._process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
            raise


ForkServer = Callable[..., ForkedServer]
RunServer = Callable[..., CommandServer]


@pytest.fixture
async def database(postgres_url: str) -> AsyncIterator[asyncpg.Connection]:
    """A connection to the database that the processes share."""
    connection = await asyncpg.connect(asyncpg_dsn(postgres_url))
    await connection.execute(HANDED_OVER)
    yield connection
    await connection.close()


@pytest.fixture
def fork_server(postgres_url: str, database: Any) -> Iterator[ForkServer]:
    """Fork a server; options are settings of the application."""
    servers: list[ForkedServer] = []

    def start(**options: Any) -> ForkedServer:
        server = ForkedServer(Settings(**{"database": postgres_url, **options}))
        server.start()
        servers.append(server)
        return server

    yield start
    for server in servers:
        server.kill()


@pytest.fixture
def run_server(postgres_url: str, database: Any) -> Iterator[RunServer]:
    """Run a server by its name; options are settings of the application."""
    servers: list[CommandServer] = []

    def run(server: str, *, watched: Path | None = None, **options: Any) -> CommandServer:
        servers.append(CommandServer(server, Settings(postgres_url, **options), watched))
        return servers[-1]

    yield run
    for server in servers:
        server.end()


@pytest.fixture
async def stored(postgres_url: str) -> AsyncIterator[DurableStreamService[Any]]:
    """A service on the database of the processes, to inspect it."""
    async with create_service(postgres_url) as service:
        yield service


@pytest.fixture
async def http() -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(
        timeout=PATIENCE, limits=httpx.Limits(max_connections=None)
    ) as client:
        yield client
