"""One picture of a run: what must be flat, over time, with the kills."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")

from matplotlib import pyplot

from benchmarks.soaking.sampling import Sample

PANELS: list[tuple[str, list[tuple[str, str]]]] = [
    ("memory, MB", [("memory 0", "process 0"), ("memory 1", "process 1")]),
    ("asyncio tasks", [("tasks 0", "process 0"), ("tasks 1", "process 1")]),
    ("open files", [("files 0", "process 0"), ("files 1", "process 1")]),
    ("connections of Postgres", [("connections", "all")]),
    ("responses that are read", [("open responses", "all")]),
    (
        "write to reader, ms",
        [
            ("p50 across", "p50, other process"),
            ("p99 across", "p99"),
            ("lag", "the reader's own delay"),
        ],
    ),
    ("stream_chunk, rows", [("stream_chunk rows", "live"), ("stream_chunk dead", "dead")]),
    (
        "tables, MB",
        [("stream_chunk size", "stream_chunk"), ("stream_version size", "stream_version")],
    ),
]


def draw(samples: Sequence[Sample], kills: Sequence[tuple[float, int]], path: Path) -> None:
    """Write a PNG. A process that was killed begins a new line."""
    path.parent.mkdir(parents=True, exist_ok=True)
    picture, grid = pyplot.subplots(4, 2, figsize=(13, 11), sharex=True, layout="constrained")
    for axes, (title, lines) in zip(grid.flat, PANELS, strict=True):
        axes.set_title(title, fontsize=10, loc="left")
        for name, label in lines:
            axes.plot(
                [sample["seconds"] / 60 for sample in samples],
                [_value(sample, name) for sample in samples],
                label=label,
            )
        for seconds, place in kills:
            axes.axvline(
                seconds / 60, color="#d1d5db" if place else "#f87171", linewidth=0.7, zorder=0
            )
        if title.endswith("ms"):
            axes.set_yscale("log")
        else:
            axes.set_ylim(bottom=0, top=1.3 * axes.get_ylim()[1])
        axes.legend(fontsize=8, loc="best")
    for axes in grid[-1]:
        axes.set_xlabel("minutes; a line is a SIGKILL, red of process 0, grey of process 1")
    picture.savefig(path, dpi=100)
    pyplot.close(picture)


def _value(sample: Sample, name: str) -> Any:
    value = sample.get(name)
    return float("nan") if value is None else value
