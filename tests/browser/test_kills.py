"""The process that writes an answer is killed again and again, and no reader sees a word vanish."""

from __future__ import annotations

import os
import statistics
from typing import Final

import pytest

from tests.browser.conftest import Play
from tests.browser.demo import Demo
from tests.browser.test_stories import STORY

pytestmark = pytest.mark.browser

KILLS: Final = int(os.environ.get("MONOSTREAM_KILLS", "3"))
"""`MONOSTREAM_KILLS=50 scripts/test tests/browser/test_kills.py -s` prints figures to quote."""

SLOWEST: Final = 12.0
"""Seconds, far more than a machine takes that is busy with other tests, but less than a lease."""


@pytest.mark.parametrize("tokens_per_second", [60])
@pytest.mark.parametrize("database_url", ["sqlite", "postgresql"], indirect=True)
async def test_no_kill_takes_a_word_back(play: Play, demo: Demo, database_url: str) -> None:
    result = await play("kills", kills=KILLS)

    assert result["shrunk"] == []
    assert {story.strip() for story in result["stories"]} == {STORY.strip()}
    seconds = sorted(result["seconds"])
    print(
        f"{database_url.partition(':')[0]}: {len(seconds)} kills, {result['frames']} frames, "
        f"next character after {statistics.median(seconds):.2f} s (p50) "
        f"and {seconds[max(0, round(0.99 * len(seconds)) - 1)]:.2f} s (p99)"
    )
    assert len(seconds) == KILLS
    assert seconds[-1] < SLOWEST
