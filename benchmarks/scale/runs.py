"""Real runs at some loads, to hold the simulation against; kept in runs.json."""

from __future__ import annotations

import asyncio
import json
import os
import statistics
import sys
from asyncio.subprocess import Process
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from benchmarks.database import Server
from benchmarks.delivery import INTERVAL, SETTLE, python, started
from benchmarks.pacing import Load
from benchmarks.scale.disk import DiskProbe

PATH = Path(__file__).with_name("runs.json")
RATES = (3_200, 12_800, 25_600)
SECONDS = 3.0


@dataclass(frozen=True)
class Run:
    """One load, of streams with 50 chunks per second each; CPU in cores, times in milliseconds.

    Args:
        others: Cores that other programs used meanwhile.
        disk: Seconds that a small write took meanwhile, as in `Costs.flush`.
    """

    rate: int
    others: float
    disk: list[float]
    chunks_per_batch: float
    notifications: float
    reads: float
    database: float
    writer: float
    reader: float
    p50: float

    @property
    def streams(self) -> int:
        return round(self.rate * INTERVAL)


def load_runs(path: Path = PATH) -> list[Run]:
    return [Run(**values) for values in json.loads(path.read_text())]


def save_runs(runs: Sequence[Run], path: Path = PATH) -> None:
    path.write_text(json.dumps([asdict(run) for run in runs], indent=2) + "\n")


async def measure_runs(server: Server, rounds: int) -> list[Run]:
    """Return, for each load, the round in which other programs used the processors least."""
    found: dict[int, list[Run]] = {rate: [] for rate in RATES}
    for _ in range(rounds):
        for rate, runs in found.items():
            runs.append(await _run(server, rate))
            print(runs[-1], file=sys.stderr)
    return [min(runs, key=lambda run: run.others) for runs in found.values()]


async def _run(server: Server, rate: int) -> Run:
    url = await server.new_database()
    load = Load(
        url, [f"stream-{number:04}" for number in range(round(rate * INTERVAL))], INTERVAL, SECONDS
    )
    processes: list[Process] = []
    try:
        for role in ("publish", "read"):
            processes.append(await started([*python("counted.py"), role, load.to_json()]))
        publisher, reader = processes
        _go(reader)
        before, busy = server.cpu(), _busy()
        with DiskProbe() as disk:
            _go(publisher)
            sent, counted = await _said(publisher), await _said(publisher)
        await asyncio.sleep(SETTLE)
        used, all_used = server.cpu() - before, _busy() - busy
        _go(reader)
        read, latencies = await _said(reader), (await _said(reader))["latencies"]
    finally:
        for process in processes:
            if process.returncode is None:
                process.kill()
            await process.wait()
        await server.drop(url)
    return Run(
        rate,
        (all_used - used - sent["cpu"] - read["cpu"]) / SECONDS,
        disk.waits,
        chunks_per_batch=sent["sent"] / counted["batches"],
        notifications=counted["notifications"] / SECONDS,
        reads=read["reads"] / SECONDS,
        database=used / SECONDS,
        writer=sent["cpu"] / SECONDS,
        reader=read["cpu"] / SECONDS,
        p50=statistics.median(latencies) / 1e3,
    )


def _go(process: Process) -> None:
    assert process.stdin is not None
    process.stdin.write(b"go\n")


async def _said(process: Process) -> Any:
    assert process.stdout is not None
    return json.loads(await process.stdout.readline())


def _busy() -> float:
    """Return the seconds that this machine's processors were not idle."""
    # user, nice, system, idle, iowait, irq, softirq, steal: proc(5), /proc/stat.
    user, nice, system, _, _, irq, softirq, steal = map(
        int, Path("/proc/stat").read_text().split()[1:9]
    )
    return (user + nice + system + irq + softirq + steal) / os.sysconf("SC_CLK_TCK")
