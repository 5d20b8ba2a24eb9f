"""Programs that a benchmark starts: some report when they are told to, some serve on a port."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import socket
import sys
import tempfile
from asyncio.subprocess import PIPE, Process
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Self

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

    @property
    def pid(self) -> int:
        return self._process.pid

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
            *self._command, stdout=asyncio.subprocess.DEVNULL, start_new_session=True, cwd=ROOT
        )
        async with asyncio.timeout(PATIENCE):
            while not self._accepts():
                if self._process.returncode is not None:
                    raise RuntimeError(f"{self._command[:4]} ended instead of starting")
                await asyncio.sleep(0.02)

    async def kill(self) -> None:
        """Send SIGKILL, and return when it is dead."""
        await killed(self._process)

    async def crash(self) -> None:
        """Kill it and start it again, with its data."""
        await self.kill()
        await self.start()

    async def leave(self) -> None:
        """Send SIGTERM, and return when it has shut down."""
        self._process.terminate()
        async with asyncio.timeout(PATIENCE):
            await self._process.wait()

    async def stop(self) -> None:
        """Kill it and remove its directory."""
        await self.kill()
        shutil.rmtree(self._directory, ignore_errors=True)

    def cpu(self) -> float:
        """Return the seconds of CPU of its main thread, to the nanosecond."""
        # The first field. Source: Linux, Documentation/scheduler/sched-stats.rst.
        return int(Path(f"/proc/{self.pid}/schedstat").read_text().split()[0]) / 1e9

    def _accepts(self) -> bool:
        with socket.socket() as client:
            return client.connect_ex(("127.0.0.1", self.port)) == 0


def cpu_of(pid: int) -> float:
    """Return the seconds of CPU of a process and of its children that were waited for."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except FileNotFoundError:
        return 0.0
    # utime, stime, cutime and cstime. Source: proc(5), fields 14 to 17.
    return sum(map(int, fields[11:15])) / os.sysconf("SC_CLK_TCK")
