"""How people read numbers, times and states."""

from __future__ import annotations

import math
import re
from typing import Final

import click
from rich.text import Text

from monostream_ai.types import VersionInfo

STYLES: Final = {"open": "green", "closed": "default", "lost": "bold red", "pruned": "dim"}
UNITS: Final = {"s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0, "w": 604800.0}


def state_of(info: VersionInfo) -> str:
    """Return the state, where an open version without a lease is lost."""
    return "lost" if info.lost else info.state


def styled_state(info: VersionInfo) -> Text:
    return Text(state_of(info), STYLES[state_of(info)])


def lease_of(info: VersionInfo) -> str:
    """Return what is left of an open version's lease."""
    if info.state != "open":
        return ""
    return "none" if math.isinf(info.lease_left) else short_duration(info.lease_left)


def short_duration(seconds: float) -> str:
    """Return a duration in its largest fitting unit, such as `1.5 s` or `3 d`."""
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
    """Read seconds, or a number with a unit: `90`, `15m`, `12h`, `30d`, `4w`. A callback of click."""
    match = re.fullmatch(r"(\d+(?:\.\d+)?)([smhdw]?)", value, re.ASCII)
    if match is None:
        raise click.BadParameter(
            f"{value!r} is not a duration such as 90, 15m, 12h or 30d", context, parameter
        )
    return float(match[1]) * UNITS[match[2] or "s"]
