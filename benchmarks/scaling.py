"""How far one database goes: `python benchmarks/scaling.py` prints the tables of docs/scaling.md in
about a second.

`--measure` first measures the unit costs and three real loads on this machine, in two minutes, and
stores them in scale/.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks.scale.cells import Outcome, one_database, one_machine
from benchmarks.scale.costs import Costs
from benchmarks.scale.runs import Run, load_runs

AT_ONCE = (1_000, 100_000, 10_000_000)
STREAMS_PER_PROCESS = 250
CONNECTIONS = 8
"""Of a process at most: five and two in its pools, and one that listens."""

PROCESSORS = 16
BUSY = 0.6
"""How much of a server's processors may be busy."""

WAL_LIMIT = 200e6
"""Bytes of WAL per second that one server writes and sends to its replicas."""

STEP = 1_000
MOST = 12_000
DAY = 86_400
SECONDS = 0.2


def costs_table(costs: Costs) -> str:
    rows: list[tuple[str, ...]] = [("Statement", "CPU of the process", "CPU of Postgres")]
    for name, side in (
        ("Append", costs.append),
        ("Notification", costs.notify),
        ("Read", costs.read),
    ):
        rows.append(
            (
                name,
                *(
                    _microseconds(cost.fixed, cost.stream, cost.chunk)
                    for cost in (side.client, side.server)
                ),
            )
        )
    return _markdown(rows)


def sizes_table(costs: Costs) -> str:
    disk = sorted(costs.flush)
    wal = costs.wal
    rows = [
        ("What", "Cost"),
        (
            "Encoding and queueing a chunk; handing it to a reader",
            f"{costs.push * 1e6:.1f} µs, {costs.take * 1e6:.1f} µs of CPU",
        ),
        (
            "Waking a process that listens",
            f"{costs.wake * 1e6:.0f} µs of CPU in Postgres, {costs.hear * 1e6:.0f} µs in the process",
        ),
        (
            "Making a small write durable",
            f"{disk[len(disk) // 2] * 1e3:.1f} ms in the middle, {disk[-2] * 1e3:.1f} ms one time in ten",
        ),
        ("A stored chunk", f"{costs.table:.0f} bytes in the table, {costs.index:.0f} in its index"),
        ("WAL of an append", f"{wal.fixed:.0f} + {wal.stream:.0f} s + {wal.chunk:.0f} c bytes"),
    ]
    return _markdown(rows)


def runs_table(costs: Costs, runs: Sequence[Run]) -> str:
    rows: list[tuple[str, ...]] = [
        ("chunks/s", "Chunks in a batch", "Reads/s", "Postgres", "Writer", "Reader", "p50")
    ]
    for run in runs:
        # The disk of a shared machine is another one from minute to minute: each run has its own.
        told = one_machine(replace(costs, flush=run.disk), run.streams, seconds=1.0)
        pairs = [
            (told.chunks_per_batch, run.chunks_per_batch, ".1f", ""),
            (told.counts.reads / told.seconds, run.reads, ",.0f", ""),
            (told.database, run.database, ".2f", ""),
            (told.writers, run.writer, ".2f", ""),
            (told.readers, run.reader, ".2f", ""),
            (told.counts.age(0.5) * 1e3, run.p50, ".1f", " ms"),
        ]
        rows.append(
            (
                f"{run.rate:,}",
                *(f"{one:{form}}, {other:{form}}{unit}" for one, other, form, unit in pairs),
            )
        )
    return _markdown(rows)


def scale_table(costs: Costs) -> str:
    cells = _cells(costs)
    rows: list[tuple[str, ...]] = [
        (
            "At once",
            "chunks/s",
            "Databases",
            "Processes",
            *(f"{title} of each" for title in _PER_DATABASE),
        )
    ]
    for at_once in AT_ONCE:
        databases, streams, cell = _least_databases(costs, cells, at_once)
        processes = -(-streams // STREAMS_PER_PROCESS)
        counts = f"{at_once:,}", f"{at_once * 50:,}", f"{databases:,}", f"{databases * processes:,}"
        rows.append((*counts, *_per_database(costs, cell, processes)))
    return _markdown(rows)


_PER_DATABASE = ("Chunks in a batch", "Commits/s", "Cores", "WAL", "Stored", "Connections", "p99")


def _per_database(costs: Costs, cell: Outcome, processes: int) -> tuple[str, ...]:
    seconds, counts = cell.seconds, cell.counts
    stored = counts.committed * (costs.table + costs.index) / seconds * DAY / 1e9
    return (
        f"{cell.chunks_per_batch:.0f}",
        f"{(counts.batches + counts.notifications) / seconds:,.0f}",
        f"{cell.database:.1f}",
        f"{counts.wal / seconds / 1e6:.0f} MB/s",
        f"{stored:,.0f} GB a day",
        f"{processes * CONNECTIONS}",
        f"{counts.age(0.99) * 1e3:.0f} ms",
    )


def _cells(costs: Costs) -> dict[int, Outcome]:
    """Return a database for each number of streams up to the first that is too many for it."""
    cells: dict[int, Outcome] = {}
    for streams in range(STEP, MOST + STEP, STEP):
        cell = one_database(
            costs, streams, streams // STREAMS_PER_PROCESS, processors=PROCESSORS, seconds=SECONDS
        )
        fits = (
            cell.keeps_up
            and cell.database <= PROCESSORS * BUSY
            and cell.counts.wal / SECONDS <= WAL_LIMIT
        )
        if not fits and cells:
            break
        cells[streams] = cell
    return cells


def _least_databases(
    costs: Costs, cells: dict[int, Outcome], at_once: int
) -> tuple[int, int, Outcome]:
    most = max(cells)
    databases = -(-at_once // most)
    streams = min(at_once, most)
    return databases, streams, cells[streams]


def tables(costs: Costs, runs: Sequence[Run]) -> dict[str, str]:
    """Return the tables of docs/scaling.md by the name in the comment above each."""
    return {
        "costs": costs_table(costs),
        "sizes": sizes_table(costs),
        "runs": runs_table(costs, runs),
        "scale": scale_table(costs),
    }


def _microseconds(fixed: float, stream: float, chunk: float) -> str:
    return f"{fixed * 1e6:.0f} + {stream * 1e6:.1f} s + {chunk * 1e6:.1f} c µs"


def _markdown(rows: Sequence[Sequence[str]]) -> str:
    lines = ["| " + " | ".join(row) + " |" for row in rows]
    return "\n".join([lines[0], "|---" * len(rows[0]) + "|", *lines[1:]])


async def _measure(rounds: int) -> None:
    from benchmarks.database import Server
    from benchmarks.scale.measuring import measure
    from benchmarks.scale.runs import measure_runs, save_runs

    with Server() as server:
        (await measure(server)).save()
        save_runs(await measure_runs(server, rounds))


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--measure", action="store_true", help="measure the unit costs and the real runs first"
    )
    parser.add_argument("--rounds", type=int, default=5, help="of the real runs")
    options = parser.parse_args()
    if options.measure:
        asyncio.run(_measure(options.rounds))
    for name, table in tables(Costs.load(), load_runs()).items():
        print(f"\n{name}\n\n{table}")


if __name__ == "__main__":
    main()
