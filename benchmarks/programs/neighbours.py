"""32 writers that commit to a table of their own, each again as soon as it has committed:
`python -m benchmarks.programs.neighbours '{"url": …, "seconds": …}'`.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time

import asyncpg

from benchmarks.pacing import report, told


async def main(url: str, seconds: float) -> None:
    connections = [await asyncpg.connect(url) for _ in range(32)]
    await connections[0].execute("CREATE TABLE foreign_row (id bigserial PRIMARY KEY, text text)")
    await told()
    end, commits = time.monotonic() + seconds, 0

    async def write(connection: asyncpg.Connection) -> None:
        nonlocal commits
        while time.monotonic() < end:
            await connection.execute("INSERT INTO foreign_row (text) VALUES ($1)", "x" * 100)
            commits += 1

    await asyncio.gather(*map(write, connections))
    report(commits=commits / seconds)


if __name__ == "__main__":
    asyncio.run(main(**json.loads(sys.argv[1])))
