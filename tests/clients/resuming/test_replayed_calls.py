"""A page that comes back does not run its tools again, and does not see again what was meant for a
moment. Wire item 44.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

import pytest

from monostream_ai.ui_messages import Chunk
from tests.clients.resuming.conftest import Serve
from tests.clients.resuming.judging import complaints_about, complaints_about_whole, views_of
from tests.clients.resuming.releases import REFRESH, RELEASES, SAME_TAB, profile_of
from tests.clients.resuming.stories import Cut, Story, Told, tell
from tests.clients.resuming.test_continuing import DYNAMIC, END, START, STEP, call, text

METADATA: Final = {"providerMetadata": {"openai": {"itemId": "i"}}}


def output(call_id: str, **keys: object) -> Chunk:
    return {"type": "tool-output-available", "toolCallId": call_id, "output": {"temp": 21}, **keys}


CALLS: Final[list[Chunk]] = [
    START,
    STEP,
    {"type": "data-progress", "data": 1, "transient": True},
    {"type": "data-state", "id": "s", "data": {"done": 0}},
    *call("streamed", **DYNAMIC),
    output("streamed", **DYNAMIC),
    *text("t", "And ", "now?"),
    # Its input does not stream.
    call("sudden")[-1],
    {"type": "data-progress", "data": 2, "transient": True},
    *call("beside"),
    {"type": "tool-output-error", "toolCallId": "beside", "errorText": "It broke."},
    output("sudden"),
    {"type": "data-state", "id": "s", "data": {"done": 1}},
    *call("described", **METADATA),
    output("described"),
    {**call("elsewhere")[-1], "providerExecuted": True},
    output("elsewhere", providerExecuted=True),
    *call("open", **DYNAMIC),
    *END,
]
RESULTS: Final = ("tool-output-available", "tool-output-error")


def calls_to_run(release: str, stored: int) -> list[str]:
    """Return the calls that a page hears of which comes back when so many chunks are stored, in
    their order.
    """
    answered = {chunk["toolCallId"] for chunk in CALLS[:stored] if chunk["type"] in RESULTS}
    # `ai` 5 knows their metadata from the chunk that runs them, and from no other.
    repeated = {"described"} if profile_of(release) == "v5" else set[str]()
    return [call_id for call_id in _announced() if call_id not in answered or call_id in repeated]


def _announced(chunks: Sequence[Chunk] = CALLS) -> Iterator[str]:
    for chunk in chunks:
        if chunk["type"] == "tool-input-available" and not chunk.get("providerExecuted"):
            yield chunk["toolCallId"]


def data_to_see(stored: int) -> list[str]:
    data = [(at, chunk) for at, chunk in enumerate(CALLS) if chunk["type"].startswith("data-")]
    return [chunk["type"] for at, chunk in data if at >= stored or not chunk.get("transient")]


@pytest.mark.sweep(1)
@pytest.mark.parametrize("release", RELEASES)
async def test_what_is_over_is_not_done_again(serve: Serve, release: str) -> None:
    served = await serve({"calls": CALLS})
    boundaries = range(1, len(CALLS))
    cuts = [Story(release, "calls", Cut(at), (SAME_TAB, REFRESH), stored=at) for at in boundaries]

    def sent(told: Told) -> list[Chunk]:
        return [{**START, "messageId": served.message_ids[told.chat_id]}, *CALLS[1:]]

    whole, *cut = await tell([Story(release, "calls"), *cuts], served.url)

    assert (whole.cut["calls"], whole.cut["data"]) == (list(_announced()), data_to_see(0))
    assert list(complaints_about_whole([whole], sent)) == []
    assert not (complaints := complaints_about(views_of(cut, [whole], sent))), complaints[0]
    for stored, told in zip(boundaries, cut, strict=True):
        for name, seen in told.views.items():
            assert (stored, name, seen["calls"]) == (stored, name, calls_to_run(release, stored))
            assert (stored, name, seen["data"]) == (stored, name, data_to_see(stored))


@pytest.mark.sweep(1)
@pytest.mark.parametrize("release", RELEASES)
async def test_who_goes_on_after_an_event_runs_no_call_that_is_over(
    serve: Serve, release: str
) -> None:
    served = await serve({"calls": CALLS})
    # The page has some chunks when its response breaks; more are stored, and after one of those it
    # breaks once more.
    places = [
        (had, min(had + more, len(CALLS) - 1))
        for had in range(1, len(CALLS) - 1)
        for more in (3, 9)
    ]
    stories = [_going_on(release, had, stored) for had, stored in places]

    whole, *told = await tell([Story(release, "calls"), *stories], served.url)

    for (had, stored), each in zip(places, told, strict=True):
        [*_, expected], [*_, shown] = whole.cut["messages"], each.cut["messages"]
        assert (had, stored, each.cut["error"], shown["parts"]) == (
            had,
            stored,
            None,
            expected["parts"],
        )
        heard = [
            call_id
            for call_id in _announced()
            if call_id in [*_announced(CALLS[:had])] + calls_to_run(release, stored)
        ]
        assert (had, stored, each.cut["calls"]) == (had, stored, heard)
        assert (had, stored, each.cut["data"]) == (had, stored, data_to_see(0))


def _going_on(release: str, had: int, stored: int) -> Story:
    """Return a story with two cuts; the reply writes the rest when the page has come back for the
    second time.
    """
    script = {"scenario": "calls", "stages": [[stored, 2]]}
    cuts = [Cut(had)._asdict(), Cut(1)._asdict()]
    return Story(release, "calls", more={"script": script, "cuts": cuts, "goesOn": True})
