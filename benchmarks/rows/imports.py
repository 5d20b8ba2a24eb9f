"""Row 13: how long a program takes to import the package, beside `import fastapi`."""

from __future__ import annotations

import asyncio
import statistics
import sys
import time

from benchmarks.database import Server
from benchmarks.figures import Figure, Figures

REPEATS = 5


async def measure(server: Server, rounds: int) -> list[Figure]:
    figures = Figures(13)
    for _ in range(rounds):
        times: dict[str, list[float]] = {
            "pass": [],
            "import monostream_ai": [],
            "import fastapi": [],
        }
        for _ in range(REPEATS):
            for code, seconds in times.items():
                seconds.append(await _time(code))
        empty, ours, fastapi = (statistics.median(seconds) for seconds in times.values())
        figures.add("import monostream_ai", (ours - empty) * 1e3, "ms")
        figures.add("import fastapi", (fastapi - empty) * 1e3, "ms")
        figures.add(
            "import of ours to fastapi's", (ours - empty) / (fastapi - empty), "×", "<= 0.5"
        )
    return figures.all()


async def _time(code: str) -> float:
    before = time.monotonic()
    process = await asyncio.create_subprocess_exec(sys.executable, "-c", code)
    await process.wait()
    return time.monotonic() - before
