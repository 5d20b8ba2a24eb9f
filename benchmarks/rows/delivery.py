"""Rows 1, 2, 3 and 6: from a process that writes to one that reads, under load and at idle."""

from __future__ import annotations

import asyncio
import json
import statistics
import time

from benchmarks.designs import (
    DRIZZLE,
    INTERVAL,
    OURS_PUSHED,
    OURS_SILENT,
    OURS_WRITTEN,
    PLAIN_PG,
    Delivery,
    Design,
    deliver,
    running,
)
from benchmarks.figures import Row
from benchmarks.pacing import chunk_now
from benchmarks.processes import finished, killed, python, started
from monostream_ai import create_service

RATES: dict[Design, tuple[int, int]] = {
    OURS_PUSHED: (25_600, 40_000),
    OURS_WRITTEN: (12_800, 25_600),
    DRIZZLE: (1_000, 3_200),
    PLAIN_PG: (2_000, 6_400),
}
"""Chunks/s at which the climb begins, and that are more than the design delivers."""

OVERLOADED = 3.0
PACED = 4.0
"""Seconds of a load."""

LATENCY_TARGETS = {(3_200, "p50"): "<= 1.2", (3_200, "p99"): "<= 5", (12_800, "p99"): "<= 20"}
IDLE_RATE = 50


async def sustained_rate(row: Row) -> None:
    """Row 1: the CPU of a chunk at overload, and the highest rate that arrives in time.

    The CPU hardly depends on who else uses the processors, so its ratios hold on a busy machine.
    """
    costs: dict[Design, float] = {}
    for design, (_, overload) in RATES.items():
        got = await deliver(row.server, design, overload, row.seconds(OVERLOADED))
        costs[design] = got.cpu_per_chunk
        row.add(f"CPU of a chunk at {overload:,}/s: {design.name}", costs[design], "µs/chunk")
    rates: dict[Design, int] = {}
    for design, (first, _) in RATES.items():
        rates[design], there = await _highest_rate(row, design, first)
        target = ">= 40000" if design is OURS_PUSHED else ""
        row.add(f"sustained: {design.name}", rates[design], "chunks/s", target)
        if there is not None:
            row.add(f"sustained: {design.name}, p99 there", there.p99, "ms")
            row.add(f"sustained: {design.name}, CPU there", there.cpu_per_chunk, "µs/chunk")
    for design, target in ((DRIZZLE, ">= 25"), (PLAIN_PG, ">= 10")):
        ratio = costs[design] / costs[OURS_PUSHED]
        row.add(f"CPU of a chunk: {design.name} to ours", ratio, "×")
        ratio = rates[OURS_PUSHED] / max(rates[design], 1)
        row.add(f"sustained: ours to {design.name}", ratio, "×", target)


async def _highest_rate(row: Row, design: Design, first: int) -> tuple[int, Delivery | None]:
    """Climb by an eighth until a load is late twice; halve where the first one is."""
    best: tuple[int, Delivery | None] = (0, None)
    rate = first
    for _ in range(row.count(50)):
        for _ in range(row.count(2)):
            delivery = await deliver(row.server, design, rate, row.seconds(OVERLOADED))
            if delivery.sustained:
                break
        if delivery.sustained:
            best = (rate, delivery)
            rate = round(rate * 1.125 / 50) * 50
        elif best[0] or rate < 200:
            break
        else:
            rate = round(rate / 2 / 50) * 50
    return best


async def latency(row: Row) -> None:
    """Row 2: from `write` to a reader in another process, at two loads."""
    for rate in row.cases((3_200, 12_800)):
        for design in (OURS_WRITTEN, OURS_PUSHED, DRIZZLE, PLAIN_PG):
            got = await deliver(row.server, design, rate, row.seconds(PACED))
            name = f"{rate:,}/s: {design.name}"
            for part, value in (("p50", got.p50), ("p99", got.p99)):
                ours = design in (OURS_WRITTEN, OURS_PUSHED)
                target = LATENCY_TARGETS.get((rate, part), "") if ours else ""
                row.add(f"{name}, {part}", value, "ms", target)
            row.add(f"{name}, in time", got.in_time, "")
            for part, cores in got.cpu.items():
                row.add(f"{name}, CPU of {part}", cores, "cores")


async def idle(row: Row) -> None:
    """Row 3: one chunk at a time, to another process and inside one."""
    by_hand = await deliver(row.server, PLAIN_PG, IDLE_RATE, row.seconds(PACED))
    remote = await deliver(row.server, OURS_WRITTEN, IDLE_RATE, row.seconds(PACED))
    local = await _idle_in_one_process(row)
    row.add("idle: plain pg by hand, p50", by_hand.p50, "ms")
    row.add("idle: to another process, p50", remote.p50, "ms")
    row.add("idle: to a reader in the same process, p50", local, "ms")
    row.add("idle: to another process, to by hand", remote.p50 / by_hand.p50, "×", "<= 1.3")
    row.add("idle: same process, to by hand", local / by_hand.p50, "×", "<= 1.3")


async def _idle_in_one_process(row: Row) -> float:
    url = await row.server.new_database()
    times: list[float] = []
    async with create_service(url) as service, service.publisher("s", on_cancel="release") as pub:
        subscription = service.subscribe("s")
        for _ in range(row.count(150)):
            await asyncio.sleep(1 / IDLE_RATE)
            before = time.monotonic()
            writing = asyncio.create_task(pub.write(chunk_now()))
            await anext(subscription)
            times.append(time.monotonic() - before)
            await writing
        subscription.close()
    await row.server.drop(url)
    return statistics.median(times) * 1e3


async def neighbours(row: Row) -> None:
    """Row 6: the commits of 32 other programs at full speed, beside a writer of ours."""
    rates: dict[str, float] = {}
    for name, design in (("nobody", None), ("ours", OURS_WRITTEN), ("ours, silent", OURS_SILENT)):
        rates[name] = await _beside(row, design)
        row.add(f"neighbours beside {name}", rates[name], "commits/s")
    row.add("neighbours: ours to nobody", rates["ours"] / rates["nobody"], "×")
    ratio = rates["ours"] / rates["ours, silent"]
    row.add("neighbours: ours to ours without notifications", ratio, "×", ">= 0.95")


async def _beside(row: Row, design: Design | None) -> float:
    # Without a reader, which would cost processors that the neighbours want for themselves.
    seconds = row.seconds(PACED)
    async with running(row.server, [design or OURS_WRITTEN]) as (one,):
        options = json.dumps({"url": one.backend.url, "seconds": seconds})
        programs = [await started([*python("programs.neighbours"), options])]
        try:
            if design is not None:
                load = one.new_load(round(3_200 * INTERVAL), seconds + 1.0)
                programs.append(await one.ready(design.writes, load))
            result, *_ = await asyncio.gather(*map(finished, programs))
        finally:
            await killed(*programs)
    return float(result["commits"])
