"""Row 13: how long a program takes to import the package, beside `import fastapi`."""

from __future__ import annotations

import asyncio
import statistics
import sys
import time

from benchmarks.figures import Row

REPEATS = 5


async def imports(row: Row) -> None:
    times: dict[str, list[float]] = {"pass": [], "import monostream_ai": [], "import fastapi": []}
    for _ in range(row.count(REPEATS)):
        for code, seconds in times.items():
            seconds.append(await _time(code))
    empty, ours, fastapi = (statistics.median(seconds) for seconds in times.values())
    row.add("import monostream_ai", (ours - empty) * 1e3, "ms")
    row.add("import fastapi", (fastapi - empty) * 1e3, "ms")
    row.add("import of ours to fastapi's", (ours - empty) / (fastapi - empty), "×", "<= 0.5")


async def _time(code: str) -> float:
    before = time.monotonic()
    process = await asyncio.create_subprocess_exec(sys.executable, "-c", code)
    await process.wait()
    return time.monotonic() - before
