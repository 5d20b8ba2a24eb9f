"""Row 7: replaying a long answer over SSE from Postgres."""

from __future__ import annotations

from benchmarks.database import Server
from benchmarks.figures import Figure, Figures
from benchmarks.serving import serving
from monostream_ai import create_service

SIZES = (10_000, 100_000)
BATCH = 1000


async def measure(server: Server, rounds: int) -> list[Figure]:
    figures = Figures(7)
    url = await server.new_database()
    async with create_service(url) as service:
        for size in SIZES:
            async with service.publisher(f"s{size}", 0) as pub:
                await pub.write({"type": "start"}, {"type": "text-start", "id": "t1"})
                for _ in range(size // BATCH):
                    await pub.write(*[{"type": "text-delta", "id": "t1", "delta": " hello"}] * BATCH)
    async with serving(url) as site:
        for way in ("ours", "pages", "rows"):
            await site.get(f"/{way}/s{SIZES[0]}")
        for _ in range(rounds):
            for size in SIZES:
                rates: dict[str, float] = {}
                for way in ("pages", "ours", "rows"):
                    before = site.reset_peak()
                    reply = await site.get(f"/{way}/s{size}")
                    rates[way] = reply.events / reply.last
                    figures.add(f"replay of {size:,}: {way}", rates[way], "chunks/s")
                    figures.add(f"replay of {size:,}: {way}, first byte", reply.first * 1e3, "ms")
                    figures.add(f"replay of {size:,}: {way}, memory", (site.peak() - before) / 1024, "MiB")
                figures.add(f"replay of {size:,}: ours to pages by hand", rates["ours"] / rates["pages"], "×", ">= 0.8")
                figures.add(f"replay of {size:,}: ours to row by row", rates["ours"] / rates["rows"], "×", ">= 10")
    await server.drop(url)
    return figures.all()
