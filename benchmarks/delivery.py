"""Rows 1 and 2: from the process that writes to one that reads, at a given load and at the highest
that arrives in time.
"""

from __future__ import annotations

import asyncio
import json
import sys
from asyncio.subprocess import PIPE, Process
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.database import JSONB_TABLE, Server
from benchmarks.pacing import Load

HERE = Path(__file__).parent
LIMIT = 0.050
"""Seconds within which 99 % of the chunks must be with their readers."""

PATIENCE = 90.0
SETTLE = 0.3
INTERVAL = 0.020


@dataclass(frozen=True)
class Design:
    """One way to deliver: the program of its publisher and reader, and its table (None: this
    package's).
    """

    name: str
    command: tuple[str, ...]
    table: str | None = None


def python(script: str, *arguments: str) -> tuple[str, ...]:
    return (sys.executable, str(HERE / "designs" / script), *arguments)


def node(kind: str) -> tuple[str, ...]:
    return ("node", str(HERE / "node" / "stand_in.mjs"), kind)


OURS_PUSHED = Design("monostream_ai, push", python("ours.py", "push"))
OURS_WRITTEN = Design("monostream_ai, await write", python("ours.py", "write"))
OURS_SILENT = Design("monostream_ai without notifications", python("ours.py", "silent"))
OURS_UVLOOP = Design("monostream_ai on uvloop", python("ours.py", "uvloop"))
DRIZZLE = Design("Node stand-in, drizzle", node("drizzle"), JSONB_TABLE)
PLAIN_PG = Design("Node stand-in, plain pg", node("pg"), JSONB_TABLE)
NAIVE_ASYNCPG = Design("naive asyncpg", python("naive.py", "asyncpg"), JSONB_TABLE)
NAIVE_INSIDE = Design(
    "naive asyncpg, NOTIFY in the transaction", python("naive.py", "inside"), JSONB_TABLE
)
NAIVE_SQLALCHEMY = Design("naive SQLAlchemy", python("naive.py", "sqlalchemy"), JSONB_TABLE)
DESIGNS = [OURS_PUSHED, OURS_WRITTEN, DRIZZLE, PLAIN_PG, NAIVE_ASYNCPG, NAIVE_SQLALCHEMY]


@dataclass(frozen=True)
class Delivery:
    """What one run delivered; times in milliseconds, CPU in cores."""

    due: int
    in_time: int
    sent: int
    delivered: int
    p50: float
    p99: float
    cpu: dict[str, float]
    seconds: float

    @property
    def cpu_per_chunk(self) -> float:
        """Microseconds of all processes for each chunk that reached its reader."""
        return sum(self.cpu.values()) * self.seconds / max(self.delivered, 1) * 1e6

    @property
    def sustained(self) -> bool:
        return self.in_time >= 0.99 * self.due


async def deliver(server: Server, design: Design, rate: int, seconds: float) -> Delivery:
    """Run a publisher and a reader at `rate` chunks per second, 50 for each stream."""
    url = await server.new_database(table=design.table)
    streams = [f"stream-{number:04}" for number in range(max(1, round(rate * INTERVAL)))]
    load = Load(url, streams, INTERVAL, seconds)
    processes: list[Process] = []
    try:
        async with asyncio.timeout(PATIENCE + seconds):
            for role in ("publish", "read"):
                processes.append(await started([*design.command, role, load.to_json()]))
            publisher, reader = processes
            before = server.cpu()
            wrote = await finished(publisher)
            await asyncio.sleep(SETTLE)
            used = server.cpu() - before
            read = await finished(reader)
    finally:
        for process in processes:
            if process.returncode is None:
                process.kill()
            await process.wait()
        await server.drop(url)
    times = sorted(read["latencies"]) or [10**9]
    cpu = {
        "publisher": wrote["cpu"] / seconds,
        "reader": read["cpu"] / seconds,
        "Postgres": used / seconds,
    }
    in_time = sum(time <= LIMIT * 1e6 for time in times)
    p50, p99 = (times[min(len(times) - 1, int(len(times) * part))] / 1e3 for part in (0.5, 0.99))
    return Delivery(
        load.chunks, in_time, wrote["sent"], len(read["latencies"]), p50, p99, cpu, seconds
    )


async def started(command: list[str]) -> Process:
    """Start a program that says when it is ready."""
    process = await asyncio.create_subprocess_exec(*command, stdin=PIPE, stdout=PIPE, limit=2**28)
    assert process.stdout is not None
    said = await process.stdout.readline()
    if said != b"ready\n":
        raise RuntimeError(f"{command[:3]} said {said!r}")
    return process


async def finished(process: Process) -> Any:
    """Tell a program to go on, and return its result."""
    assert process.stdin is not None and process.stdout is not None
    process.stdin.write(b"go\n")
    result = json.loads(await process.stdout.readline())
    await process.wait()
    return result


async def highest_rate(
    server: Server, design: Design, first: int, seconds: float
) -> tuple[int, Delivery | None]:
    """Climb from `first` in steps of an eighth until a load is not delivered in time; one failure
    is repeated.
    """
    best: tuple[int, Delivery | None] = (0, None)
    rate = first
    while True:
        delivered = await deliver(server, design, rate, seconds)
        if not delivered.sustained:
            delivered = await deliver(server, design, rate, seconds)
        if delivered.sustained:
            best = (rate, delivered)
            rate = round(rate * 1.125 / 50) * 50
        elif best[0] or rate < 200:
            return best
        else:
            rate = round(rate / 2 / 50) * 50
