"""Pictures of the figures: for each row and unit, a bar for each median, with a line from the least to the most."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby
from pathlib import Path

import matplotlib

matplotlib.use("Agg")

from matplotlib import pyplot

from benchmarks.figures import Figure


def draw(figures: Sequence[Figure], directory: Path) -> None:
    """Write a PNG for each row and unit."""
    directory.mkdir(parents=True, exist_ok=True)
    ordered = sorted(figures, key=lambda figure: (figure.row, figure.unit))
    for (row, unit), group in groupby(ordered, key=lambda figure: (figure.row, figure.unit)):
        _draw([*group], unit, directory / f"row{row:02}-{_word(unit)}.png")


def _draw(figures: list[Figure], unit: str, path: Path) -> None:
    picture, axes = pyplot.subplots(figsize=(9, 0.8 + 0.32 * len(figures)), layout="constrained")
    medians = [figure.median for figure in figures]
    spread = [
        [figure.median - min(figure.values) for figure in figures],
        [max(figure.values) - figure.median for figure in figures],
    ]
    ours = ["#2563eb" if "ours" in figure.name or "monostream" in figure.name else "#9ca3af" for figure in figures]
    axes.barh([figure.name for figure in figures], medians, xerr=spread, color=ours)
    axes.invert_yaxis()
    axes.set_xlabel(unit or "ratio")
    picture.savefig(path, dpi=120)
    pyplot.close(picture)


def _word(unit: str) -> str:
    return "".join(character for character in unit if character.isalnum()) or "ratio"
