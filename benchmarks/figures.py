"""Figures that the rows measure: collected by name, printed as a table, stored as JSON."""

from __future__ import annotations

import os
import platform
import statistics
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from importlib.metadata import version
from typing import Any, TypeVar

from benchmarks.backends import Server

T = TypeVar("T")


@dataclass
class Figure:
    """One line of the table: a value for each round, and the target for their median.

    Args:
        row: Number of the question that it answers, as README.md lists them.
        target: Such as `<= 1.3`, or nothing.
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
    def verdict(self) -> str:
        if not self.target:
            return ""
        sign, limit = self.target.split()
        met = self.median <= float(limit) if sign == "<=" else self.median >= float(limit)
        return "met" if met else "NOT MET"


class Row:
    """One row while it is measured: its server, its size, and its figures so far.

    Args:
        quick: Measure at the smallest size, only to see that the row runs. No target is judged.
    """

    def __init__(self, number: int, server: Server, *, quick: bool = False) -> None:
        self.server = server
        self._number = number
        self._quick = quick
        self._figures: dict[str, Figure] = {}

    @property
    def figures(self) -> list[Figure]:
        return [*self._figures.values()]

    def add(self, name: str, value: float, unit: str, target: str = "") -> None:
        """Add the value of this round. Names are listed in the order in which they come up."""
        target = "" if self._quick else target
        figure = self._figures.setdefault(name, Figure(self._number, name, unit, [], target))
        figure.values.append(value)

    def seconds(self, full: float) -> float:
        return min(full, 0.5) if self._quick else full

    def count(self, full: int) -> int:
        return -(-full // 50) if self._quick else full

    def cases(self, full: Sequence[T]) -> Sequence[T]:
        return full[:1] if self._quick else full


def percentile(values: Sequence[float], part: float) -> float:
    """Return the value below which `part` of the sorted values lie."""
    return values[min(len(values) - 1, int(len(values) * part))]


def table(figures: Sequence[Figure]) -> str:
    width = max(len(figure.name) for figure in figures)
    lines = [f"row {'':{width}} {'median':>10} {'min':>10} {'max':>10} {'':9} target"]
    for figure in figures:
        values = (figure.median, min(figure.values), max(figure.values))
        numbers = " ".join(f"{_short(value):>10}" for value in values)
        end = f"{figure.unit:9} {figure.target:10} {figure.verdict}"
        lines.append(f"{figure.row:3} {figure.name:{width}} {numbers} {end}".rstrip())
    return "\n".join(lines)


def report(figures: Sequence[Figure], packages: Sequence[str]) -> dict[str, Any]:
    """Return the figures and a description of the machine, for `json.dumps`."""
    machine = {"python": platform.python_version(), "processors": os.cpu_count()}
    machine |= {"load": os.getloadavg()[0], **{name: version(name) for name in packages}}
    stored = [{**asdict(figure), "median": figure.median} for figure in figures]
    return {"machine": machine, "figures": stored}


def _short(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.2f}"
