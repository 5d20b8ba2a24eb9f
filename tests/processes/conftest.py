from __future__ import annotations

import asyncio
import os
import signal
import sys
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path

import pytest

from tests.backends import DURABLE_BACKENDS, Backend, open_backend
from tests.plugins.postgres import import_pgserver, in_memory

ROOT = Path(__file__).parents[2]

PATIENCE = 30.0
"""Seconds for anything that a process is asked for."""


class Process:
    """A child process and the lines that it says."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process
        self.lines: list[str] = []

    async def line(self) -> str:
        """Return the next line that it says; empty once it has ended."""
        assert self._process.stdout is not None
        async with asyncio.timeout(PATIENCE):
            line = (await self._process.stdout.readline()).decode().strip()
        self.lines.append(line)
        return line

    async def until(self, start: str) -> str:
        """Return the next line that starts so; what it says before is kept in `lines`."""
        while not (line := await self.line()).startswith(start):
            assert line, f"it ended and never said {start!r}: {self.lines}"
        return line

    async def rest(self) -> list[str]:
        """Return what it says until it ends."""
        start = len(self.lines)
        while await self.line():
            pass
        return self.lines[start:-1]

    async def tell(self, *words: object) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write((" ".join(map(str, words)) + "\n").encode())
        await self._process.stdin.drain()

    async def ask(self, *words: object) -> str:
        await self.tell(*words)
        return await self.line()

    def signal(self, number: signal.Signals) -> None:
        self._process.send_signal(number)

    async def end(self) -> None:
        if self._process.returncode is None:
            self._process.send_signal(signal.SIGCONT)
            self._process.kill()
        await self._process.communicate()


Spawn = Callable[..., Awaitable[Process]]


@pytest.fixture(params=DURABLE_BACKENDS)
def backend(request: pytest.FixtureRequest, tmp_path: Path) -> Backend:
    return open_backend(request.param, tmp_path, request)


@pytest.fixture
async def spawn(backend: Backend) -> AsyncIterator[Spawn]:
    """Start a process with a service on the backend; it is killed at the end of the test at the
    latest.
    """
    children: list[Process] = []

    async def start(*, lease: float = 5.0) -> Process:
        arguments = ["-m", "tests.processes.children", backend.url, str(lease)]
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            *arguments,
            cwd=ROOT,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
        )
        child = Process(process)
        children.append(child)
        assert await child.line() == "ready"
        return child

    yield start
    for child in children:
        await child.end()


class PostgresServer:
    """A server of the test's own, which it may stop and start."""

    def __init__(self, directory: Path) -> None:
        self._server = import_pgserver().get_server(directory, cleanup_mode="stop")
        self.url: str = self._server.get_uri().replace("postgresql://", "postgresql+asyncpg://")

    def stop(self, number: signal.Signals = signal.SIGINT) -> None:
        """Stop it: SIGINT asks it to disconnect everybody, SIGQUIT to crash."""
        process = self._server.get_postmaster_info().process
        process.send_signal(number)
        process.wait(PATIENCE)

    def start(self) -> None:
        self._server.ensure_postgres_running()

    def close(self) -> None:
        self.start()
        self._server.cleanup()


@pytest.fixture
def own_server() -> Iterator[PostgresServer]:
    if os.name != "posix":
        pytest.skip("servers are stopped by signals")
    # The socket's path must be short.
    with tempfile.TemporaryDirectory(
        prefix="ms", dir=in_memory(), ignore_cleanup_errors=True
    ) as directory:
        server = PostgresServer(Path(directory) / "pg")
        yield server
        server.close()
