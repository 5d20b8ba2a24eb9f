"""Row 8: one stream of 50 chunks/s to many SSE readers in one process."""

from __future__ import annotations

from benchmarks.database import Server
from benchmarks.figures import Figure, Figures
from benchmarks.serving import SAID_BEFORE, serving

READERS = {100: 4.0, 1_000: 4.0, 5_000: 2.0}
"""Seconds of speech for each number of readers."""

INTERVAL = 0.02
STACKS = ("h11", "fast")


async def measure(server: Server, rounds: int) -> list[Figure]:
    figures = Figures(8)
    for _ in range(rounds):
        for stack in STACKS:
            for count in READERS:
                await _compare(server, stack, count, figures)
    return figures.all()


async def _compare(server: Server, stack: str, count: int, figures: Figures) -> None:
    costs: dict[str, float] = {}
    for way, path in (("by hand", "/live"), ("ours", "/ours/s")):
        replayed = SAID_BEFORE + 2 if way == "ours" else 0
        url = await server.new_database()
        async with serving(url, stack=stack) as site:
            await site.get("/open/s", "POST")
            async with site.readers([path] * count, replayed=replayed) as readers:
                before = site.cpu()
                await site.get(f"/speak/s?seconds={READERS[count]}&interval={INTERVAL}", "POST")
                used = site.cpu() - before
                got = await readers.count()
        await server.drop(url)
        costs[way] = used / max(got.events, 1) * 1e6
        name = f"{stack}, to {count:,}: {way}"
        figures.add(f"{name}, CPU", costs[way], "µs/chunk")
        figures.add(
            f"{name}, p99 lag",
            got.lag(0.99) * 1e3,
            "ms",
            "<= 100" if (way, count) == ("ours", 1_000) else "",
        )
        figures.add(
            f"{name}, delivered", got.events / (count * round(READERS[count] / INTERVAL)), ""
        )
    figures.add(
        f"{stack}, to {count:,}: CPU, ours to by hand",
        costs["ours"] / costs["by hand"],
        "×",
        "<= 1.5",
    )
