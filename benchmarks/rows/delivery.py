"""Rows 1, 2, 6, 14, 16, 17: from writers to readers in other processes, and their crashes."""

from __future__ import annotations

import asyncio
import time

from benchmarks import designs
from benchmarks.figures import Row
from benchmarks.processes import finished, killed, printed, tell

RATES: dict[designs.Design, tuple[int, int]] = {
    designs.OURS_PUSHED: (25_600, 40_000),
    designs.OURS_WRITTEN: (12_800, 25_600),
    designs.DRIZZLE: (1_000, 3_200),
    designs.PLAIN_PG: (2_000, 6_400),
}
"""Chunks/s at which the climb begins, and that are more than the design delivers."""

OVERLOADED, PACED, PLAYED = 3.0, 4.0, 5.0
"""Seconds of a load, and of scenarios, `JOBS` at once."""

SPEAKING = {1: 10.0, 64: 2.0}
"""Seconds of a load of so many streams: five chunks of a p99 at least."""

JOBS = 32
LATENCY_TARGETS = {3_200: ("<= 1", "<= 4"), 12_800: ("<= 2", "<= 8")}
STORED, SPOKEN, LIFE = 1.0, 0.5, 60.0
"""Seconds of a load until a reader joins, until its writer is killed, and at most."""

SILENCE = 3.0
"""Seconds without a chunk after which a reader that joined has all there is."""

CRASH = "a SIGKILL of the backend"
WAIT = 20.0
"""Seconds that a reader has to learn of a death; our lease is 15 by default."""


async def sustained_rate(row: Row) -> None:
    """Row 1: the CPU of a chunk at overload, and the highest rate that arrives in time.

    The CPU hardly depends on who else uses the processors, so its ratios hold on a busy machine.
    """
    ours, costs = designs.OURS_PUSHED, dict[designs.Design, float]()
    for design, (_, overload) in RATES.items():
        got = await designs.deliver(row.server, design, overload, row.seconds(OVERLOADED))
        costs[design] = got.cpu_per_chunk
        target = "<= 40" if design is ours else ""
        name = f"CPU of a chunk at {overload:,}/s: {design.name}"
        row.add(name, costs[design], "µs/chunk", target)
    rates: dict[designs.Design, int] = {}
    for design, (first, _) in RATES.items():
        rates[design] = await _highest_rate(row, design, first)
        row.add(f"sustained: {design.name}", rates[design], "chunks/s")
    for design, target in ((designs.DRIZZLE, ">= 60"), (designs.PLAIN_PG, ">= 25")):
        row.add(f"CPU of a chunk: {design.name} to ours", costs[design] / costs[ours], "×")
        ratio = rates[ours] / max(rates[design], 1)
        row.add(f"sustained: ours to {design.name}", ratio, "×", target)


async def _highest_rate(row: Row, design: designs.Design, rate: int) -> int:
    """Climb by an eighth until a load is late twice; halve where the first one is."""
    best = 0
    for _ in range(row.count(50)):
        for _ in range(row.count(2)):
            got = await designs.deliver(row.server, design, rate, row.seconds(OVERLOADED))
            if got.in_time >= 0.99:
                best = rate
                break
        if best != rate and (best or rate < 200):
            break
        rate = round(rate * (1.125 if best else 0.5) / 50) * 50
    return best


async def latency(row: Row) -> None:
    """Row 2: from `write` to a reader in another process, at two loads."""
    for rate in row.cases([*LATENCY_TARGETS]):
        for design in (*RATES, designs.OURS_WRITTEN_READ, designs.OURS_PUSHED_READ):
            got = await designs.deliver(row.server, design, rate, row.seconds(PACED))
            name = f"{rate:,}/s: {design.name}"
            p50, p99 = LATENCY_TARGETS[rate] if design is designs.OURS_PUSHED else ("", "")
            row.add(f"{name}, p50", got.p50, "ms", p50)
            row.add(f"{name}, p99", got.p99, "ms", p99)
            row.add(f"{name}, in time", got.in_time, "")
            for part, cores in got.cpu.items():
                row.add(f"{name}, CPU of {part}", cores, "cores")


async def neighbours(row: Row) -> None:
    """Row 6: the commits of 32 other programs at full speed, beside a writer of ours."""
    rates: dict[str, float] = {}
    for name, design in (
        ("nobody", None),
        ("ours", designs.OURS_WRITTEN),
        ("ours, silent", designs.OURS_SILENT),
    ):
        rates[name] = await _beside(row, design)
        row.add(f"neighbours beside {name}", rates[name], "commits/s")
    row.add("neighbours: ours to nobody", rates["ours"] / rates["nobody"], "×")
    ratio = rates["ours"] / rates["ours, silent"]
    row.add("neighbours: ours to ours without notifications", ratio, "×", ">= 0.98")


async def _beside(row: Row, design: designs.Design | None) -> float:
    # Without a reader, which would cost processors that the neighbours want for themselves.
    seconds = row.seconds(PACED)
    async with designs.running(row.server, [design or designs.OURS_WRITTEN]) as (one,):
        programs = [await one.ready("neighbours", one.new_load(1, seconds))]
        if design is not None:
            load = one.new_load(round(3_200 * designs.INTERVAL), seconds + 1.0)
            programs.append(await one.ready(design.writes, load))
        result, *_ = await asyncio.gather(*map(finished, programs))
    return float(result["commits"])


async def scenarios(row: Row) -> None:
    """Row 14: short scenarios of publishers and readers, here and in the stand-in."""
    rates: dict[designs.Design, float] = {}
    for design in (designs.DRIZZLE, designs.OURS_WRITTEN, designs.OURS_IN_MEMORY):
        async with designs.running(row.server, [design]) as (one,):
            load = one.new_load(JOBS, row.seconds(PLAYED))
            got = await finished(await one.ready("scenarios", load))
        rates[design] = got["rate"]
        row.add(f"scenarios: {design.name}", got["rate"], "1/s")
        row.add(f"CPU of a scenario: {design.name}", got["cpu"] / got["scenarios"] * 1e6, "µs")
    ratio = rates[designs.OURS_WRITTEN] / rates[designs.DRIZZLE]
    row.add("scenarios on Postgres: ours to the stand-in", ratio, "×", ">= 3")


async def peers(row: Row) -> None:
    """Row 16: how late chunks are in another process, one stream and 64."""
    async with designs.running(row.server, [designs.PEER_READ, *designs.PEERS]) as several:
        for streams, seconds in SPEAKING.items():
            for peer in several:
                got = await designs.deliver_to(peer, streams, row.seconds(seconds))
                name = f"{streams} × 50/s: {peer.design.name}"
                row.add(f"{name}, p50", got.p50, "ms")
                row.add(f"{name}, p99", got.p99, "ms")
                row.add(f"{name}, in time", got.in_time, "")


async def faults(row: Row) -> None:
    """Row 17: what a reader learns of a writer's death, and how much one gets that joins."""
    async with designs.running(row.server, designs.PEERS) as several:
        # These mostly wait, so all at once.
        for case in (_death, _joining):
            async with asyncio.TaskGroup() as group:
                for peer in several:
                    group.create_task(case(row, peer))


async def _death(row: Row, peer: designs.Running) -> None:
    load = peer.new_load(1, LIFE)
    writer = await peer.ready("publish", load)
    reader = await peer.ready("watch", load)
    tell(writer)
    await asyncio.sleep(SPOKEN)
    await killed(writer)
    dead, wait = time.monotonic(), row.seconds(WAIT)
    try:
        async with asyncio.timeout(wait):
            result = await printed(reader)
        known, outcome = result["at"] - dead, result["outcome"]
    except TimeoutError:
        known, outcome = wait, "nothing"
    name = f"SIGKILL of the writer: {peer.design.name}, until a reader knows ({wait:g}: never)"
    row.add(name, known, "s")
    print(f"{peer.design.name}: of the writer's death, a reader learned {outcome}")
    await peer.kill()


async def _joining(row: Row, peer: designs.Running) -> None:
    for title, ends in (("the writer's SIGKILL", False), ("the end", True), (CRASH, False)):
        load = peer.new_load(1, row.seconds(STORED), ends=ends, stays=True, silence=SILENCE)
        writer = await peer.ready("publish", load)
        tell(writer)
        sent = (await printed(writer))["sent"]
        if title == CRASH:
            await peer.backend.crash()
        elif not ends:
            await killed(writer)
        got = await printed(await peer.ready("watch", load))
        name = f"joining after {title}: {peer.design.name}"
        row.add(f"{name}, of what was written", got["chunks"] / sent, "×")
        print(f"{name}: {got['chunks']} of {sent}, {got['outcome']}")
        await peer.kill()
