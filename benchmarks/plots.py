"""A line from each p50 to its p99 of one row: `python benchmarks/plots.py 16 OUT.png`."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from matplotlib import pyplot


def draw(medians: dict[str, float], path: Path) -> None:
    names = [name.removesuffix(", p50") for name in medians if name.endswith(", p50")]
    pyplot.switch_backend("Agg")
    picture, axes = pyplot.subplots(figsize=(9, 0.8 + 0.32 * len(names)), layout="constrained")
    for name in names:
        ends = [medians[f"{name}, {part}"] for part in ("p50", "p99")]
        color = "#2563eb" if "monostream" in name else "#9ca3af"
        axes.plot(ends, [name, name], color=color, linewidth=3, solid_capstyle="butt")
        axes.plot(ends[:1], [name], "o", color=color)
    axes.invert_yaxis()
    axes.set_xscale("log")
    axes.grid(axis="x", color="#e5e7eb")
    axes.set_xlabel("ms: from the p50 (dot) to the p99")
    picture.savefig(path, dpi=100)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("row", type=int)
    parser.add_argument("picture", type=Path)
    parser.add_argument("--json", type=Path, default=Path(__file__).with_name("run.json"))
    options = parser.parse_args()
    figures = json.loads(options.json.read_text())["figures"]
    medians = {one["name"]: one["median"] for one in figures if one["row"] == options.row}
    draw(medians, options.picture)
