"""What packages keep their chunks in, as processes of their own on the loopback that can be killed and started again."""

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
from collections.abc import Sequence
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


class Process:
    """A server that is one process with one port and one directory."""

    def __init__(self) -> None:
        self.directory = Path(tempfile.mkdtemp(prefix="ms"))
        self.port = _free_port()

    @property
    def command(self) -> Sequence[str]:
        raise NotImplementedError

    async def start(self) -> None:
        self._process = subprocess.Popen(self.command, stdout=subprocess.DEVNULL)
        deadline = time.monotonic() + PATIENCE
        while not _accepts(self.port):
            if self._process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"{self.command[0]} does not start")
            await asyncio.sleep(0.02)

    async def crash(self) -> None:
        self._kill()
        await self.start()

    async def stop(self) -> None:
        self._kill()
        shutil.rmtree(self.directory, ignore_errors=True)

    def _kill(self) -> None:
        self._process.kill()
        self._process.wait()


class Redis(Process):
    """A redis-server without snapshots; `fsync` is its appendfsync, and without one it appends nothing."""

    def __init__(self, fsync: str | None) -> None:
        super().__init__()
        self._persistence = ["--appendonly", "yes", "--appendfsync", fsync] if fsync else ["--appendonly", "no"]
        self.url = f"redis://127.0.0.1:{self.port}"

    @property
    def command(self) -> Sequence[str]:
        where = ["--bind", "127.0.0.1", "--port", str(self.port), "--dir", str(self.directory), "--save", ""]
        return ["redis-server", *where, *self._persistence]


class DurableStreams(Process):
    """The reference server of Durable Streams, on files that it syncs, or in memory."""

    def __init__(self, *, files: bool) -> None:
        super().__init__()
        self._directory = [str(self.directory)] if files else []
        self.url = f"http://127.0.0.1:{self.port}"

    @property
    def command(self) -> Sequence[str]:
        return ["node", str(Path(__file__).parent / "node" / "durable_server.mjs"), str(self.port), *self._directory]


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
