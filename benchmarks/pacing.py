"""The load of a measurement: some streams, each with a chunk every `interval` seconds that carries
the time of its writing.

Every publisher and reader is a process of its own: it prints `ready`, begins when told, and prints
its result as one JSON object. The clock is the machine's monotonic one, which all processes (Node's
too) share.
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
Write = Callable[[str, int, Chunk], Awaitable[object]]
Push = Callable[[str, int, Chunk], object]


@dataclass(frozen=True)
class Load:
    """What a publisher writes and a reader reads; durations in seconds."""

    url: str
    streams: list[str]
    interval: float
    seconds: float

    @property
    def chunks(self) -> int:
        return round(len(self.streams) * self.seconds / self.interval)

    def to_json(self) -> str:
        return json.dumps(asdict(self))


def chunk_now() -> Chunk:
    """A chunk of an answer, with the time in the place of a word."""
    return {"type": "text-delta", "id": "t1", "delta": str(time.monotonic())}


def allow_many_files() -> None:
    """Let this process have as many sockets as the system allows."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


async def told(word: str) -> None:
    """Say that this process is ready, and wait until it is told to go on."""
    _starting.append(_cpu())
    print(word, flush=True)
    await asyncio.to_thread(sys.stdin.readline)


async def publish_awaiting(load: Load, write: Write) -> None:
    """Let each stream await each of its writes."""
    await told("ready")
    start, sent = time.monotonic(), 0

    async def stream(id: str, place: int) -> None:
        nonlocal sent
        number = 0
        while (
            due := start + load.interval * (number + place / len(load.streams))
        ) < start + load.seconds:
            if (left := due - time.monotonic()) > 0:
                await asyncio.sleep(left)
            if time.monotonic() >= start + load.seconds:
                return
            await write(id, number, chunk_now())
            sent, number = sent + 1, number + 1

    async with asyncio.TaskGroup() as group:
        for place, id in enumerate(load.streams):
            group.create_task(stream(id, place))
    report(sent=sent)


async def publish_pushing(load: Load, push: Push) -> None:
    """Push what is due and wait for nothing, as a callback of a model does."""
    await told("ready")
    start, sent, due = time.monotonic(), 0, 0
    while (passed := time.monotonic() - start) < load.seconds:
        due = min(int(passed / load.interval * len(load.streams)), load.chunks)
        while sent < due and time.monotonic() - start < load.seconds:
            number, place = divmod(sent, len(load.streams))
            push(load.streams[place], number, chunk_now())
            sent += 1
            if sent % 32 == 0:
                await asyncio.sleep(0)
        await asyncio.sleep(0.001)
    report(sent=sent)


class Latencies:
    """How old each chunk was when its reader had it, in seconds."""

    def __init__(self) -> None:
        self._values = array("d")

    def take(self, chunk: Chunk) -> None:
        self._values.append(time.monotonic() - float(chunk["delta"]))

    def report(self) -> None:
        report(latencies=[round(value * 1e6) for value in self._values])


def report(**result: Any) -> None:
    """Print the result of this process, with the seconds of CPU that it took since it was ready."""
    print(json.dumps({**result, "cpu": _cpu() - _starting[0]}), flush=True)


def _cpu() -> float:
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime
