"""What packages keep their chunks in, as processes of their own on the loopback that can be killed
and started again.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Protocol

from benchmarks.database import Server

PATIENCE = 20.0
"""Seconds within which a server accepts connections."""


class Backend(Protocol):
    """Where chunks are kept: a URL for the programs, and the end of it."""

    url: str

    async def start(self) -> None: ...

    async def crash(self) -> None:
        """Kill it, and start it again with what it had stored."""

    async def stop(self) -> None: ...


class Program:
    """A server that is one process, with a port and a directory of its own.

    Args:
        scheme: How its URL begins.
        command: Makes its command from the port and the directory.
    """

    def __init__(self, scheme: str, command: Callable[[int, Path], Sequence[str]]) -> None:
        self._directory = Path(tempfile.mkdtemp(prefix="ms"))
        self._port = _free_port()
        self._command = command(self._port, self._directory)
        self.url = f"{scheme}://127.0.0.1:{self._port}"

    async def start(self) -> None:
        self._process = subprocess.Popen(self._command, stdout=subprocess.DEVNULL)
        deadline = time.monotonic() + PATIENCE
        while not _accepts(self._port):
            if self._process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"{self._command[0]} does not start")
            await asyncio.sleep(0.02)

    async def crash(self) -> None:
        self._kill()
        await self.start()

    async def stop(self) -> None:
        self._kill()
        shutil.rmtree(self._directory, ignore_errors=True)

    def _kill(self) -> None:
        self._process.kill()
        self._process.wait()


def redis(fsync: str | None) -> Program:
    """A redis-server without snapshots; `fsync` is its appendfsync, and without one it appends
    nothing.
    """
    persistence = (
        ["--appendonly", "yes", "--appendfsync", fsync] if fsync else ["--appendonly", "no"]
    )

    def command(port: int, directory: Path) -> Sequence[str]:
        where = ["--bind", "127.0.0.1", "--port", str(port), "--dir", str(directory), "--save", ""]
        return ["redis-server", *where, *persistence]

    return Program("redis", command)


def durable_streams(*, files: bool) -> Program:
    """The reference server of Durable Streams, on files that it syncs, or in memory."""
    script = Path(__file__).parent / "node" / "durable_server.mjs"
    return Program(
        "http",
        lambda port, directory: [
            "node",
            str(script),
            str(port),
            *([str(directory)] if files else []),
        ],
    )


class Postgres:
    """An embedded Postgres with its defaults."""

    def __init__(self) -> None:
        self._opened = contextlib.ExitStack()

    async def start(self) -> None:
        self._server = self._opened.enter_context(Server())
        self.url = await self._server.new_database()

    async def crash(self) -> None:
        processes = self._server.processes()
        for process in processes:
            with contextlib.suppress(ProcessLookupError):
                os.kill(process, signal.SIGKILL)
        while any(Path(f"/proc/{process}").exists() for process in processes):
            await asyncio.sleep(0.02)
        self._server.restart()

    async def stop(self) -> None:
        self._opened.close()


def _free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


def _accepts(port: int) -> bool:
    with socket.socket() as client:
        return client.connect_ex(("127.0.0.1", port)) == 0
