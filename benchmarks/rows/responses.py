"""Rows 7, 8, 9 and 11: SSE responses beside responses written by hand."""

from __future__ import annotations

import asyncio
import importlib.util
import json
import time
from asyncio.subprocess import Process
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import NamedTuple

from benchmarks.figures import Row, percentile
from benchmarks.processes import (
    PATIENCE,
    Database,
    PortProgram,
    finished,
    killed,
    python,
    started,
)
from benchmarks.programs.server import FIRST_CHUNKS
from monostream_ai import create_service
from monostream_ai.fastapi import chat_stream_id

REPLAYED = (10_000, 100_000)
WORD = " hello"
WAYS = {"pages": "/pages/{}", "ours": "/ours/{}", "merged": "/chat/{}/stream"}

FAN_OUT = ((100, 4.0), (1_000, 4.0), (5_000, 2.0))
"""Readers, and seconds for which they are spoken to."""

SILENT, SLOWEST, SILENCE = 5_000, 10.0, 30.0
"""Readers; seconds until each stream is polled at the slowest rate; seconds for two comments."""

CROWD, JOINS, PAUSE = 1_000, 200, 0.01
_FAST = all(importlib.util.find_spec(package) for package in ("httptools", "uvloop"))
STACKS = ("h11", "fast") if _FAST else ("h11",)
"""Uvicorn with h11 and asyncio, and with httptools and uvloop where they are installed."""


class Reply(NamedTuple):
    """A whole response, or its beginning; seconds from the request to its first and last event."""

    events: int
    size: int
    first: float
    last: float


class Site(PortProgram):
    """A running programs/server.py, on a database."""

    def __init__(self, database: str, stack: str) -> None:
        serve = lambda port, _: python("programs.server", database, str(port), stack)  # noqa: E731
        super().__init__("http", serve)
        self.database = database

    async def get(self, path: str, method: str = "GET", *, whole: bool = True) -> Reply:
        """Read a response to its end, or to its first event."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        headers = "host: bench\r\ncontent-length: 0\r\nconnection: close"
        before = time.monotonic()
        writer.write(f"{method} {path} HTTP/1.1\r\n{headers}\r\n\r\n".encode())
        head = await reader.readuntil(b"\r\n\r\n")
        if b" 200 " not in head:
            raise RuntimeError(head.decode())
        events, size, first = 0, 0, 0.0
        while (whole or not first) and (data := await reader.read(2**18)):
            events += data.count(b"data: ")
            first = first or (time.monotonic() - before if events else 0.0)
            size += len(data)
        writer.close()
        return Reply(events, size, first, time.monotonic() - before)

    async def speak(self, seconds: float) -> None:
        """Let `/ours/s` and `/live` say 50 chunks/s."""
        await self.get(f"/speak/s?seconds={seconds}&interval=0.02", "POST")

    @asynccontextmanager
    async def readers(self, paths: Sequence[str], replayed: int = 0) -> AsyncIterator[Process]:
        """Connect a reader for each path, in another process, which counts until it is told.

        Args:
            replayed: Events that each gets before the block begins.
        """
        options = {"port": self.port, "paths": paths, "replayed": replayed}
        process = await started([*python("programs.readers"), json.dumps(options)])
        try:
            yield process
        finally:
            await killed(process)

    def reset_peak(self) -> int:
        """Forget the peak of memory; return the kilobytes in use now."""
        # Source: proc(5), /proc/pid/clear_refs.
        Path(f"/proc/{self.pid}/clear_refs").write_text("5")
        return self.memory()

    def memory(self, measure: str = "VmRSS") -> int:
        """Return the kilobytes in use now, or with `VmHWM` the most since `reset_peak`."""
        lines = Path(f"/proc/{self.pid}/status").read_text().splitlines()
        return int(next(line for line in lines if line.startswith(measure)).split()[1])


@asynccontextmanager
async def serving(row: Row, stack: str = "h11") -> AsyncIterator[Site]:
    """Run a site on a database of its own, with one open stream `s`."""
    async with Database(row.server) as database, Site(database.url, stack) as site:
        await site.get("/open/s", "POST")
        yield site


async def replay(row: Row) -> None:
    """Row 7: a long answer replayed, as it is stored and merged."""
    word = {"type": "text-delta", "id": "t1", "delta": WORD}
    async with serving(row) as site, create_service(site.database) as service:
        for full in row.cases(REPLAYED):
            size = row.count(full)
            async with service.publisher(chat_stream_id(f"s{size}"), 0) as pub:
                await pub.write({"type": "start"}, {"type": "text-start", "id": "t1"})
                for _ in range(size // 100):
                    await pub.write(*[word] * 100)
            if full == REPLAYED[0]:
                # The first responses load code.
                for way in WAYS:
                    await _replay(site, way, size)
            await _compare_replays(row, site, size)


async def _compare_replays(row: Row, site: Site, size: int) -> None:
    seconds: dict[str, float] = {}
    for way in WAYS:
        memory, used, name = site.reset_peak(), site.cpu(), f"replay of {size:,}: {way}"
        reply = await _replay(site, way, size)
        used, memory = site.cpu() - used, site.memory("VmHWM") - memory
        seconds[way] = reply.last
        row.add(name, size / reply.last, "chunks/s")
        row.add(f"{name}, CPU", used / size * 1e6, "µs/chunk")
        row.add(f"{name}, first chunk", reply.first * 1e3, "ms")
        row.add(f"{name}, memory", memory / 1024, "MiB", "" if way == "pages" else "<= 4")
        if way == "merged":
            ratio = reply.size / (len(WORD) * size)
            row.add(f"{name}, bytes to those of the text", ratio, "×", "<= 1.1")
        elif reply.events < size:
            raise RuntimeError(f"{name}: {reply.events} events")
    name = f"replay of {size:,}"
    row.add(f"{name}: ours to pages by hand", seconds["pages"] / seconds["ours"], "×", ">= 0.85")
    row.add(f"{name}: merged to pages by hand", seconds["pages"] / seconds["merged"], "×")


async def _replay(site: Site, way: str, size: int) -> Reply:
    name = f"s{size}"
    return await site.get(WAYS[way].format(name if way == "merged" else chat_stream_id(name)))


async def fan_out(row: Row) -> None:
    """Row 8: one stream of 50 chunks/s to many readers in one process."""
    for stack in row.cases(STACKS):
        for full, seconds in row.cases(FAN_OUT):
            count, spoken = row.count(full), row.seconds(seconds)
            name, costs = f"{stack}, to {full:,}", dict[str, float]()
            ways = {"by hand": ("/live/s", 0), "ours": ("/ours/s", FIRST_CHUNKS)}
            for way, (path, replayed) in ways.items():
                async with serving(row, stack) as site:
                    async with site.readers([path] * count, replayed) as readers:
                        used = site.cpu()
                        await site.speak(spoken)
                        used = site.cpu() - used
                        got = await finished(readers)
                events, p99 = got["events"], percentile(got["lags"] or [PATIENCE], 0.99)
                costs[way] = used / max(events, 1) * 1e6
                target = "<= 100" if (way, full) == ("ours", 1_000) else ""
                row.add(f"{name}: {way}, CPU", costs[way], "µs/chunk")
                row.add(f"{name}: {way}, p99 lag", p99 * 1e3, "ms", target)
                row.add(f"{name}: {way}, delivered", events / (count * spoken / 0.02), "")
            ratio = costs["ours"] / costs["by hand"]
            row.add(f"{name}: CPU, ours to by hand", ratio, "×", "<= 1.5")


async def silent_readers(row: Row) -> None:
    """Row 9: a reader on each of 5,000 silent streams."""
    count, kilobytes = row.count(SILENT), dict[str, float]()
    for way in ("by hand", "ours"):
        # The publishers, and their leases, belong to another process than the readers.
        async with serving(row) as site, create_service(site.database) as service:
            # They are kept: one that is dropped lets its lease run out.
            publishers = [await service.publisher(f"p{n}", 0).open() for n in range(count)]
            await asyncio.gather(*(pub.write({"type": "start"}) for pub in publishers))
            paths = [f"/ours/p{n}" if way == "ours" else "/silent/s" for n in range(count)]
            # Some code is loaded for the first responses, which is not the cost of a reader.
            async with site.readers(paths[:100]):
                pass
            before, silence = site.memory(), row.seconds(SILENCE)
            async with site.readers(paths):
                await asyncio.sleep(row.seconds(SLOWEST))
                used = site.cpu()
                await asyncio.sleep(silence)
                cpu = (site.cpu() - used) / silence * 100
                kilobytes[way] = (site.memory() - before) / count
            for pub in publishers:
                await pub.close()
        row.add(f"{way}, memory", kilobytes[way], "kB/reader")
        row.add(f"{way}, CPU", cpu, "% of a core", "<= 1" if way == "ours" else "")
    above = kilobytes["ours"] - kilobytes["by hand"]
    row.add("ours above by hand, memory", above, "kB/reader", "<= 30")


async def joins(row: Row) -> None:
    """Row 11: the first chunk of a reader that joins a stream which 1,000 others read."""
    crowd, count, spoken = row.count(CROWD), row.count(JOINS), row.seconds(JOINS * PAUSE * 2)
    for stack in row.cases(STACKS):
        name = f"join, {stack}, beside {CROWD:,}"
        async with serving(row, stack) as site:
            async with site.readers(["/ours/s"] * crowd, FIRST_CHUNKS):
                await _join(row, f"{name} silent ones", site, count, "<= 20")
                speaking = asyncio.create_task(site.speak(spoken))
                await _join(row, f"{name} spoken to", site, count, "<= 20")
                await speaking
            async with site.readers(["/live/s"] * crowd):
                speaking = asyncio.create_task(site.speak(spoken))
                await _join(row, f"{name} served by hand and spoken to", site, -(-count // 4))
                await speaking


async def _join(row: Row, name: str, site: Site, count: int, target: str = "") -> None:
    times = []
    for _ in range(count):
        times.append((await site.get("/ours/s", whole=False)).first * 1e3)
        await asyncio.sleep(PAUSE)
    times.sort()
    row.add(f"{name}: median to the first chunk", percentile(times, 0.5), "ms")
    row.add(f"{name}: p99", percentile(times, 0.99), "ms", target)
