"""A server of event streams, and clients that only count, for the rows about SSE."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import NamedTuple

from benchmarks.figures import percentile
from benchmarks.processes import PATIENCE, PortProgram, finished, killed, python, started

EVENT = b"data: "
FIRST_CHUNKS = 102
"""Chunks that `/open` writes before anybody reads."""


class Reply(NamedTuple):
    """A whole response, or its beginning; seconds from the request to its first and last event."""

    events: int
    size: int
    first: float
    last: float


class Readings(NamedTuple):
    """Events that many readers got, and the p99 of the ages that some noted, in seconds."""

    events: int
    p99: float


class Site(PortProgram):
    """A running programs/server.py.

    Args:
        stack: `h11` is uvicorn with h11 and asyncio, `fast` with httptools and uvloop.
    """

    def __init__(self, url: str, stack: str) -> None:
        super().__init__("http", lambda port, _: _command(url, port, stack))

    async def get(self, path: str, method: str = "GET", *, whole: bool = True) -> Reply:
        """Read a response to its end, or to its first event."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        headers = "host: bench\r\ncontent-length: 0\r\nconnection: close"
        before = time.monotonic()
        writer.write(f"{method} {path} HTTP/1.1\r\n{headers}\r\n\r\n".encode())
        head = await reader.readuntil(b"\r\n\r\n")
        if b" 200 " not in head:
            raise RuntimeError(head.decode())
        events = size = 0
        first = 0.0
        while data := await reader.read(2**18):
            events += data.count(EVENT)
            first = first or (time.monotonic() - before if events else 0.0)
            size += len(data)
            if first and not whole:
                break
        last = time.monotonic() - before
        writer.close()
        return Reply(events, size, first, last)

    async def speak(self, seconds: float) -> None:
        """Let `/ours/s` and `/live` say 50 chunks/s."""
        await self.get(f"/speak/s?seconds={seconds}&interval=0.02", "POST")

    @asynccontextmanager
    async def readers(
        self, paths: Sequence[str], *, replayed: int = 0
    ) -> AsyncIterator[Callable[[], Awaitable[Readings]]]:
        """Connect a reader for each path, in another process; the block may ask for its readings.

        Args:
            replayed: Events that each gets before the block begins.
        """
        options = {"port": self.port, "paths": paths, "replayed": replayed}
        process = await started([*python("programs.readers"), json.dumps(options)])

        async def readings() -> Readings:
            got = await finished(process)
            return Readings(got["events"], percentile(got["lags"] or [PATIENCE], 0.99))

        try:
            yield readings
        finally:
            await killed(process)

    def memory(self) -> int:
        """Return the kilobytes in use now."""
        return self._status("VmRSS")

    def reset_peak(self) -> int:
        """Forget the peak of memory; return the kilobytes in use now."""
        # Source: proc(5), /proc/pid/clear_refs.
        Path(f"/proc/{self.pid}/clear_refs").write_text("5")
        return self.memory()

    def peak(self) -> int:
        """Return the most kilobytes in use since `reset_peak`."""
        return self._status("VmHWM")

    def _status(self, name: str) -> int:
        lines = Path(f"/proc/{self.pid}/status").read_text().splitlines()
        return int(next(line for line in lines if line.startswith(name)).split()[1])


def _command(url: str, port: int, stack: str) -> tuple[str, ...]:
    return python("programs.server", json.dumps({"url": url, "port": port, "stack": stack}))
