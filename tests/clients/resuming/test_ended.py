"""Pages that come back to a turn that has ended already. Wire items 13 and 14."""

from __future__ import annotations

from typing import Final

import pytest

from tests.clients.resuming.conftest import Serve
from tests.clients.resuming.releases import OLD, OVER_PARTIAL, REFRESH, RELEASES, SAME_TAB
from tests.clients.resuming.stories import Cut, Story, Told, tell
from tests.clients.resuming.test_continuing import (
    DYNAMIC,
    END_AFTER_A_RESULT,
    OUTPUT,
    START,
    STEP,
    call,
    text,
)

VIEWS: Final = (SAME_TAB, REFRESH, OVER_PARTIAL)
KEEPS_FAILING: Final = frozenset({"6.0.100", "6.0.230", "7.0.0", "7.0.31"})
"""They stay in status `error` when there is nothing to come back to."""

ENDED: Final = {
    "ended": [
        START,
        STEP,
        *text("t", "Hel", "lo"),
        *call("c1", **DYNAMIC),
        OUTPUT,
        *END_AFTER_A_RESULT,
    ]
}


async def ended(serve: Serve, release: str, window: float) -> list[Told]:
    """Return what came of a response that was whole, and of one that broke when all of its chunks
    had come.
    """
    served = await serve(ENDED, replay_window=window)
    told = await tell(
        [Story(release, "ended", cut, VIEWS) for cut in (None, Cut(len(ENDED["ended"])))],
        served.url,
    )
    assert [each.cut["status"] for each in told] == ["ready", "error"]
    return told


@pytest.mark.sweep(1)
@pytest.mark.parametrize("release", RELEASES)
async def test_without_a_window_every_page_keeps_what_it_has(serve: Serve, release: str) -> None:
    for told in await ended(serve, release, 0.0):
        for view in (SAME_TAB, OVER_PARTIAL):
            assert told.views[view]["messages"] == told.cut["messages"]
        assert [message["role"] for message in told.views[REFRESH]["messages"]] == ["user"]
        for view, seen in told.views.items():
            keeps_failing = view == SAME_TAB and release in KEEPS_FAILING
            assert seen["status"] == (told.cut["status"] if keeps_failing else "ready")


@pytest.mark.sweep(1)
@pytest.mark.parametrize("release", RELEASES)
async def test_within_the_window_a_page_whose_history_was_read_before_gets_the_answer(
    serve: Serve, release: str
) -> None:
    whole, broken = await ended(serve, release, 60.0)

    for told in (whole, broken):
        assert told.views[REFRESH]["messages"] == told.cut["messages"]
        # The fault for which old clients need a server without a window.
        assert (told.views[OVER_PARTIAL]["messages"] == told.cut["messages"]) == (
            release not in OLD
        )
    assert (whole.views[SAME_TAB]["messages"] == whole.cut["messages"]) == (release not in OLD)
