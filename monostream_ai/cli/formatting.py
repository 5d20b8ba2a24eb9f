"""Prints versions, sizes, durations and dates, for people or as JSON."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any, Final

import click
from rich.console import Console
from rich.text import Text

from monostream_ai.types import VersionInfo

STYLES: Final = {
    "open": "green",
    "waiting": "yellow",
    "closed": "default",
    "lost": "bold red",
    "pruned": "dim",
    "abandoned": "red",
}
UNITS: Final = {"s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0, "w": 604800.0}
PRIVATE: Final = frozenset({"closed_for", "metadata"})
"""Fields of a version that are not shown: they may hold prompts, or repeat another field."""

json_option = click.option(
    "--json", "as_json", is_flag=True, help="Print JSON, one value on each line."
)


def console(*, err: bool = False) -> Console:
    """Return a console for people; without a terminal its output is plain text."""
    return Console(stderr=err, highlight=False, soft_wrap=True)


def print_json(value: Mapping[str, Any]) -> None:
    """Print one line of JSON, with dates in ISO 8601."""
    click.echo(json.dumps(value, ensure_ascii=False, default=lambda date: date.isoformat()))


def as_mapping(info: VersionInfo) -> dict[str, Any]:
    """Return a version for JSON.

    `state` is `lost` for an open version without a lease, and `abandoned` for one that could not be
    settled; `chunks` counts the chunks, and
    `lease_left` is null unless the version is open and its lease ends.
    """
    fields = {name: value for name, value in asdict(info).items() if name not in PRIVATE}
    fields["chunks"] = fields.pop("next_id")
    fields["state"] = state_of(info)
    if info.state != "open" or math.isinf(info.lease_left):
        fields["lease_left"] = None
    return fields


def state_of(info: VersionInfo) -> str:
    """Return the state; `lost` for an open version whose lease has lapsed, `waiting` for one that
    waits for a successor, or `abandoned`.
    """
    if info.abandoned_at is not None:
        return "abandoned"
    return "lost" if info.lost else "waiting" if info.waiting else info.state


def styled_state(info: VersionInfo) -> Text:
    return Text(state_of(info), STYLES[state_of(info)])


def lease_of(info: VersionInfo) -> str:
    """Return the time left of an open version's lease: `none` for one that never lapses."""
    if info.state != "open":
        return ""
    return "none" if math.isinf(info.lease_left) else short_duration(info.lease_left)


def short_duration(seconds: float) -> str:
    """Return a duration in a readable unit, such as `350 ms`, `1.5 s` or `3 d`."""
    size = abs(seconds)
    if size < 1.0:
        return f"{seconds * 1000:.0f} ms"
    unit = next((unit for unit in ("s", "m", "h") if size < 100 * UNITS[unit]), "d")
    return f"{seconds / UNITS[unit]:.3g} {unit}"


def short_size(size: int) -> str:
    """Return a size in bytes, KiB, MiB or GiB."""
    value = float(size)
    for unit in ("B", "KiB", "MiB"):
        if value < 1024:
            return f"{value:.0f} B" if unit == "B" else f"{value:.1f} {unit}"
        value /= 1024
    return f"{value:.1f} GiB"


def parsed_duration(context: click.Context, parameter: click.Parameter, value: str) -> float:
    """Parse a number with its unit: `90s`, `15m`, `12h`, `30d`, `4w`. A click callback."""
    match = re.fullmatch(r"(\d+(?:\.\d+)?)([smhdw])", value, re.ASCII)
    if match is None:
        raise click.BadParameter(
            f"{value!r} is not a number with a unit, such as 90s, 15m, 12h or 30d",
            context,
            parameter,
        )
    return float(match[1]) * UNITS[match[2]]
