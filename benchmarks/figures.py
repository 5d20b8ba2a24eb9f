"""Figures that the rows measure: collected by name, printed as a table, stored as JSON."""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import TypeVar

from benchmarks.processes import Server

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
    values: list[float]
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
        self._number, self._quick = number, quick
        self.figures: dict[str, Figure] = {}

    def add(self, name: str, value: float, unit: str, target: str = "") -> None:
        """Add the value of this round. Names are listed in the order in which they come up."""
        target = "" if self._quick else target
        figure = self.figures.setdefault(name, Figure(self._number, name, unit, [], target))
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
    width = max((len(figure.name) for figure in figures), default=0)
    lines = [f"row {'':{width}} {'median':>10} {'min':>10} {'max':>10} {'':9} target"]
    for figure in figures:
        values = (figure.median, min(figure.values), max(figure.values))
        numbers = " ".join(f"{value:>10,.{0 if abs(value) >= 1000 else 2}f}" for value in values)
        end = f"{figure.unit:9} {figure.target:10} {figure.verdict}"
        lines.append(f"{figure.row:3} {figure.name:{width}} {numbers} {end}".rstrip())
    return "\n".join(lines)


def arguments(description: str | None, script: str) -> argparse.ArgumentParser:
    """Return a parser with `--json`, by default a file beside the script and named like it."""
    form = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=description, formatter_class=form)
    parser.add_argument("--json", type=Path, default=Path(script).with_suffix(".json"))
    return parser


def store(path: Path, figures: Sequence[Figure], packages: Sequence[str], **more: object) -> None:
    """Write the figures and a description of the machine as JSON."""
    machine: dict[str, object] = {"python": platform.python_version(), "load": os.getloadavg()[0]}
    machine |= {"processors": os.cpu_count(), **{name: version(name) for name in packages}}
    values = [{**asdict(figure), "median": figure.median} for figure in figures]
    stored = {"machine": machine, "figures": values, **more}
    path.write_text(json.dumps(stored, indent=2, ensure_ascii=False) + "\n")
