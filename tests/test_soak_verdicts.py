"""When `benchmarks/soak.py` calls a measure flat."""

from __future__ import annotations

import random
from collections.abc import Callable

from benchmarks.figures import Figure
from benchmarks.soak import Sample, judge

LENGTH = 1800.0


def sampled(value: Callable[[float], float]) -> list[Sample]:
    noise = random.Random(1)
    times = [5.0 * number for number in range(360)]
    return [{"seconds": time, "memory 0": value(time) + noise.gauss(0, 1)} for time in times]


def growth(value: Callable[[float], float]) -> Figure:
    _, growth = judge("memory 0", sampled(value), LENGTH)
    return growth


def test_what_only_wavers_is_flat() -> None:
    assert growth(lambda seconds: 80.0).verdict == "met"


def test_what_grows_only_while_it_warms_up_is_flat() -> None:
    assert growth(lambda seconds: 80.0 - 20.0 * max(0.0, 1 - seconds / 240)).verdict == "met"


def test_a_leak_of_ten_megabytes_an_hour_is_not_flat() -> None:
    judged = growth(lambda seconds: 80.0 + 10.0 * seconds / 3600)
    assert judged.verdict == "NOT MET"
    assert 3.0 < judged.median < 3.7


def test_what_grows_late_in_the_run_is_not_flat() -> None:
    assert growth(lambda seconds: 80.0 if seconds < 1500 else 90.0).verdict == "NOT MET"


def test_a_sample_of_a_process_that_was_down_does_not_count() -> None:
    samples = sampled(lambda seconds: 80.0)
    for sample in samples[::2]:
        del sample["memory 0"]
    median, _ = judge("memory 0", samples, LENGTH)
    assert 79.0 < median.median < 81.0


def test_nothing_is_said_of_what_was_hardly_measured() -> None:
    samples: list[Sample] = [{"seconds": 1700.0, "memory 0": 80.0}, {"seconds": 1705.0}]
    assert judge("memory 0", samples, LENGTH) == []
