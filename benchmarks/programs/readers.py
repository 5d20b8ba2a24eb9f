"""SSE readers that only count, each path a connection: `python -m benchmarks.programs.readers
'{"port": …, "paths": […], "replayed": …}'`.

It prints `ready` when each has the first bytes of its body and the events that are replayed. About
fifty of them note how old their chunks are.
"""

from __future__ import annotations

import asyncio
import json
import re
import sys
import time
from array import array

from benchmarks.pacing import allow_many_files, report, told

OPENED_AT_ONCE = 50
SPOKEN = re.compile(rb'"delta": ?"([0-9.]+)"')


class Reader(asyncio.Protocol):
    """Counts events, and notes the ages of chunks in `lags` if it has one."""

    def __init__(self, path: str, lags: array[float] | None, replayed: int) -> None:
        self.events, self._head = 0, b""
        self.begun = asyncio.get_running_loop().create_future()
        self._path, self._lags, self._replayed = path, lags, replayed

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        transport.write(f"GET {self._path} HTTP/1.1\r\nhost: bench\r\n\r\n".encode())

    def data_received(self, data: bytes) -> None:
        self.events += data.count(b"data: ")
        if not self.begun.done():
            self._head += data
            if self._head.partition(b"\r\n\r\n")[2] and self.events >= self._replayed:
                self.begun.set_result(None)
        if self._lags is not None:
            now = time.monotonic()
            self._lags.extend([now - float(said) for said in SPOKEN.findall(data)])


async def main(port: int, paths: list[str], replayed: int) -> None:
    allow_many_files()
    lags, every = array("d"), max(1, len(paths) // 50)
    readers = [Reader(path, None if n % every else lags, replayed) for n, path in enumerate(paths)]
    loop = asyncio.get_running_loop()
    for first in range(0, len(readers), OPENED_AT_ONCE):
        some = readers[first : first + OPENED_AT_ONCE]
        for reader in some:
            await loop.create_connection(lambda reader=reader: reader, "127.0.0.1", port)  # type: ignore[misc]
        await asyncio.gather(*(reader.begun for reader in some))
    before = sum(reader.events for reader in readers)
    del lags[:]
    await told()
    report(events=sum(reader.events for reader in readers) - before, lags=sorted(lags))


if __name__ == "__main__":
    asyncio.run(main(**json.loads(sys.argv[1])))
