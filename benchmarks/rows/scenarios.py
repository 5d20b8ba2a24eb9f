"""Row 14: short scenarios of publishers and readers, here and in the Node stand-in."""

from __future__ import annotations

import json
from collections.abc import Sequence

from benchmarks.backends import JSONB_TABLE
from benchmarks.figures import Row
from benchmarks.processes import finished, node, python, started

SECONDS = 5.0
JOBS = 32
OURS = python("programs.scenarios")
STAND_IN = node("scenarios.mjs")


async def scenarios(row: Row) -> None:
    stand_in = await _on_postgres(row, STAND_IN, JSONB_TABLE)
    ours = await _on_postgres(row, OURS)
    row.add("scenarios on Postgres: Node stand-in, drizzle", stand_in, "1/s")
    row.add("scenarios on Postgres: ours", ours, "1/s")
    row.add("scenarios on Postgres: ours to the stand-in", ours / stand_in, "×", ">= 3")
    row.add("scenarios in memory: ours", await _rate(row, OURS, "memory://"), "1/s")


async def _on_postgres(row: Row, command: Sequence[str], table: str | None = None) -> float:
    url = await row.server.new_database(table)
    try:
        return await _rate(row, command, url)
    finally:
        await row.server.drop(url)


async def _rate(row: Row, command: Sequence[str], url: str) -> float:
    options = {"url": url, "seconds": row.seconds(SECONDS), "jobs": JOBS}
    result = await finished(await started([*command, json.dumps(options)]))
    return float(result["scenarios"] / result["seconds"])
