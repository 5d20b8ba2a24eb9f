"""Drawings of the notebooks: the chunks of each publisher and reader over time, and a message."""

from __future__ import annotations

import json
import time
from typing import Any

import matplotlib.pyplot as plt
from IPython.display import Markdown
from matplotlib.figure import Figure

from monostream_ai import Cursor

COLOURS = ["#4269d0", "#f28e2b", "#3ca951", "#a463f2"]
"""One for each version, or each backend."""

plt.rcParams.update(
    {
        "figure.dpi": 110,
        "figure.constrained_layout.use": True,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.titlelocation": "left",
        "font.size": 9,
        "legend.frameon": False,
    }
)


class Timeline:
    """Records chunks and events as they happen, at instants of `time.time()`, which all processes
    share.
    """

    def __init__(self, *rows: str) -> None:
        """Name the publishers and readers, from the top."""
        self._chunks: dict[str, list[tuple[float, Cursor]]] = {row: [] for row in rows}
        self._events: list[tuple[float, str]] = []

    def chunk(self, row: str, version: int, id: int, *, at: float | None = None) -> None:
        """Record that the row's publisher or reader has a chunk, now or at an instant."""
        self._chunks[row].append((at or time.time(), Cursor(version, id)))

    def event(self, label: str) -> float:
        """Record an event at this instant, and return the instant."""
        self._events.append((time.time(), label))
        return self._events[-1][0]

    def draw(self, title: str) -> Figure:
        """Draw a row of dots for each publisher and reader, and a line for each event.

        A dot is a chunk; the later in its version, the higher.
        """
        seen = [chunk for chunks in self._chunks.values() for chunk in chunks]
        start, top = min(at for at, _ in seen), max(cursor.id for _, cursor in seen)
        figure, axes = plt.subplots(figsize=(8, 1.1 + 0.62 * len(self._chunks)))
        for row, chunks in enumerate(self._chunks.values()):
            axes.axhline(row + 0.5, color="0.9", linewidth=0.8, zorder=0)
            for at, cursor in chunks:
                height = row + 0.36 - 0.72 * cursor.id / top
                axes.plot(
                    at - start,
                    height,
                    "o",
                    color=COLOURS[cursor.version],
                    markersize=3.2,
                    markeredgewidth=0,
                )
        for at, label in self._events:
            axes.axvline(at - start, color="0.35", linestyle=":", linewidth=1)
            axes.annotate(
                label,
                (at - start, 1),
                xycoords=("data", "axes fraction"),
                ha="center",
                va="bottom",
                fontsize=8,
            )
        self._label(axes, title, sorted({cursor.version for _, cursor in seen}))
        plt.close(figure)  # the cell shows it once, as its value
        return figure

    def _label(self, axes: Any, title: str, versions: list[int]) -> None:
        axes.set_yticks(range(len(self._chunks)), list(self._chunks))
        axes.set_ylim(len(self._chunks) - 0.5, -0.5)
        axes.tick_params(axis="y", length=0)
        axes.spines["left"].set_visible(False)
        axes.set_xlabel("seconds")
        axes.set_title(title, pad=18)
        handles = [
            axes.plot([], [], "o", color=COLOURS[each], markersize=5)[0] for each in versions
        ]
        names = [f"version {each}" for each in versions]
        axes.legend(handles, names, loc="upper left", bbox_to_anchor=(1, 1), handletextpad=0.1)


def show_message(message: dict[str, Any]) -> Markdown:
    """Return a message as a chat shows it: its text, and a quoted block for each tool call."""
    shown = [_show_part(part) for part in message["parts"]]
    return Markdown("\n\n".join(part for part in shown if part))


def _show_part(part: dict[str, Any]) -> str:
    if part["type"] in ("text", "reasoning"):
        return str(part["text"])
    if "toolCallId" not in part:
        return ""
    name = part.get("toolName", part["type"].removeprefix("tool-"))
    lines = [f"**{name}** `{json.dumps(part.get('input'))}`", f"*{part['state']}*"]
    if "output" in part:
        lines[1] += f" → `{json.dumps(part['output'], ensure_ascii=False)}`"
    return "\n>\n".join(f"> {line}" for line in lines)
