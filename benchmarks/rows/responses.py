"""Rows 7, 8, 9 and 11: SSE responses beside responses written by hand."""

from __future__ import annotations

import asyncio
import importlib.util
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

from benchmarks.figures import Row, percentile
from benchmarks.pacing import Chunk
from benchmarks.sse import FIRST_CHUNKS, Reply, Site
from monostream_ai import DurableStreamService, Publisher, create_service
from monostream_ai.fastapi import chat_stream_id

REPLAYED = (10_000, 100_000)
WORD = " hello"
WAYS = {"pages": "/pages/{}", "ours": "/ours/{}", "merged": "/chat/{}/stream"}

FAN_OUT = ((100, 4.0), (1_000, 4.0), (5_000, 2.0))
"""Readers, and seconds for which they are spoken to."""

SILENT = 5_000
SILENCE = 30.0
"""Long enough for two comments, and for six polls of each stream."""

SLOWEST = 10.0
"""Seconds after which each stream is polled at the slowest rate."""

CROWD = 1_000
JOINS = 200
PAUSE = 0.01


@asynccontextmanager
async def serving(row: Row, stack: str) -> AsyncIterator[Site]:
    """Run a site on a database of its own, with one open stream `s`."""
    url = await row.server.new_database()
    async with Site(url, stack) as site:
        await site.get("/open/s", "POST")
        yield site
    await row.server.drop(url)


def stacks() -> list[str]:
    """Return the stacks that are installed."""
    fast = all(importlib.util.find_spec(package) for package in ("httptools", "uvloop"))
    return ["h11", "fast"] if fast else ["h11"]


async def replay(row: Row) -> None:
    """Row 7: a long answer replayed, as it is stored and merged."""
    url = await row.server.new_database()
    sizes = [row.count(size) for size in row.cases(REPLAYED)]
    async with create_service(url) as service:
        for size in sizes:
            async with service.publisher(chat_stream_id(f"s{size}"), 0) as pub:
                await pub.write({"type": "start"}, {"type": "text-start", "id": "t1"})
                for _ in range(size // 100):
                    await pub.write(*[{"type": "text-delta", "id": "t1", "delta": WORD}] * 100)
    async with Site(url, "h11") as site:
        for way in WAYS:
            await _replay(site, way, sizes[0])
        for size in sizes:
            await _compare_replays(row, site, size)
    await row.server.drop(url)


async def _compare_replays(row: Row, site: Site, size: int) -> None:
    seconds: dict[str, float] = {}
    for way in WAYS:
        memory, used = site.reset_peak(), site.cpu()
        reply = await _replay(site, way, size)
        seconds[way], name = reply.last, f"replay of {size:,}: {way}"
        row.add(name, size / reply.last, "chunks/s")
        row.add(f"{name}, CPU", (site.cpu() - used) / size * 1e6, "µs/chunk")
        row.add(f"{name}, first chunk", reply.first * 1e3, "ms")
        mebibytes, ours = (site.peak() - memory) / 1024, way != "pages"
        row.add(f"{name}, memory", mebibytes, "MiB", "<= 4" if ours else "")
        if way == "merged":
            ratio = reply.size / (len(WORD) * size)
            row.add(f"{name}, bytes to those of the text", ratio, "×", "<= 1.1")
        elif reply.events < size:
            raise RuntimeError(f"{name}: {reply.events} events")
    name = f"replay of {size:,}"
    row.add(f"{name}: ours to pages by hand", seconds["pages"] / seconds["ours"], "×", ">= 0.8")
    row.add(f"{name}: merged to pages by hand", seconds["pages"] / seconds["merged"], "×")


async def _replay(site: Site, way: str, size: int) -> Reply:
    name = f"s{size}"
    return await site.get(WAYS[way].format(name if way == "merged" else chat_stream_id(name)))


async def fan_out(row: Row) -> None:
    """Row 8: one stream of 50 chunks/s to many readers in one process."""
    for stack in stacks():
        for full, seconds in row.cases(FAN_OUT):
            count, spoken = row.count(full), row.seconds(seconds)
            name = f"{stack}, to {full:,}"
            costs: dict[str, float] = {}
            ways = (("by hand", "/live/s", 0), ("ours", "/ours/s", FIRST_CHUNKS))
            for way, path, replayed in ways:
                async with serving(row, stack) as site:
                    async with site.readers([path] * count, replayed=replayed) as readings:
                        used = site.cpu()
                        await site.speak(spoken)
                        used = site.cpu() - used
                        got = await readings()
                costs[way] = used / max(got.events, 1) * 1e6
                target = "<= 100" if (way, full) == ("ours", 1_000) else ""
                row.add(f"{name}: {way}, CPU", costs[way], "µs/chunk")
                row.add(f"{name}: {way}, p99 lag", got.p99 * 1e3, "ms", target)
                row.add(f"{name}: {way}, delivered", got.events / (count * spoken / 0.02), "")
            ratio = costs["ours"] / costs["by hand"]
            row.add(f"{name}: CPU, ours to by hand", ratio, "×", "<= 1.5")


async def silent_readers(row: Row) -> None:
    """Row 9: a reader on each of 5,000 silent streams."""
    count, kilobytes = row.count(SILENT), dict[str, float]()
    for way in ("by hand", "ours"):
        url = await row.server.new_database()
        # The publishers, and their leases, belong to another process than the readers.
        async with create_service(url) as service:
            publishers = await _open(service, count)
            async with Site(url, "h11") as site:
                kilobytes[way], cpu = await _park(row, site, way, count)
            for pub in publishers:
                await pub.close()
        await row.server.drop(url)
        row.add(f"{way}, memory", kilobytes[way], "kB/reader")
        row.add(f"{way}, CPU", cpu, "% of a core", "<= 1" if way == "ours" else "")
    above = kilobytes["ours"] - kilobytes["by hand"]
    row.add("ours above by hand, memory", above, "kB/reader", "<= 30")


async def _open(service: DurableStreamService[Chunk], count: int) -> list[Publisher[Chunk]]:
    # The caller keeps the publishers: one that is dropped lets its lease run out.
    publishers = list[Publisher[Chunk]]()
    for first in range(0, count, 100):
        some = [service.publisher(f"p{n}", 0) for n in range(first, min(first + 100, count))]
        publishers += await asyncio.gather(*(pub.open() for pub in some))
        await asyncio.gather(*(pub.write({"type": "start"}) for pub in some))
    return publishers


async def _park(row: Row, site: Site, way: str, count: int) -> tuple[float, float]:
    paths = [f"/ours/p{number}" if way == "ours" else "/silent/s" for number in range(count)]
    # Some code is loaded for the first responses, which is not the cost of a reader.
    async with site.readers(paths[:100]):
        pass
    before, silence = site.memory(), row.seconds(SILENCE)
    async with site.readers(paths):
        await asyncio.sleep(row.seconds(SLOWEST))
        used = site.cpu()
        await asyncio.sleep(silence)
        cpu = (site.cpu() - used) / silence * 100
        return (site.memory() - before) / count, cpu


async def joins(row: Row) -> None:
    """Row 11: the first chunk of a reader that joins a stream which 1,000 others read."""
    crowd, count = row.count(CROWD), row.count(JOINS)
    spoken = JOINS * PAUSE * 2
    for stack in stacks():
        async with serving(row, stack) as site:
            async with site.readers(["/ours/s"] * crowd, replayed=FIRST_CHUNKS):
                name = f"{stack}, beside {CROWD:,}"
                _add_joins(row, f"{name} silent ones", await _join(site, count), "<= 20")
                together = await asyncio.gather(
                    *(site.get("/ours/s", whole=False) for _ in range(row.count(100)))
                )
                _add_joins(row, f"{stack}, 100 at once", together)
                speaking = asyncio.create_task(site.speak(row.seconds(spoken)))
                _add_joins(row, f"{name} spoken to", await _join(site, count), "<= 20")
                await speaking
            async with site.readers(["/live/s"] * crowd):
                speaking = asyncio.create_task(site.speak(row.seconds(spoken)))
                times = await _join(site, row.count(JOINS // 4))
                _add_joins(row, f"{name} served by hand and spoken to", times)
                await speaking


async def _join(site: Site, count: int) -> list[Reply]:
    replies = []
    for _ in range(count):
        replies.append(await site.get("/ours/s", whole=False))
        await asyncio.sleep(PAUSE)
    return replies


def _add_joins(row: Row, name: str, replies: Sequence[Reply], target: str = "") -> None:
    times = sorted(reply.first * 1e3 for reply in replies)
    row.add(f"join, {name}: median to the first chunk", percentile(times, 0.5), "ms")
    row.add(f"join, {name}: p99", percentile(times, 0.99), "ms", target)
