"""32 programs that commit to a table of their own: `python designs/neighbours.py '{"url": …,
"seconds": …, "interval": …}'`.

With an interval of 0, each commits again as soon as it has committed.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

import asyncpg

from benchmarks.pacing import report, told

WRITERS = 32


async def main(url: str, seconds: float, interval: float) -> None:
    connections = [await asyncpg.connect(url) for _ in range(WRITERS)]
    await connections[0].execute("CREATE TABLE foreign_row (id bigserial PRIMARY KEY, text text)")
    await told("ready")
    start, times = time.monotonic(), []

    async def write(place: int, connection: asyncpg.Connection) -> None:
        number = 0
        while (
            due := start + interval * (number + place / WRITERS)
        ) < start + seconds and time.monotonic() < start + seconds:
            await asyncio.sleep(max(0.0, due - time.monotonic()))
            before = time.monotonic()
            await connection.execute("INSERT INTO foreign_row (text) VALUES ($1)", "x" * 100)
            times.append(time.monotonic() - before)
            number += 1

    await asyncio.gather(
        *(write(place, connection) for place, connection in enumerate(connections))
    )
    report(commits=len(times) / seconds, p99=sorted(times)[int(len(times) * 0.99)])
    for connection in connections:
        await connection.close()


if __name__ == "__main__":
    asyncio.run(main(**json.loads(sys.argv[1])))
