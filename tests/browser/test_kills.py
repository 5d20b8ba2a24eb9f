"""The process that writes an answer is killed again and again, and no reader sees a word vanish."""

from __future__ import annotations

import os
import statistics
from collections import defaultdict
from collections.abc import Iterator
from typing import Final

import pytest

from tests.browser.conftest import Play
from tests.browser.demo import Demo
from tests.browser.test_stories import STORY

pytestmark = pytest.mark.browser

KILLS: Final = int(os.environ.get("MONOSTREAM_KILLS", "2"))
"""`MONOSTREAM_KILLS=50 scripts/test tests/browser/test_kills.py -s` prints figures to quote."""

AT_ONCE: Final = 10
"""Kills in one test, which has two minutes."""

Figures = defaultdict[str, list[float]]


@pytest.fixture(scope="module")
def figures() -> Iterator[Figures]:
    """The seconds of each kill, by store; printed once all tests have run."""
    figures = Figures(list)
    yield figures
    for store, unsorted in figures.items():
        seconds = sorted(unsorted)
        p50, p99 = statistics.median(seconds), seconds[-(-99 * len(seconds) // 100) - 1]
        print(f"\n{store}: {len(seconds)} kills, silent for {p50:.2f} s (p50), {p99:.2f} s (p99)")


@pytest.mark.parametrize("kills", [True], ids=["kills"])
@pytest.mark.parametrize("tokens_per_second", [60])
@pytest.mark.parametrize("store", ["sqlite", "postgresql"])
@pytest.mark.parametrize("done", range(0, KILLS, AT_ONCE))
async def test_no_kill_takes_a_word_back(
    play: Play, demo: Demo, store: str, done: int, figures: Figures
) -> None:
    count = min(AT_ONCE, KILLS - done)

    result = await play("kills", kills=count)

    assert result["shrunk"] == []
    assert {story.strip() for story in result["stories"]} == {STORY.strip()}
    assert len(result["seconds"]) == count
    figures[store] += result["seconds"]
