"""Row 6: what 32 other programs on the same database keep of their commits while we write beside
them.
"""

from __future__ import annotations

import asyncio
import json
from asyncio.subprocess import Process
from collections.abc import Sequence

from benchmarks.database import Server
from benchmarks.delivery import (
    INTERVAL,
    NAIVE_INSIDE,
    OURS_SILENT,
    OURS_WRITTEN,
    Design,
    finished,
    python,
    started,
)
from benchmarks.figures import Figure, Figures
from benchmarks.pacing import Load

SECONDS = 4.0
PACE = 0.04
"""Seconds between two commits of each: 800 commits/s in all, which leaves the processors room."""

BESIDE: dict[str, Design | None] = {
    "nobody": None,
    "ours": OURS_WRITTEN,
    "ours without notifications": OURS_SILENT,
    "NOTIFY inside the transaction": NAIVE_INSIDE,
}
STREAMS = 64
"""50 chunks/s each."""


async def measure(server: Server, rounds: int) -> list[Figure]:
    figures = Figures(6)
    for _ in range(rounds):
        for pace, kind in ((PACE, "paced"), (0.0, "at full speed")):
            rates: dict[str, float] = {}
            for name, design in BESIDE.items():
                # Readers cost processors that programs at full speed want for themselves; there,
                # only the writing is compared.
                rates[name], p99 = await _beside(
                    server, design, pace, roles=("publish", "read") if pace else ("publish",)
                )
                figures.add(f"neighbours {kind}, beside {name}", rates[name], "commits/s")
                figures.add(f"neighbours {kind}, beside {name}, p99", p99 * 1e3, "ms")
            figures.add(
                f"neighbours {kind}: ours to nobody",
                rates["ours"] / rates["nobody"],
                "×",
                ">= 0.95",
            )
            silent = rates["ours without notifications"]
            figures.add(
                f"neighbours {kind}: ours to ours without notifications",
                rates["ours"] / silent,
                "×",
                ">= 0.95",
            )
    return figures.all()


async def _beside(
    server: Server, design: Design | None, pace: float, roles: Sequence[str]
) -> tuple[float, float]:
    url = await server.new_database(table=design.table if design else None)
    options = {"url": url, "seconds": SECONDS, "interval": pace}
    neighbours = await started([*python("neighbours.py"), json.dumps(options)])
    ours: list[Process] = []
    try:
        if design is not None:
            load = Load(
                url, [f"stream-{number}" for number in range(STREAMS)], INTERVAL, SECONDS + 1.0
            )
            ours = [await started([*design.command, role, load.to_json()]) for role in roles]
            publishing = asyncio.create_task(finished(ours[0]))
        result = await finished(neighbours)
        if design is not None:
            await publishing
            for reader in ours[1:]:
                await finished(reader)
    finally:
        for process in [neighbours, *ours]:
            if process.returncode is None:
                process.kill()
                await process.wait()
        await server.drop(url)
    return result["commits"], result["p99"]
