"""Measure this package beside others, and beside what its parts do at best.

python benchmarks/run.py [--rows 1,2,4] [--rounds 3] [--quick] [--json benchmarks/run.json]
"""

from __future__ import annotations

import asyncio
import importlib
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks.figures import Figure, Row, arguments, store, table
from benchmarks.processes import Server

ROWS = {
    1: "delivery.sustained_rate",
    2: "delivery.latency",
    4: "parts.appends",
    6: "delivery.neighbours",
    7: "responses.replay",
    8: "responses.fan_out",
    9: "responses.silent_readers",
    11: "responses.joins",
    13: "parts.imports",
    14: "delivery.scenarios",
    15: "capture.cost_of_capture",
    16: "delivery.peers",
    17: "delivery.faults",
}
"""Functions of `benchmarks.rows`, imported when they are measured: one imports every SDK."""


def function_of(row: int) -> Callable[[Row], Awaitable[None]]:
    module, _, name = ROWS[row].partition(".")
    function: Callable[[Row], Awaitable[None]] = getattr(
        importlib.import_module(f"benchmarks.rows.{module}"), name
    )
    return function


async def measure(numbers: list[int], rounds: int, *, quick: bool) -> list[Figure]:
    figures: list[Figure] = []
    with Server() as server:
        for number in numbers:
            row = Row(number, server, quick=quick)
            for _ in range(1 if quick else rounds):
                await function_of(number)(row)
            print(table([*row.figures.values()]), flush=True)
            figures += row.figures.values()
    return figures


def main() -> None:
    parser = arguments(__doc__, __file__)
    parser.add_argument("--rows", type=lambda text: [*map(int, text.split(","))], default=[*ROWS])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--quick", action="store_true", help="one round at the smallest size")
    options = parser.parse_args()
    figures = asyncio.run(measure(options.rows, options.rounds, quick=options.quick))
    store(options.json, figures, ("asyncpg", "sqlalchemy", "aiosqlite"))


if __name__ == "__main__":
    main()
