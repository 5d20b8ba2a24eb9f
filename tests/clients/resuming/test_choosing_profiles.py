"""How a page says which release of `ai` it has, and what happens if it does not."""

from __future__ import annotations

from typing import Final

import pytest

from tests.clients.resuming.conftest import Serve
from tests.clients.resuming.releases import LATEST, REFRESH, RELEASES, profile_of
from tests.clients.resuming.stories import Cut, Story, tell
from tests.clients.resuming.test_continuing import END, START, STEP, call, text

NEWER: Final = {
    "v5": {"type": "tool-approval-request", "approvalId": "p", "toolCallId": "c"},
    "v6": {"type": "custom", "kind": "acme.thing"},
    "v7": {"type": "reset-step"},
}
"""A chunk that the first releases of a major fail at."""

KEEPS_THE_QUERY: Final = frozenset(LATEST)
"""Older ones append the path of a resume to the query, so their pages must use the header."""


@pytest.mark.sweep(1)
@pytest.mark.parametrize("release", RELEASES)
async def test_a_page_may_say_it_in_the_query(serve: Serve, release: str) -> None:
    profile = profile_of(release)
    served = await serve(
        {"newer": [START, STEP, *call("c"), NEWER[profile], *text("t", "Hello"), *END]}
    )
    asked = {"api": f"{served.url}/api/chat?profile={profile}", "headers": {}}
    at = 4 if release in KEEPS_THE_QUERY else None
    whole, cut = await tell(
        [
            Story(release, "newer", more=asked),
            Story(release, "newer", Cut(4), [REFRESH], stored=at, more=asked),
        ],
        served.url,
    )

    assert (whole.cut["status"], whole.cut["error"]) == ("ready", None)
    assert whole.shown is not None
    assert whole.shown["parts"][-1]["text"] == "Hello"
    seen = cut.views[REFRESH]
    if release in KEEPS_THE_QUERY:
        assert seen["messages"][-1]["parts"] == whole.shown["parts"]
    else:
        assert (seen["status"], len(seen["messages"])) == ("error", 1)


@pytest.mark.parametrize("release", ["5.0.100", "6.0.100", "7.0.60"])
async def test_a_page_that_says_nothing_fails_at_what_is_newer(serve: Serve, release: str) -> None:
    served = await serve(
        {"newer": [START, STEP, *call("c"), NEWER[profile_of(release)], *text("t", "Hello"), *END]},
        profile="v7.0.149",
    )
    [told] = await tell([Story(release, "newer", more={"headers": {}})], served.url)

    assert told.cut["status"] == "error"
