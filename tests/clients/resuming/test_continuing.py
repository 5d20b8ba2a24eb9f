"""A message that continues after the page answered its calls.

The response has the new chunks, and a replay has the whole message.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, NamedTuple

import pytest

from monostream_ai.ui_messages import Chunk
from tests.clients.resuming.conftest import Serve
from tests.clients.resuming.judging import complaints_about, complaints_about_whole, views_of
from tests.clients.resuming.releases import (
    OVER_ANSWERED,
    OVER_PARTIAL,
    PAGES,
    REFRESH,
    RELEASES,
    SAME_TAB,
    faults_of,
)
from tests.clients.resuming.stories import Cut, Story, Told, tell

VIEWS: Final = (SAME_TAB, REFRESH, OVER_ANSWERED, OVER_PARTIAL)


def text(id: str, *deltas: str) -> list[Chunk]:
    spoken = [{"type": "text-delta", "id": id, "delta": delta} for delta in deltas]
    return [{"type": "text-start", "id": id}, *spoken, {"type": "text-end", "id": id}]


def call(id: str, **keys: Any) -> list[Chunk]:
    said = {"type": "tool-input-delta", "toolCallId": id, "inputTextDelta": '{"city": "Rome"}'}
    started = {"type": "tool-input-start", "toolCallId": id, "toolName": "ask", **keys}
    available = {
        "type": "tool-input-available",
        "toolCallId": id,
        "toolName": "ask",
        "input": {"city": "Rome"},
        **keys,
    }
    return [started, said, available]


STEP: Final[Chunk] = {"type": "start-step"}
END: Final[list[Chunk]] = [{"type": "finish-step"}, {"type": "finish", "finishReason": "stop"}]
END_AFTER_A_RESULT: Final[list[Chunk]] = [
    {"type": "finish-step"},
    {"type": "start-step"},
    {"type": "message-metadata", "messageMetadata": {}},
    *END,
]
"""An empty step keeps the page from asking again; the publisher would add it."""

ASKED: Final[list[Chunk]] = [
    {"type": "finish-step"},
    {"type": "finish", "finishReason": "tool-calls"},
]
START: Final[Chunk] = {"type": "start"}
REASONED: Final[list[Chunk]] = [
    {"type": "reasoning-start", "id": "r"},
    {"type": "reasoning-delta", "id": "r", "delta": "Hm."},
]
SAID: Final = [
    START,
    STEP,
    *REASONED,
    {"type": "reasoning-end", "id": "r"},
    *text("t", "Let me ", "see."),
]
DYNAMIC: Final[Mapping[str, Any]] = {"dynamic": True}
OUTPUT: Final[Chunk] = {
    "type": "tool-output-available",
    "toolCallId": "c1",
    "output": {"temp": 21},
    **DYNAMIC,
}


class Exchange(NamedTuple):
    first: list[Chunk]
    answers: dict[str, Any]
    then: list[Chunk]
    releases: tuple[str, ...] = RELEASES


WITH_APPROVALS: Final = tuple(release for release in RELEASES if not release.startswith("5"))

EXCHANGES: Final = {
    "an output": Exchange(
        [*SAID, *call("c1", **DYNAMIC), *ASKED],
        {"outputs": {"c1": {"temp": 21}}},
        [START, STEP, *text("u", "It is ", "warm."), *END],
    ),
    "an output of a static tool beside one of the server": Exchange(
        [*SAID, *call("c1", **DYNAMIC), OUTPUT, *call("c2"), *ASKED],
        {"outputs": {"c2": "yes"}},
        [
            START,
            STEP,
            *text("t", "Again ", "t."),
            *call("c3", **DYNAMIC),
            {**OUTPUT, "toolCallId": "c3"},
            *END_AFTER_A_RESULT,
        ],
    ),
    "a call that is approved": Exchange(
        [
            *SAID,
            *call("c1", **DYNAMIC),
            {"type": "tool-approval-request", "approvalId": "p", "toolCallId": "c1"},
            *ASKED,
        ],
        {"approvals": {"p": {"approved": True}}},
        [START, OUTPUT, STEP, *text("u", "Done."), *END],
        WITH_APPROVALS,
    ),
    "a call that is refused": Exchange(
        [
            *SAID,
            *call("c1", **DYNAMIC),
            {"type": "tool-approval-request", "approvalId": "p", "toolCallId": "c1"},
            *ASKED,
        ],
        {"approvals": {"p": {"approved": False, "reason": "No!"}}},
        [
            START,
            {"type": "tool-output-denied", "toolCallId": "c1"},
            STEP,
            *text("u", "Very well."),
            *END,
        ],
        WITH_APPROVALS,
    ),
}


@pytest.mark.sweep(1)
@pytest.mark.parametrize(("release", "silent"), PAGES)
async def test_a_cut_of_what_goes_on_is_made_good(serve: Serve, release: str, silent: bool) -> None:
    exchanges = {
        name: exchange for name, exchange in EXCHANGES.items() if release in exchange.releases
    }
    served = await serve(
        {name: exchange.then for name, exchange in exchanges.items()} | earlier(exchanges)
    )
    unbroken = [_story(release, silent, name, exchange) for name, exchange in exchanges.items()]
    cuts = [
        _story(release, silent, name, exchange, at)
        for name, exchange in exchanges.items()
        for at in range(1, len(exchange.then))
    ]

    def sent(told: Told) -> list[Chunk]:
        return [
            {**START, "messageId": served.message_ids[told.chat_id]},
            *exchanges[told.story.scenario].then[1:],
        ]

    told = await tell([*unbroken, *cuts], served.url)
    whole, cut = told[: len(unbroken)], told[len(unbroken) :]
    views = views_of(cut, whole, sent)

    for each in whole:
        # The page has the rest, so that is all it is sent.
        assert each.cut["log"][-1]["types"] == [
            chunk["type"] for chunk in exchanges[each.story.scenario].then
        ]
    assert list(complaints_about_whole(whole, sent)) == []
    assert not (complaints := complaints_about(views)), complaints[0]
    assert {fault for view in views for fault in view.faults} == set(faults_of(release))


def earlier(exchanges: Mapping[str, Exchange]) -> dict[str, list[Chunk]]:
    return {f"before {name}": exchange.first for name, exchange in exchanges.items()}


def _story(
    release: str, silent: bool, name: str, exchange: Exchange, at: int | None = None
) -> Story:
    more = {"earlier": {"scenario": f"before {name}", "stages": []}, "answers": exchange.answers}
    return (
        Story(release, name, Cut(at), VIEWS, stored=at, more=more, silent=silent)
        if at
        else Story(release, name, more=more, silent=silent)
    )
