"""Measure this package beside others, and beside what its parts do at best.

python benchmarks/run.py [--rows 1,2,3] [--rounds 3] [--quick] [--json benchmarks/run.json]
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks.backends import Server
from benchmarks.figures import Figure, Row, report, table
from benchmarks.rows import appends, delivery, imports, peers, responses, scenarios

ROWS: dict[int, Callable[[Row], Awaitable[None]]] = {
    1: delivery.sustained_rate,
    2: delivery.latency,
    3: delivery.idle,
    4: appends.appends,
    6: delivery.neighbours,
    7: responses.replay,
    8: responses.fan_out,
    9: responses.silent_readers,
    11: responses.joins,
    12: peers.crash,
    13: imports.imports,
    14: scenarios.scenarios,
    16: peers.speed,
    17: peers.faults,
}


async def measure(numbers: list[int], rounds: int, *, quick: bool) -> list[Figure]:
    figures: list[Figure] = []
    with Server() as server:
        for number in numbers:
            row = Row(number, server, quick=quick)
            for _ in range(rounds):
                await ROWS[number](row)
            print(table(row.figures), flush=True)
            figures += row.figures
    return figures


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--rows", type=lambda text: [int(number) for number in text.split(",")], default=[*ROWS]
    )
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument(
        "--quick",
        action="store_true",
        help="one round at the smallest size: whether the rows run, not what they measure",
    )
    parser.add_argument("--json", type=Path, default=Path(__file__).with_suffix(".json"))
    options = parser.parse_args()
    rounds = 1 if options.quick else options.rounds
    figures = asyncio.run(measure(options.rows, rounds, quick=options.quick))
    stored = report(figures, ("asyncpg", "sqlalchemy", "aiosqlite"))
    options.json.write_text(json.dumps(stored, indent=2, ensure_ascii=False) + "\n")


if __name__ == "__main__":
    main()
