"""A server process for the rows about SSE, and clients that only count."""

from __future__ import annotations

import asyncio
import json
import os
import socket
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from benchmarks.delivery import python

PATIENCE = 60.0


@dataclass(frozen=True)
class Reply:
    """What came back: events, bytes, and seconds to the first and to the last of them."""

    events: int
    size: int
    first: float
    last: float


@dataclass(frozen=True)
class Serving:
    """A running server."""

    port: int
    pid: int

    async def open(self, path: str, method: str = "GET") -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        writer.write(f"{method} {path} HTTP/1.1\r\nhost: bench\r\ncontent-length: 0\r\nconnection: close\r\n\r\n".encode())
        return reader, writer

    async def get(self, path: str, method: str = "GET") -> Reply:
        """Read a response to its end."""
        before = time.monotonic()
        reader, writer = await self.open(path, method)
        head = await reader.readuntil(b"\r\n\r\n")
        if b" 200 " not in head:
            raise RuntimeError(head.decode())
        events = size = 0
        first = 0.0
        while data := await reader.read(2**18):
            first = first or time.monotonic() - before
            events += data.count(b"data: ")
            size += len(data)
        writer.close()
        return Reply(events, size, first, time.monotonic() - before)

    def cpu(self) -> float:
        """Seconds of CPU of the server so far."""
        return int(Path(f"/proc/{self.pid}/schedstat").read_text().split()[0]) / 1e9

    def reset_peak(self) -> int:
        """Forget the peak of memory; return the kilobytes in use now."""
        Path(f"/proc/{self.pid}/clear_refs").write_text("5")
        return self._status("VmRSS")

    def peak(self) -> int:
        """Kilobytes in use at most since `reset_peak`."""
        return self._status("VmHWM")

    def _status(self, name: str) -> int:
        lines = Path(f"/proc/{self.pid}/status").read_text().splitlines()
        return int(next(line for line in lines if line.startswith(name)).split()[1])


@asynccontextmanager
async def serving(url: str) -> AsyncIterator[Serving]:
    """Run designs/serving.py for a database."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    process = await asyncio.create_subprocess_exec(*python("serving.py"), json.dumps({"url": url, "port": port}), env=os.environ)
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
