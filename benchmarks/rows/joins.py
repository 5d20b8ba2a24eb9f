"""Row 11: how soon a reader is there that joins a stream which a thousand others read."""

from __future__ import annotations

import asyncio

from benchmarks.database import Server
from benchmarks.figures import Figure, Figures
from benchmarks.serving import SAID_BEFORE, Reply, Serving, serving

READERS = 1_000
JOINS = 200
PAUSE = 0.01
AT_ONCE = 100
INTERVAL = 0.02


async def measure(server: Server, rounds: int) -> list[Figure]:
    figures = Figures(11)
    for _ in range(rounds):
        for stack in ("h11", "fast"):
            url = await server.new_database()
            async with serving(url, stack=stack) as site:
                await site.get("/open/s", "POST")
                async with site.readers(["/ours/s"] * READERS, replayed=SAID_BEFORE + 2, sampled=1):
                    await _join(site, stack, figures)
                await _join_beside_others(site, stack, figures)
            await server.drop(url)
    return figures.all()


async def _join(site: Serving, stack: str, figures: Figures) -> None:
    _add(
        figures, f"{stack}, beside {READERS:,} silent ones", await _one_by_one(site, JOINS), "<= 20"
    )
    together = await asyncio.gather(*(site.get("/ours/s", whole=False) for _ in range(AT_ONCE)))
    _add(figures, f"{stack}, {AT_ONCE} at once", list(together), "")
    speaking = asyncio.create_task(
        site.get(f"/speak/s?seconds={JOINS * PAUSE * 2}&interval={INTERVAL}", "POST")
    )
    _add(
        figures,
        f"{stack}, beside {READERS:,} that are spoken to",
        await _one_by_one(site, JOINS),
        "<= 20",
    )
    await speaking


async def _join_beside_others(site: Serving, stack: str, figures: Figures) -> None:
    async with site.readers(["/live"] * READERS, sampled=1):
        speaking = asyncio.create_task(
            site.get(f"/speak/s?seconds={JOINS * PAUSE * 2}&interval={INTERVAL}", "POST")
        )
        _add(
            figures,
            f"{stack}, beside {READERS:,} served by hand and spoken to",
            await _one_by_one(site, JOINS // 4),
            "",
        )
        await speaking


async def _one_by_one(site: Serving, count: int) -> list[Reply]:
    replies = []
    for _ in range(count):
        replies.append(await site.get("/ours/s", whole=False))
        await asyncio.sleep(PAUSE)
    return replies


def _add(figures: Figures, name: str, replies: list[Reply], target: str) -> None:
    """Note the median and the 99th percentile of the time to the first chunk."""
    times = sorted(reply.first * 1e3 for reply in replies)
    figures.add(f"join, {name}: median to the first chunk", times[len(times) // 2], "ms")
    figures.add(f"join, {name}: p99", times[int(len(times) * 0.99)], "ms", target)
