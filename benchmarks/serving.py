"""A server process for the rows about SSE, and clients that only count."""

from __future__ import annotations

import asyncio
import json
import os
import socket
import time
from asyncio.subprocess import Process
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from benchmarks.delivery import finished, python, started

PATIENCE = 60.0
EVENT = b"data: "
SAID_BEFORE = 100
"""Chunks that `/open` writes besides the first two."""


@dataclass(frozen=True)
class Reply:
    """What came back: events, bytes, and seconds to the first body byte, to the first event and to
    the end.
    """

    events: int
    size: int
    first_byte: float
    first: float
    last: float


@dataclass(frozen=True)
class Readings:
    """What many readers got: events, and how old chunks were, in sorted seconds."""

    events: int
    lags: list[float]

    def lag(self, part: float) -> float:
        return (
            self.lags[min(len(self.lags) - 1, int(len(self.lags) * part))]
            if self.lags
            else PATIENCE
        )


class Readers:
    """Many readers in a process of their own, which are there once the first bytes have come."""

    def __init__(self, process: Process) -> None:
        self._process = process

    async def count(self) -> Readings:
        """Return what came since all of them were there, and let them go."""
        said = await finished(self._process)
        return Readings(said["events"], said["lags"])


@dataclass(frozen=True)
class Serving:
    """A running server."""

    port: int
    pid: int

    async def get(self, path: str, method: str = "GET", *, whole: bool = True) -> Reply:
        """Read a response to its end, or to its first event."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        request = f"{method} {path} HTTP/1.1\r\nhost: bench\r\ncontent-length: 0\r\nconnection: close\r\n\r\n".encode()
        before = time.monotonic()
        writer.write(request)
        head = await reader.readuntil(b"\r\n\r\n")
        if b" 200 " not in head:
            raise RuntimeError(head.decode())
        events = size = 0
        first_byte = first = 0.0
        while data := await reader.read(2**18):
            first_byte = first_byte or time.monotonic() - before
            events += data.count(EVENT)
            first = first or (time.monotonic() - before if events else 0.0)
            size += len(data)
            if first and not whole:
                break
        last = time.monotonic() - before
        writer.close()
        return Reply(events, size, first_byte, first, last)

    @asynccontextmanager
    async def readers(
        self, paths: list[str], *, replayed: int = 0, sampled: int = 50
    ) -> AsyncIterator[Readers]:
        """Connect a reader for each path; `sampled` of them note how old their chunks are.

        Args:
            replayed: Events that each gets before the live ones.
        """
        arguments = json.dumps(
            {"port": self.port, "paths": paths, "sampled": sampled, "replayed": replayed}
        )
        process = await started([*python("readers.py"), arguments])
        try:
            yield Readers(process)
        finally:
            if process.returncode is None:
                process.kill()
            await process.wait()

    def cpu(self) -> float:
        """Seconds of CPU of the server so far."""
        return int(Path(f"/proc/{self.pid}/schedstat").read_text().split()[0]) / 1e9

    def memory(self) -> int:
        """Kilobytes in use now."""
        return self._status("VmRSS")

    def reset_peak(self) -> int:
        """Forget the peak of memory; return the kilobytes in use now."""
        Path(f"/proc/{self.pid}/clear_refs").write_text("5")
        return self.memory()

    def peak(self) -> int:
        """Kilobytes in use at most since `reset_peak`."""
        return self._status("VmHWM")

    def _status(self, name: str) -> int:
        lines = Path(f"/proc/{self.pid}/status").read_text().splitlines()
        return int(next(line for line in lines if line.startswith(name)).split()[1])


@asynccontextmanager
async def serving(url: str, *, stack: str = "h11") -> AsyncIterator[Serving]:
    """Run designs/serving.py for a database, on uvicorn with h11 and asyncio, or with httptools and
    uvloop ("fast").
    """
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    process = await asyncio.create_subprocess_exec(
        *python("serving.py"),
        json.dumps({"url": url, "port": port, "stack": stack}),
        env=os.environ,
    )
    try:
        async with asyncio.timeout(PATIENCE):
            while not await _answers(port):
                await asyncio.sleep(0.05)
        yield Serving(port, process.pid)
    finally:
        process.terminate()
        await process.wait()


async def _answers(port: int) -> bool:
    try:
        _, writer = await asyncio.open_connection("127.0.0.1", port)
    except OSError:
        return False
    writer.close()
    return True
