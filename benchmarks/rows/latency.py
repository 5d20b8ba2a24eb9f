"""Rows 2 and 3: from the call of `write` to a reader, in another process under load, and at idle."""

from __future__ import annotations

import asyncio
import statistics
import time

from benchmarks.database import Server
from benchmarks.delivery import DRIZZLE, NAIVE_ASYNCPG, OURS_PUSHED, OURS_WRITTEN, PLAIN_PG, deliver
from benchmarks.figures import Figure, Figures
from monostream_ai import create_service

DESIGNS = [OURS_WRITTEN, OURS_PUSHED, DRIZZLE, PLAIN_PG, NAIVE_ASYNCPG]
TARGETS = {(3_200, "p50"): "<= 1.2", (3_200, "p99"): "<= 5", (12_800, "p99"): "<= 20"}
SECONDS = 4.0
IDLE_RATE = 50
IDLE_CHUNKS = 150


async def measure(server: Server, rounds: int) -> list[Figure]:
    figures = Figures(2)
    for _ in range(rounds):
        for rate in (3_200, 12_800):
            for design in DESIGNS:
                got = await deliver(server, design, rate, SECONDS)
                name = f"{rate:,}/s: {design.name}"
                ours = design in (OURS_WRITTEN, OURS_PUSHED)
                figures.add(
                    f"{name}, p50", got.p50, "ms", TARGETS.get((rate, "p50"), "") if ours else ""
                )
                figures.add(
                    f"{name}, p99", got.p99, "ms", TARGETS.get((rate, "p99"), "") if ours else ""
                )
                figures.add(f"{name}, in time", got.in_time / got.due, "")
                for part, cores in got.cpu.items():
                    figures.add(f"{name}, CPU of {part}", cores, "cores")
    return figures.all()


async def measure_idle(server: Server, rounds: int) -> list[Figure]:
    figures = Figures(3)
    for _ in range(rounds):
        by_hand = await deliver(server, NAIVE_ASYNCPG, IDLE_RATE, SECONDS)
        remote = await deliver(server, OURS_WRITTEN, IDLE_RATE, SECONDS)
        local = await _local(server)
        figures.add("idle: asyncpg by hand, p50", by_hand.p50, "ms")
        figures.add("idle: to another process, p50", remote.p50, "ms")
        figures.add("idle: to a reader in the same process, p50", local, "ms")
        figures.add("idle: to another process, to by hand", remote.p50 / by_hand.p50, "×", "<= 1.3")
        figures.add("idle: same process, to by hand", local / by_hand.p50, "×", "<= 1.3")
    return figures.all()


async def _local(server: Server) -> float:
    url = await server.new_database()
    times: list[float] = []
    async with create_service(url) as service, service.publisher("s", on_cancel="release") as pub:
        subscription = service.subscribe("s")
        for _ in range(IDLE_CHUNKS):
            await asyncio.sleep(1 / IDLE_RATE)
            before = time.monotonic()
            writing = asyncio.create_task(
                pub.write({"type": "text-delta", "id": "t1", "delta": " hello"})
            )
            await anext(subscription)
            times.append(time.monotonic() - before)
            await writing
        subscription.close()
    await server.drop(url)
    return statistics.median(times) * 1e3
