"""Row 1: the most chunks per second that reach readers in another process within 50 ms, and the CPU
time of a chunk at overload.

The CPU time hardly depends on who else uses the processors, so its ratios hold on a busy machine
too.
"""

from __future__ import annotations

from benchmarks.database import Server
from benchmarks.delivery import (
    DRIZZLE,
    NAIVE_ASYNCPG,
    NAIVE_SQLALCHEMY,
    OURS_PUSHED,
    OURS_WRITTEN,
    PLAIN_PG,
    Design,
    deliver,
    highest_rate,
)
from benchmarks.figures import Figure, Figures

FIRST_RATES: dict[Design, int] = {
    OURS_PUSHED: 25_600,
    OURS_WRITTEN: 12_800,
    DRIZZLE: 1_000,
    PLAIN_PG: 2_000,
    NAIVE_ASYNCPG: 2_000,
    NAIVE_SQLALCHEMY: 800,
}
OVERLOADS: dict[Design, int] = {
    OURS_PUSHED: 40_000,
    OURS_WRITTEN: 25_600,
    DRIZZLE: 3_200,
    PLAIN_PG: 6_400,
    NAIVE_ASYNCPG: 6_400,
    NAIVE_SQLALCHEMY: 1_600,
}
SECONDS = 3.0


async def measure(server: Server, rounds: int) -> list[Figure]:
    return [*await measure_overload(server, rounds), *await measure_highest(server, rounds)]


async def measure_highest(server: Server, rounds: int) -> list[Figure]:
    figures = Figures(1)
    for _ in range(rounds):
        rates: dict[Design, int] = {}
        for design, first in FIRST_RATES.items():
            rates[design], delivered = await highest_rate(server, design, first, SECONDS)
            target = ">= 40000" if design is OURS_PUSHED else ""
            figures.add(f"sustained: {design.name}", rates[design], "chunks/s", target)
            if delivered is not None:
                figures.add(f"sustained: {design.name}, p99 there", delivered.p99, "ms")
                figures.add(
                    f"sustained: {design.name}, CPU there", delivered.cpu_per_chunk, "µs/chunk"
                )
        for design, target in ((DRIZZLE, ">= 25"), (PLAIN_PG, ">= 10")):
            figures.add(
                f"sustained: ours to {design.name}",
                rates[OURS_PUSHED] / max(rates[design], 1),
                "×",
                target,
            )
    return figures.all()


async def measure_overload(server: Server, rounds: int) -> list[Figure]:
    figures = Figures(1)
    for _ in range(rounds):
        costs: dict[Design, float] = {}
        for design, rate in OVERLOADS.items():
            costs[design] = (await deliver(server, design, rate, SECONDS)).cpu_per_chunk
            figures.add(
                f"CPU of a chunk, {rate:,}/s offered: {design.name}", costs[design], "µs/chunk"
            )
        for design in (DRIZZLE, PLAIN_PG):
            figures.add(
                f"CPU of a chunk: {design.name} to ours", costs[design] / costs[OURS_PUSHED], "×"
            )
    return figures.all()
