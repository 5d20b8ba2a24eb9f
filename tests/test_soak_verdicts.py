"""When `benchmarks/soak.py` calls a measure flat."""

from __future__ import annotations

import random
from collections.abc import Callable

from benchmarks.flatness import Measure, Verdict, columns, judge, rows

LENGTH = 1800.0
MEMORY = Measure("memory 0", "MB", allowed=(0.02, 1.0))


def verdict(value: Callable[[float], float], measure: Measure = MEMORY) -> Verdict | None:
    noise = random.Random(1)
    times = [5.0 * number for number in range(360)]
    samples = [
        {"seconds": time, measure.name: value(time) + noise.gauss(0, 1), "age 1": time % 60}
        for time in times
    ]
    return judge(measure, samples, LENGTH)


def test_what_only_wavers_is_flat() -> None:
    judged = verdict(lambda seconds: 80.0)
    assert judged is not None and judged.flat


def test_what_grows_only_while_it_warms_up_is_flat() -> None:
    judged = verdict(lambda seconds: 80.0 - 20.0 * max(0.0, 1 - seconds / 240))
    assert judged is not None and judged.flat


def test_a_leak_of_ten_megabytes_an_hour_is_not_flat() -> None:
    judged = verdict(lambda seconds: 80.0 + 10.0 * seconds / 3600)
    assert judged is not None and not judged.flat
    assert 9.0 < judged.slope_per_hour < 11.0


def test_what_grows_late_in_the_run_is_not_flat() -> None:
    judged = verdict(lambda seconds: 80.0 if seconds < 1500 else 90.0)
    assert judged is not None and not judged.flat


def test_a_process_that_was_just_started_does_not_count() -> None:
    judged = verdict(
        lambda seconds: 80.0 if seconds % 60 >= 10 else 0.0,
        Measure("memory 1", "MB", (0.02, 1.0), ("age 1", 10.0, 60.0)),
    )
    assert judged is not None and judged.median > 75.0


def test_nothing_is_said_of_what_was_hardly_measured() -> None:
    assert (
        judge(
            MEMORY,
            [{"seconds": 1700.0, "memory 0": 80.0}, {"seconds": 1705.0, "memory 0": None}],
            LENGTH,
        )
        is None
    )


def test_samples_come_back_from_what_is_stored() -> None:
    stored = columns([{"seconds": 5.0, "memory 0": 80.0}, {"seconds": 10.0}])
    assert rows(stored) == [{"seconds": 5.0, "memory 0": 80.0}, {"seconds": 10.0, "memory 0": None}]
