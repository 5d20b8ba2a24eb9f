"""Row 8: one stream of 50 chunks/s to many SSE readers in one process."""

from __future__ import annotations

import asyncio
import re
import time

from benchmarks.database import Server
from benchmarks.figures import Figure, Figures
from benchmarks.serving import PATIENCE, Serving, serving

READERS = (100, 1_000)
SECONDS = 4.0
INTERVAL = 0.02
SPOKEN = re.compile(rb'"delta": ?"([0-9.]+)"')


async def measure(server: Server, rounds: int) -> list[Figure]:
    figures = Figures(8)
    for _ in range(rounds):
        for count in READERS:
            costs: dict[str, float] = {}
            for way, path in (("by hand", "/live"), ("ours", "/ours/s")):
                url = await server.new_database()
                async with serving(url) as site:
                    costs[way], lag, delivered = await _fan_out(site, path, count)
                await server.drop(url)
                target = "<= 100" if (way, count) == ("ours", 1_000) else ""
                figures.add(f"to {count:,} readers: {way}, CPU", costs[way], "µs/chunk")
                figures.add(f"to {count:,} readers: {way}, p99 lag", lag, "ms", target)
                figures.add(f"to {count:,} readers: {way}, delivered", delivered, "")
            figures.add(f"to {count:,} readers: CPU, ours to by hand", costs["ours"] / costs["by hand"], "×", "<= 1.5")
    return figures.all()


async def _fan_out(site: Serving, path: str, count: int) -> tuple[float, float, float]:
    lags: list[float] = []

    async def follow(begun: asyncio.Event) -> None:
        reader, writer = await site.open(path)
        await reader.readuntil(b"\r\n\r\n")
        begun.set()
        while data := await reader.read(2**16):
            now = time.monotonic()
            lags.extend(now - float(said) for said in SPOKEN.findall(data))
        writer.close()

    await site.get("/open/s", "POST")
    events = [asyncio.Event() for _ in range(count)]
    tasks = [asyncio.create_task(follow(event)) for event in events]
    await asyncio.gather(*(event.wait() for event in events))
    before = site.cpu()
    await site.get(f"/speak/s?seconds={SECONDS}&interval={INTERVAL}", "POST")
    used = site.cpu() - before
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    due = count * round(SECONDS / INTERVAL)
    return used / max(len(lags), 1) * 1e6, sorted(lags or [PATIENCE])[int(len(lags) * 0.99)] * 1e3, len(lags) / due
