"""The load of a measurement, written at a fixed pace by one process and read by another.

Each program prints `ready`, begins when it reads a line, and prints its result as one JSON object.
The clock is the machine's monotonic one, which all processes share, those of Node included.
"""

from __future__ import annotations

import asyncio
import json
import resource
import sys
import time
from array import array
from collections.abc import Awaitable, Callable
from dataclasses import asdict, dataclass
from typing import Any

_starting: list[float] = []

Chunk = dict[str, Any]


@dataclass(frozen=True)
class Load:
    """Streams that each get a chunk every `interval` seconds, for `seconds`.

    Args:
        ends: The writer ends its streams after it.
        stays: The writer lives on after it, until it is killed.
        silence: Seconds without a chunk after which a reader gives up; None never.
        lease: Of this package's publishers, in seconds; the others have none.
    """

    url: str
    streams: list[str]
    interval: float
    seconds: float
    ends: bool = False
    stays: bool = False
    silence: float | None = None
    lease: float = 15.0

    @property
    def chunks(self) -> int:
        return round(len(self.streams) * self.seconds / self.interval)

    def to_json(self) -> str:
        return json.dumps(asdict(self))


def chunk_now() -> Chunk:
    """Return a chunk of an answer whose text is the time at which it was made."""
    return {"type": "text-delta", "id": "t1", "delta": str(time.monotonic())}


def allow_many_files() -> None:
    """Raise the limit of open sockets as far as the system allows."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


async def line() -> None:
    """Wait for a line from the benchmark."""
    await asyncio.to_thread(sys.stdin.readline)


async def told() -> None:
    """Print `ready`, and wait until this process is told to go on."""
    _starting.append(_cpu())
    print("ready", flush=True)
    await line()


async def publish(load: Load, write: Callable[[str, Chunk], Awaitable[object]]) -> int:
    """Write each stream in a task of its own that awaits each write; return how many."""
    await told()
    start, sent = time.monotonic(), 0

    async def stream(id: str, place: int) -> None:
        nonlocal sent
        due = start + load.interval * place / len(load.streams)
        while due < start + load.seconds:
            await asyncio.sleep(max(0.0, due - time.monotonic()))
            if time.monotonic() >= start + load.seconds:
                return
            await write(id, chunk_now())
            sent, due = sent + 1, due + load.interval

    async with asyncio.TaskGroup() as group:
        for place, id in enumerate(load.streams):
            group.create_task(stream(id, place))
    return sent


async def push(load: Load, write: Callable[[str, Chunk], object]) -> int:
    """Push each chunk when it is due, as the callback of a model does; return how many."""
    await told()
    start, sent = time.monotonic(), 0
    while (passed := time.monotonic() - start) < load.seconds:
        due = min(int(passed / load.interval * len(load.streams)), load.chunks)
        while sent < due and time.monotonic() - start < load.seconds:
            write(load.streams[sent % len(load.streams)], chunk_now())
            sent += 1
            if sent % 32 == 0:
                await asyncio.sleep(0)
        await asyncio.sleep(0.001)
    return sent


class Latencies:
    """Ages of chunks when their reader got them, in seconds."""

    def __init__(self) -> None:
        self._values = array("d")

    def take(self, chunk: Chunk) -> None:
        self._values.append(time.monotonic() - float(chunk["delta"]))

    def report(self) -> None:
        report(latencies=[round(value * 1e6) for value in self._values])


def report(**result: Any) -> None:
    """Print the result of this process, with the seconds of CPU it has taken since it was ready."""
    print(json.dumps({**result, "cpu": _cpu() - _starting[0]}), flush=True)


def _cpu() -> float:
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime
