"""Whether a measure is flat: the slope of its last two thirds, and its second and last sixth."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

Sample = dict[str, Any]
"""The measures of one moment by name, and its `seconds` since the load began."""


@dataclass(frozen=True)
class Measure:
    """A measure that must not grow.

    Args:
        allowed: How much it may grow over the last two thirds: a share of its median, and an
            amount.
        only: Name of another measure and two values: a sample counts if it lies between them.
    """

    name: str
    unit: str
    allowed: tuple[float, float]
    only: tuple[str, float, float] | None = None


@dataclass(frozen=True)
class Verdict:
    """How a measure went; the slope is that of least squares over the last two thirds."""

    measure: str
    unit: str
    median: float
    slope_per_hour: float
    second_sixth: float
    last_sixth: float
    allowed: float
    flat: bool


def judge(measure: Measure, samples: Sequence[Sample], length: float) -> Verdict | None:
    """Return None if there is too little to judge.

    Args:
        length: Seconds of the whole run.
    """
    points = [
        (sample["seconds"], float(sample[measure.name]))
        for sample in samples
        if _counts(measure, sample)
    ]
    last = [point for point in points if point[0] >= length / 3]
    sixths = [
        [value for seconds, value in points if place <= seconds * 6 / length < place + 1]
        for place in (1, 5)
    ]
    if len(last) < 4 or not all(sixths):
        return None
    middle = statistics.median(value for _, value in last)
    slope = statistics.linear_regression(*zip(*last, strict=True)).slope
    second, sixth = map(statistics.median, sixths)
    share, amount = measure.allowed
    allowed = share * middle + amount
    flat = slope * length * 2 / 3 <= allowed and sixth - second <= allowed
    return Verdict(measure.name, measure.unit, middle, slope * 3600, second, sixth, allowed, flat)


def _counts(measure: Measure, sample: Sample) -> bool:
    if sample.get(measure.name) is None:
        return False
    if measure.only is None:
        return True
    name, least, most = measure.only
    return least <= float(sample[name]) <= most


def table(verdicts: Sequence[Verdict]) -> str:
    names = ("median", "second sixth", "last sixth", "slope per h", "may grow")
    lines = [f"{'':18} " + " ".join(f"{name:>12}" for name in names)]
    for each in verdicts:
        values = (each.median, each.second_sixth, each.last_sixth, each.slope_per_hour)
        numbers = " ".join(f"{value:12,.1f}" for value in (*values, each.allowed))
        lines.append(
            f"{each.measure:18} {numbers} {each.unit:3} {'flat' if each.flat else 'GROWS'}"
        )
    return "\n".join(lines)


def columns(samples: Sequence[Sample]) -> dict[str, list[Any]]:
    """Return the samples by measure, which takes less room."""
    names = dict.fromkeys(name for sample in samples for name in sample)
    return {name: [_short(sample.get(name)) for sample in samples] for name in names}


def rows(columns: Mapping[str, Sequence[Any]]) -> list[Sample]:
    """Undo `columns`."""
    return [
        dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True)
    ]


def _short(value: Any) -> Any:
    return round(value, 3) if isinstance(value, float) else value
