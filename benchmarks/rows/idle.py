"""Row 9: what 5,000 readers on 5,000 silent streams cost."""

from __future__ import annotations

import asyncio

from benchmarks.database import Server
from benchmarks.figures import Figure, Figures
from benchmarks.serving import Serving, serving
from monostream_ai import DurableStreamService, Publisher, create_service

Chunk = dict[str, object]

STREAMS = 5_000
OPENED_AT_ONCE = 100
SECONDS = 30.0
"""Long enough for two comments, and for six polls of each stream."""

SETTLE = 10.0
"""Seconds after which each stream is polled at the slowest rate."""


async def measure(server: Server, rounds: int) -> list[Figure]:
    figures = Figures(9)
    for _ in range(rounds):
        kilobytes: dict[str, float] = {}
        for way in ("by hand", "ours"):
            url = await server.new_database()
            # The publishers, and their leases, are another process's.
            async with create_service(url) as service:
                publishers = await _open(service)
                async with serving(url) as site:
                    kilobytes[way], cpu = await _park(site, way)
                for pub in publishers:
                    await pub.close()
            await server.drop(url)
            figures.add(f"{way}, memory", kilobytes[way], "kB/reader")
            figures.add(f"{way}, CPU", cpu, "% of a core", "<= 1" if way == "ours" else "")
        figures.add(
            "ours above by hand, memory",
            kilobytes["ours"] - kilobytes["by hand"],
            "kB/reader",
            "<= 30",
        )
    return figures.all()


async def _open(service: DurableStreamService[Chunk]) -> list[Publisher[Chunk]]:
    """Return the publishers: one that is dropped lets its lease run out."""

    async def write(number: int) -> Publisher[Chunk]:
        pub = await service.publisher(f"p{number}", 0).open()
        await pub.write({"type": "start"})
        return pub

    publishers = list[Publisher[Chunk]]()
    for first in range(0, STREAMS, OPENED_AT_ONCE):
        publishers += await asyncio.gather(
            *(write(number) for number in range(first, first + OPENED_AT_ONCE))
        )
    return publishers


async def _park(site: Serving, way: str) -> tuple[float, float]:
    paths = [f"/ours/p{number}" if way == "ours" else "/silent" for number in range(STREAMS)]
    # What the first responses load is not theirs.
    async with site.readers(paths[:100]):
        pass
    before = site.memory()
    async with site.readers(paths):
        await asyncio.sleep(SETTLE)
        used = site.cpu()
        await asyncio.sleep(SECONDS)
        cpu = (site.cpu() - used) / SECONDS * 100
        return (site.memory() - before) / STREAMS, cpu
