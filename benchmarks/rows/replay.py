"""Row 7: replaying a long answer over SSE from Postgres."""

from __future__ import annotations

from benchmarks.database import Server
from benchmarks.figures import Figure, Figures
from benchmarks.serving import Reply, Serving, serving
from monostream_ai import create_service
from monostream_ai.fastapi import chat_stream_id

SIZES = (10_000, 100_000)
BATCH = 1000
WORD = " hello"
WAYS = {"pages": "/pages/{}", "ours": "/ours/{}", "merged": "/chat/{}/stream", "rows": "/rows/{}"}
MEMORY_MIB = 4


async def measure(server: Server, rounds: int) -> list[Figure]:
    figures = Figures(7)
    url = await server.new_database()
    async with create_service(url) as service:
        for size in SIZES:
            async with service.publisher(chat_stream_id(f"s{size}"), 0) as pub:
                await pub.write({"type": "start"}, {"type": "text-start", "id": "t1"})
                for _ in range(size // BATCH):
                    await pub.write(*[{"type": "text-delta", "id": "t1", "delta": WORD}] * BATCH)
    async with serving(url) as site:
        for way in WAYS:
            await _replay(site, way, SIZES[0])
        for _ in range(rounds):
            for size in SIZES:
                await _compare(site, size, figures)
    await server.drop(url)
    return figures.all()


async def _compare(site: Serving, size: int, figures: Figures) -> None:
    seconds: dict[str, float] = {}
    for way in WAYS:
        before = site.reset_peak()
        used = site.cpu()
        reply = await _replay(site, way, size)
        seconds[way] = reply.last
        name = f"replay of {size:,}: {way}"
        memory = f"<= {MEMORY_MIB}" if way in ("ours", "merged") else ""
        figures.add(name, size / reply.last, "chunks/s")
        figures.add(f"{name}, CPU", (site.cpu() - used) / size * 1e6, "µs/chunk")
        figures.add(f"{name}, first chunk", reply.first * 1e3, "ms")
        figures.add(f"{name}, memory", (site.peak() - before) / 1024, "MiB", memory)
        if way == "merged":
            figures.add(
                f"{name}, bytes to those of the text",
                reply.size / (len(WORD) * size),
                "×",
                "<= 1.1",
            )
    for way, target in (("ours", ">= 0.8"), ("merged", "")):
        figures.add(
            f"replay of {size:,}: {way} to pages by hand",
            seconds["pages"] / seconds[way],
            "×",
            target,
        )
    figures.add(
        f"replay of {size:,}: ours to row by row", seconds["rows"] / seconds["ours"], "×", ">= 10"
    )


async def _replay(site: Serving, way: str, size: int) -> Reply:
    name = f"s{size}"
    return await site.get(WAYS[way].format(name if way == "merged" else chat_stream_id(name)))
