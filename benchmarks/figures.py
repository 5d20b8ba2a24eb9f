"""What was measured: a table to read, and JSON to compare."""

from __future__ import annotations

import os
import platform
import statistics
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from importlib.metadata import version
from typing import Any

PACKAGES = ("asyncpg", "sqlalchemy", "aiosqlite")


@dataclass
class Figure:
    """One line of the table: a value for each round, and the target for their median.

    Args:
        row: The number of the question that it answers; see README.md.
    """

    row: int
    name: str
    unit: str
    values: list[float] = field(default_factory=list)
    target: str = ""

    @property
    def median(self) -> float:
        return statistics.median(self.values)

    @property
    def met(self) -> bool | None:
        """Whether the median meets the target; None if there is none."""
        if not self.target:
            return None
        sign, limit = self.target.split()
        return self.median <= float(limit) if sign == "<=" else self.median >= float(limit)


class Figures:
    """Collects values by name, in the order in which names come up."""

    def __init__(self, row: int) -> None:
        self._row = row
        self._by_name: dict[str, Figure] = {}

    def add(self, name: str, value: float, unit: str, target: str = "") -> None:
        self._by_name.setdefault(name, Figure(self._row, name, unit, [], target)).values.append(
            value
        )

    def all(self) -> list[Figure]:
        return [*self._by_name.values()]


def table(figures: Sequence[Figure]) -> str:
    width = max(len(figure.name) for figure in figures)
    lines = [f"row {'':{width}} {'median':>10} {'min':>10} {'max':>10} {'':9} target"]
    for figure in figures:
        numbers = " ".join(
            f"{_short(value):>10}"
            for value in (figure.median, min(figure.values), max(figure.values))
        )
        verdict = {None: "", True: "met", False: "NOT MET"}[figure.met]
        lines.append(
            f"{figure.row:3} {figure.name:{width}} {numbers} {figure.unit:9} {figure.target:10} {verdict}".rstrip()
        )
    return "\n".join(lines)


def report(figures: Sequence[Figure]) -> dict[str, Any]:
    machine = {
        "python": platform.python_version(),
        "processors": os.cpu_count(),
        "load": os.getloadavg()[0],
        **{name: version(name) for name in PACKAGES},
    }
    return {
        "machine": machine,
        "figures": [{**asdict(figure), "median": figure.median} for figure in figures],
    }


def _short(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.2f}"
