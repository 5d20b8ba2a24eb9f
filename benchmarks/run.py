"""Measure this package beside what people use, and beside what its parts can do at best: `python
benchmarks/run.py`.

python benchmarks/run.py [--rows 1,2,3] [--rounds 3] [--json benchmarks/run.json] [--plots
DIRECTORY]
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks.database import Server
from benchmarks.figures import Figure, report, table
from benchmarks.rows import (
    bulk_append,
    choices,
    counts,
    crash,
    fan_out,
    idle,
    imports,
    joins,
    latency,
    neighbours,
    peer_faults,
    peer_speed,
    replay,
    scenarios,
    sustained_rate,
)

Measure = Callable[[Server, int], Awaitable[list[Figure]]]

ROWS: dict[int, Measure] = {
    0: choices.measure,
    1: sustained_rate.measure,
    2: latency.measure,
    3: latency.measure_idle,
    4: bulk_append.measure,
    5: counts.measure,
    6: neighbours.measure,
    7: replay.measure,
    8: fan_out.measure,
    9: idle.measure,
    11: joins.measure,
    12: crash.measure,
    13: imports.measure,
    14: scenarios.measure,
    16: peer_speed.measure,
    17: peer_faults.measure,
}


async def measure(rows: list[int], rounds: int) -> list[Figure]:
    figures: list[Figure] = []
    with Server() as server:
        for row in rows:
            measured = await ROWS[row](server, rounds)
            print(table(measured), flush=True)
            figures += measured
    return figures


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--rows", type=lambda text: [int(number) for number in text.split(",")], default=[*ROWS]
    )
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", type=Path, default=Path(__file__).with_suffix(".json"))
    parser.add_argument(
        "--plots", type=Path, help="a directory for a picture of each row; needs matplotlib"
    )
    options = parser.parse_args()
    figures = asyncio.run(measure(options.rows, options.rounds))
    options.json.write_text(json.dumps(report(figures), indent=2, ensure_ascii=False) + "\n")
    if options.plots is not None:
        from benchmarks.plots import draw

        draw(figures, options.plots)


if __name__ == "__main__":
    main()
