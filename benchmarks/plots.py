"""Pictures of the figures: `python benchmarks/plots.py benchmarks/run.json DIRECTORY`, or `--plots`
of run.py.

For each row and unit: a bar for each median, with a line from the least to the most; and where a
p50 has its p99, a line from one to the other.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from itertools import groupby
from pathlib import Path

import matplotlib

matplotlib.use("Agg")

from matplotlib import pyplot

sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks.figures import Figure

OURS = "#2563eb"
OTHERS = "#9ca3af"
MIDDLE, LATE = ", p50", ", p99"


def draw(figures: Sequence[Figure], directory: Path) -> None:
    """Write a PNG for each row and unit."""
    directory.mkdir(parents=True, exist_ok=True)
    ordered = sorted(figures, key=lambda figure: (figure.row, figure.unit))
    for (row, unit), group in groupby(ordered, key=lambda figure: (figure.row, figure.unit)):
        figures_of_row = [*group]
        late = {
            figure.name.removesuffix(LATE): figure
            for figure in figures_of_row
            if figure.name.endswith(LATE)
        }
        middle = {
            figure.name.removesuffix(MIDDLE): figure
            for figure in figures_of_row
            if figure.name.endswith(MIDDLE)
        }
        ranges = {name: (figure, late[name]) for name, figure in middle.items() if name in late}
        in_ranges = {id(figure) for pair in ranges.values() for figure in pair}
        rest = [figure for figure in figures_of_row if id(figure) not in in_ranges]
        if ranges:
            draw_ranges(ranges, unit, directory / f"row{row:02}-{_word(unit)}-range.png")
        if rest:
            draw_bars(rest, unit, directory / f"row{row:02}-{_word(unit)}.png")


def draw_bars(figures: Sequence[Figure], unit: str, path: Path) -> None:
    picture, axes = pyplot.subplots(figsize=(9, 0.8 + 0.32 * len(figures)), layout="constrained")
    medians = [figure.median for figure in figures]
    spread = [
        [figure.median - min(figure.values) for figure in figures],
        [max(figure.values) - figure.median for figure in figures],
    ]
    axes.barh(
        [figure.name for figure in figures],
        medians,
        xerr=spread,
        color=[_color(figure.name) for figure in figures],
    )
    axes.invert_yaxis()
    axes.set_xlabel(unit or "share")
    picture.savefig(path, dpi=120)
    pyplot.close(picture)


def draw_ranges(ranges: dict[str, tuple[Figure, Figure]], unit: str, path: Path) -> None:
    """Draw a line from each p50 to its p99, on a logarithmic axis."""
    picture, axes = pyplot.subplots(figsize=(9, 0.8 + 0.32 * len(ranges)), layout="constrained")
    for name, (middle, late) in ranges.items():
        axes.plot(
            [middle.median, late.median],
            [name, name],
            color=_color(name),
            linewidth=3,
            solid_capstyle="butt",
        )
        axes.plot([middle.median], [name], "o", color=_color(name))
    axes.invert_yaxis()
    axes.set_xscale("log")
    axes.grid(axis="x", color="#e5e7eb")
    axes.set_xlabel(f"{unit}: from the p50 (dot) to the p99")
    picture.savefig(path, dpi=100)
    pyplot.close(picture)


def _color(name: str) -> str:
    return OURS if "ours" in name or "monostream" in name else OTHERS


def _word(unit: str) -> str:
    words = {"": "share", "×": "ratio", "%": "percent"}
    return "".join(character for character in unit if character.isalnum()) or words.get(
        unit, "other"
    )


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("figures", type=Path, help="what run.py wrote")
    parser.add_argument("directory", type=Path)
    options = parser.parse_args()
    stored = json.loads(options.figures.read_text())["figures"]
    draw(
        [
            Figure(one["row"], one["name"], one["unit"], one["values"], one["target"])
            for one in stored
        ],
        options.directory,
    )


if __name__ == "__main__":
    main()
