"""How far one database goes: `python benchmarks/scaling.py` prints the tables of docs/scaling.md.

They are computed from unit_costs.json, which holds measured costs, and three real loads to check
the model with: `run.py --rows 2` measures such loads.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

PATH = Path(__file__).with_name("unit_costs.json")
RATE = 50
"""Chunks per second of one stream."""

AT_ONCE = (1_000, 100_000, 10_000_000)
STREAMS_PER_PROCESS = 250
CONNECTIONS = 8
"""The most that a process has: five and two in its pools, and one that listens."""

PROCESSORS = 16
BUSY = 0.6
"""The share of a server's processors that may be busy."""

LATE = 0.1
"""Seconds from `push` to a reader from which on a database does not keep up."""

WAL_LIMIT = 200e6
"""Bytes of WAL per second that one server writes and sends to its replicas."""

Costs = dict[str, Any]
"""Of statements: seconds of CPU for itself, for each stream that it names and for each chunk in it,
`client` in the process and `server` in Postgres. `push` and `take` are of a chunk, `wake` and
`hear` of a notification for each process that listens, `flush` the seconds that a commit waits for
the disk. `wal` has the bytes of an append, `table` and `index` those of a stored chunk."""


class Cell(NamedTuple):
    """One database and its processes in balance; CPU in cores, rates in 1/s, `delay` in seconds."""

    chunks_per_batch: float
    batches: float
    database: float
    writers: float
    readers: float
    wal: float
    delay: float
    keeps_up: bool


def balance(costs: Costs, streams: int, processes: int, *, processors: int) -> Cell:
    """Find the batch that takes as long to append as the chunks of the next take to come.

    Each process writes and reads an equal part, with one append, one notification and one read in
    flight. Every notification wakes all processes; one read answers the wake-ups of the last one.
    """
    each, rate = streams / processes, RATE * streams / processes
    batch, load = 1.0, 0.0
    for _ in range(300):
        named, period, slow = min(batch, each), batch / rate, _stretch(load, processors)
        append_here, append = _cost(costs["append"], named, batch)
        notify_here, notify = _cost(costs["notify"], named, 0)
        read_one_here, read_one = _cost(costs["read"], 1, 1)
        append_here += costs["push"] * batch
        notify += costs["wake"] * processes
        # A process reads when it is woken, but not before its last read is done.
        once = read_one_here + read_one * slow
        reads = 1 / max(period / processes, once)
        read_here, read = _cost(costs["read"], min(rate / reads, each), rate / reads)
        reading = read_here * reads + costs["take"] * rate + costs["hear"] * processes / period
        writing = (append_here + notify_here) / period
        load = processes * ((append + notify) / period + read * reads) / processors
        # An append waits for the reads on its event loop, not for another append.
        cycle = append_here / (1 - min(reading, 0.95)) + append * slow + costs["flush"]
        # A chunk comes in the middle of the append before its own.
        delay = cycle * 1.5 + notify * slow + once
        # Half a step towards the balance, so that it does not swing around it.
        batch = (batch + max(1.0, rate * cycle)) / 2
    batches, cores = processes / period, [part * processes for part in (writing, reading)]
    wal = batches * _sum(costs["wal"], named, batch)
    keeps_up = load < 1 and sum(cores) < processes and delay < LATE
    return Cell(batch, batches, load * processors, *cores, wal, delay, keeps_up)


def _stretch(load: float, processors: int) -> float:
    """Return how much longer work takes with its wait for a processor.

    Source: H. Sakasegawa, "An approximation formula Lq = αρ^β/(1−ρ)", 1977, for many servers.
    """
    load = min(load, 0.99)
    return 1 + load ** (math.sqrt(2 * (processors + 1)) - 1) / (processors * (1 - load))


def _cost(costs: dict[str, list[float]], streams: float, chunks: float) -> tuple[float, float]:
    """Return the seconds of CPU in the process and in Postgres."""
    return _sum(costs["client"], streams, chunks), _sum(costs["server"], streams, chunks)


def _sum(cost: Sequence[float], streams: float, chunks: float) -> float:
    return cost[0] + cost[1] * streams + cost[2] * chunks


def cells(costs: Costs) -> dict[int, Cell]:
    """Return a database for each number of streams, up to the most that its limits allow."""
    found: dict[int, Cell] = {}
    for streams in range(1_000, 100_000, 1_000):
        cell = balance(costs, streams, streams // STREAMS_PER_PROCESS, processors=PROCESSORS)
        fits = cell.keeps_up and cell.database <= PROCESSORS * BUSY and cell.wal <= WAL_LIMIT
        if not fits and found:
            break
        found[streams] = cell
    return found


def tables(costs: Costs) -> dict[str, str]:
    """Return the tables of docs/scaling.md by the name in the comment above each."""
    statements = [("Statement", "CPU of the process", "CPU of Postgres")]
    for title, name in (("Append", "append"), ("Notification", "notify"), ("Read", "read")):
        statements.append((title, *(_formula(costs[name][side]) for side in ("client", "server"))))
    fixed, stream, chunk = costs["wal"]
    push, take, wake, hear = (costs[name] * 1e6 for name in ("push", "take", "wake", "hear"))
    sizes = [
        ("What", "Cost"),
        ("Encoding and queueing a chunk; handing it to a reader", f"{push:.1f} µs, {take:.1f} µs"),
        ("Waking a process that listens: Postgres, the process", f"{wake:.0f} µs, {hear:.0f} µs"),
        ("Wait of a commit for the disk, mean", f"{costs['flush'] * 1e3:.1f} ms"),
        ("A stored chunk: table, index", f"{costs['table']:.0f}, {costs['index']:.0f} bytes"),
        ("WAL of an append", f"{fixed:.0f} + {stream:.0f} s + {chunk:.0f} c bytes"),
    ]
    runs = [("chunks/s", "Postgres", "Writer", "Reader", "p50")]
    for run in costs["runs"]:
        # A shared disk changes from minute to minute, so each run has its own.
        own = {**costs, "flush": run["flush"]}
        cell = balance(own, round(run["rate"] / RATE), 1, processors=2)
        pairs = ((cell.database, "backend"), (cell.writers, "publisher"), (cell.readers, "reader"))
        cores = [f"{computed:.2f}, {run[name]:.2f}" for computed, name in pairs]
        runs.append((f"{run['rate']:,}", *cores, f"{cell.delay * 1e3:.1f}, {run['p50']:.1f} ms"))
    scale: list[tuple[str, ...]] = []
    possible = cells(costs)
    for at_once in AT_ONCE:
        streams = min(at_once, max(possible))
        databases, processes = -(-at_once // streams), -(-streams // STREAMS_PER_PROCESS)
        counts = (at_once, at_once * RATE, databases, databases * processes)
        each = _each(costs, possible[streams], streams, processes)
        scale.append((*(f"{count:,}" for count in counts), *each.values()))
    head = ("At once", "chunks/s", "Databases", "Processes")
    scale.insert(0, (*head, *(f"{title} of each" for title in each)))
    named = {"costs": statements, "sizes": sizes, "runs": runs, "scale": scale}
    return {name: _markdown(rows) for name, rows in named.items()}


def _each(costs: Costs, cell: Cell, streams: int, processes: int) -> dict[str, str]:
    stored = streams * RATE * (costs["table"] + costs["index"]) * 86_400 / 1e9
    return {
        "Chunks in a batch": f"{cell.chunks_per_batch:.0f}",
        # A notification is a commit, too.
        "Commits/s": f"{cell.batches * 2:,.0f}",
        "Cores": f"{cell.database:.1f}",
        "WAL": f"{cell.wal / 1e6:.0f} MB/s",
        "Stored": f"{stored:,.0f} GB a day",
        "Connections": f"{processes * CONNECTIONS}",
        "Delay": f"{cell.delay * 1e3:.0f} ms",
    }


def _formula(cost: Sequence[float]) -> str:
    fixed, stream, chunk = (part * 1e6 for part in cost)
    return f"{fixed:.0f} + {stream:.1f} s + {chunk:.1f} c µs"


def _markdown(rows: Sequence[Sequence[str]]) -> str:
    lines = ["| " + " | ".join(row) + " |" for row in rows]
    return "\n".join([lines[0], "|---" * len(rows[0]) + "|", *lines[1:]])


if __name__ == "__main__":
    for name, table in tables(json.loads(PATH.read_text())).items():
        print(f"\n{name}\n\n{table}")
