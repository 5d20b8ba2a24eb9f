"""The load of a measurement, and the ways in which its programs are started and report.

Each program prints `ready`, begins when it reads a line, and prints its result as one JSON object.
The clock is the machine's monotonic one, which all processes share, those of Node included.
"""

from __future__ import annotations

import asyncio
import json
import resource
import sys
import time
from dataclasses import dataclass
from typing import Any

Chunk = dict[str, Any]
_starting: list[float] = []


@dataclass(frozen=True)
class Load:
    """Streams that each get a chunk every `interval` seconds, for `seconds`.

    Args:
        ends: The writer ends its streams after it.
        stays: The writer lives on after it, until it is killed.
        silence: Seconds without a chunk after which a reader gives up; None never.
    """

    url: str
    streams: list[str]
    interval: float
    seconds: float
    ends: bool = False
    stays: bool = False
    silence: float | None = None

    @property
    def chunks(self) -> int:
        return round(len(self.streams) * self.seconds / self.interval)


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


def report(**result: Any) -> None:
    """Print the result of this process, with the seconds of CPU it has taken since it was ready."""
    print(json.dumps({**result, "cpu": _cpu() - _starting[0]}), flush=True)


def _cpu() -> float:
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime
