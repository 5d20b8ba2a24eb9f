"""Row 14: the same scenarios of publishers and readers per second, here and in the Node stand-in."""

from __future__ import annotations

import json

from benchmarks.database import JSONB_TABLE, Server
from benchmarks.delivery import HERE, finished, python, started
from benchmarks.figures import Figure, Figures

SECONDS = 5.0
JOBS = 32
OURS = [*python("scenarios.py")]
STAND_IN = ["node", str(HERE / "node" / "scenarios.mjs")]


async def measure(server: Server, rounds: int) -> list[Figure]:
    figures = Figures(14)
    for _ in range(rounds):
        stand_in = await _rate(server, STAND_IN, JSONB_TABLE)
        ours = await _rate(server, OURS, None)
        memory = await _run(OURS, "memory://")
        figures.add("scenarios on Postgres: Node stand-in, drizzle", stand_in, "1/s")
        figures.add("scenarios on Postgres: ours", ours, "1/s")
        figures.add("scenarios on Postgres: ours to the stand-in", ours / stand_in, "×", ">= 3")
        figures.add("scenarios in memory: ours", memory, "1/s")
    return figures.all()


async def _rate(server: Server, command: list[str], table: str | None) -> float:
    url = await server.new_database(table=table)
    try:
        return await _run(command, url)
    finally:
        await server.drop(url)


async def _run(command: list[str], url: str) -> float:
    result = await finished(
        await started([*command, json.dumps({"url": url, "seconds": SECONDS, "jobs": JOBS})])
    )
    return float(result["scenarios"] / result["seconds"])
