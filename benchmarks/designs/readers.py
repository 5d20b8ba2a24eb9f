"""Readers that only count: `python designs/readers.py '{"port": …, "paths": […], "sampled": …,
"replayed": …}'`.

Each path is one connection. It says `ready` when every one of them has the first bytes of its body
and the events that are replayed, and reports when told.
"""

from __future__ import annotations

import asyncio
import json
import re
import sys
import time
from array import array
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

from benchmarks.pacing import allow_many_files, report, told

OPENED_AT_ONCE = 50
SPOKEN = re.compile(rb'"delta": ?"([0-9.]+)"')


class Reader(asyncio.Protocol):
    """Counts events; one that is `sampled` also notes how old each chunk is."""

    def __init__(self, path: str, lags: array[float] | None, replayed: int) -> None:
        self.events = 0
        self._replayed = replayed
        self.begun = asyncio.get_running_loop().create_future()
        self._path = path
        self._lags = lags
        self._head = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        transport.write(f"GET {self._path} HTTP/1.1\r\nhost: bench\r\n\r\n".encode())

    def data_received(self, data: bytes) -> None:
        # Ids and heads of HTTP chunks are bytes, but no events.
        self.events += data.count(b"data: ")
        if not self.begun.done():
            self._head += data
            if self._head.partition(b"\r\n\r\n")[2] and self.events >= self._replayed:
                self.begun.set_result(None)
                self._head = b""
        if self._lags is not None:
            now = time.monotonic()
            self._lags.extend([now - float(said) for said in SPOKEN.findall(data)])


async def main(port: int, paths: list[str], sampled: int, replayed: int) -> None:
    allow_many_files()
    lags = array("d")
    every = max(1, len(paths) // sampled)
    readers = [
        Reader(path, None if number % every else lags, replayed)
        for number, path in enumerate(paths)
    ]
    loop = asyncio.get_running_loop()
    for first in range(0, len(readers), OPENED_AT_ONCE):
        some = readers[first : first + OPENED_AT_ONCE]
        for reader in some:
            await loop.create_connection(lambda reader=reader: reader, "127.0.0.1", port)  # type: ignore[misc]
        await asyncio.gather(*(reader.begun for reader in some))
    before = sum(reader.events for reader in readers)
    del lags[:]
    await told("ready")
    report(events=sum(reader.events for reader in readers) - before, lags=sorted(lags))


if __name__ == "__main__":
    asyncio.run(main(**json.loads(sys.argv[1])))
