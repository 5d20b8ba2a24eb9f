"""The WorkflowChatTransport of @ai-sdk/workflow comes back by itself, counts chunks, and asks no
more than it must.

Wire items 42 and 43. Its chat is one of `ai` 7.0.173; the transport reads with the release that it
brings along.
"""

from __future__ import annotations

from collections.abc import Sequence
from random import Random
from typing import Any, Final, NamedTuple
from urllib.parse import parse_qs, urlsplit

import pytest

from monostream_ai.ui_messages import Chunk
from tests.clients.reading import expect
from tests.clients.resuming.conftest import Serve
from tests.clients.resuming.judging import complaints_about_whole
from tests.clients.resuming.releases import OVER_ANSWERED, OVER_PARTIAL, REFRESH, SAME_TAB
from tests.clients.resuming.scenarios import Scenarios
from tests.clients.resuming.stories import Cut, Story, Told, tell
from tests.clients.resuming.test_continuing import END, EXCHANGES, START, STEP, earlier, text

RELEASE: Final = "7.0.173"
HELLO: Final = {"hello": [START, STEP, *text("t", "Hel", "lo", " there", "."), *END]}
STOPPED: Final = {"stopped": [*HELLO["hello"][:6], {"type": "abort"}]}


class Plan(NamedTuple):
    """Cuts of responses that follow each other, and a reply that has written enough for each of
    them.
    """

    begins: list[int]
    """The index of the first chunk of each response."""
    cuts: list[Cut]
    stages: list[list[int]]

    @classmethod
    def random(cls, name: str, chunks: Sequence[Chunk]) -> Plan:
        random, plan = Random(name), cls([0], [], [])
        # Past `finish` it does not come back, and past an error the chat is over.
        last = len(chunks) if chunks[-1]["type"] == "abort" else len(chunks) - 1
        for number in range(random.randint(1, 3)):
            at, inside = random.randint(plan.begins[-1], last), random.randint(0, 1)
            # It gives up after three broken bodies in a row.
            cleanly = number == 1 or random.random() < 0.5
            plan.cuts.append(Cut(at - plan.begins[-1], inside * random.randint(1, 200), cleanly))
            plan.stages.append([max(at + inside, 1), number + 1])
            plan.begins.append(at)
        return plan

    def lines(self) -> list[dict[str, Any]]:
        return [cut._asdict() for cut in self.cuts]


def sent_types(chunks: Sequence[Chunk]) -> list[str]:
    """Return the types of all that a chat reads of these chunks: an error is the last."""
    types = [chunk["type"] for chunk in expect("any", chunks).sent]
    return [*types, "finish"] if types[-1] == "abort" else types


def types_in(log: Sequence[dict[str, Any]]) -> list[str]:
    types = [type for request in log for type in request["types"]]
    return types[: types.index("error") + 1] if "error" in types else types


def indices_in(log: Sequence[dict[str, Any]]) -> list[int]:
    """Return the start index of each GET."""
    return [
        int(parse_qs(urlsplit(request["url"]).query)["startIndex"][0])
        for request in log
        if request["method"] == "GET"
    ]


def story(scenario: str, views: Sequence[str] = (), **more: Any) -> Story:
    # This transport asks again without the headers of the chat.
    return Story(RELEASE, scenario, views=views, more=more, silent=True)


async def test_it_asks_once_when_nothing_breaks(serve: Serve, some_recorded: Scenarios) -> None:
    served = await serve(some_recorded)

    told = await tell([story(name, workflow={}) for name in some_recorded], served.url)

    for each in told:
        assert [request["method"] for request in each.cut["log"]] == ["POST"]
        assert types_in(each.cut["log"]) == sent_types(some_recorded[each.story.scenario])


async def test_cuts_anywhere_are_made_good(serve: Serve, some_recorded: Scenarios) -> None:
    served = await serve(some_recorded)
    plans = {name: Plan.random(name, chunks) for name, chunks in some_recorded.items()}
    told = await tell(
        [
            story(
                name,
                workflow={},
                cuts=plan.lines(),
                script={"scenario": name, "stages": plan.stages},
            )
            for name, plan in plans.items()
        ],
        served.url,
    )

    def sent(each: Told) -> list[Chunk]:
        return [
            {**START, "messageId": served.message_ids[each.chat_id]},
            *some_recorded[each.story.scenario][1:],
        ]

    assert list(complaints_about_whole(told, sent)) == []
    for each in told:
        first, *later = plans[each.story.scenario].begins
        assert indices_in(each.cut["log"]) == later, each
        assert types_in(each.cut["log"]) == sent_types(some_recorded[each.story.scenario])


async def test_a_page_loaded_anew_reads_all_and_comes_back_to_it(
    serve: Serve, some_recorded: Scenarios
) -> None:
    served = await serve(some_recorded)
    stories, plans = list[Story](), dict[str, Plan]()
    for name, chunks in some_recorded.items():
        plans[name] = plan = Plan.random(f"anew {name}", chunks[:-1])
        # A chat whose turn has ended has nothing for a page that asks for all of it.
        stages = [*plan.stages, [len(chunks) - 1, len(plan.begins)]]
        more = {
            "viewWorkflow": {},
            "viewCuts": plan.lines(),
            "script": {"scenario": name, "stages": stages},
        }
        stories.append(Story(RELEASE, name, Cut(1), [REFRESH], more=more))
    told = await tell(stories, served.url)

    for each in told:
        assert indices_in(each.views[REFRESH]["log"]) == plans[each.story.scenario].begins
        assert types_in(each.views[REFRESH]["log"]) == sent_types(
            some_recorded[each.story.scenario]
        )


@pytest.mark.parametrize("replays", [True, False])
async def test_a_page_loaded_anew_gets_all_of_a_message_that_went_on(
    serve: Serve, replays: bool
) -> None:
    served = await serve(
        {name: exchange.then for name, exchange in EXCHANGES.items()} | earlier(EXCHANGES)
    )
    unbroken = await tell([went_on(name, replays) for name in EXCHANGES], served.url)
    whole = {each.story.scenario: each.views[REFRESH] for each in unbroken}
    every = 1 if replays else 6
    cuts = [
        (name, Cut(at))
        for name in EXCHANGES
        for at in range(1, len(types_in(whole[name]["log"])), every)
    ]
    told = await tell([went_on(name, replays, cut) for name, cut in cuts], served.url)

    for each in told:
        [cut], expected = each.story.more["viewCuts"], whole[each.story.scenario]
        for view, seen in each.views.items():
            assert indices_in(seen["log"]) == [0, cut["events"]]
            # A refusal is told at once in a replay that also has the question, and else as stored.
            assert len(types_in(seen["log"])) == len(types_in(expected["log"]))
            doubled = (
                not replays and view == OVER_ANSWERED and "approvals" in each.story.more["answers"]
            )
            assert (parts_in(seen) == parts_in(expected)) != doubled


def went_on(name: str, replays: bool, cut: Cut | None = None) -> Story:
    """Return a story whose pages read a message that goes on.

    Unless told that the transport replays, `ai` shows twice what a page has of a message whose
    approval was answered.
    """
    exchange = EXCHANGES[name]
    more = {
        "earlier": {"scenario": f"before {name}", "stages": []},
        "answers": exchange.answers,
        # It ends when both pages have come back.
        "script": {"scenario": name, "stages": [[len(exchange.then) - 1, 2 if cut is None else 4]]},
        "viewWorkflow": {"replays": replays},
        "viewCuts": [] if cut is None else [cut._asdict()],
    }
    return Story(RELEASE, name, Cut(1), (REFRESH, OVER_ANSWERED), more=more)


def parts_in(seen: dict[str, Any]) -> list[dict[str, Any]]:
    parts: list[dict[str, Any]] = seen["messages"][-1]["parts"]
    return parts


@pytest.mark.parametrize("window", [0.0, 60.0])
@pytest.mark.parametrize("ended", ["never begun", "hello", "stopped"])
async def test_an_idle_chat_is_asked_once_and_stays_as_it_is(
    serve: Serve, ended: str, window: float
) -> None:
    served = await serve(HELLO | STOPPED, replay_window=window)
    begun = ended != "never begun"
    more = {"viewWorkflow": {}} | ({} if begun else {"script": None})
    [told] = await tell([story(ended, [OVER_PARTIAL], **more)], served.url)

    seen = told.views[OVER_PARTIAL]
    assert (seen["status"], seen["error"]) == ("ready", None)
    assert seen["messages"] == told.cut["messages"]
    types = sent_types((HELLO | STOPPED)[ended]) if begun and window else ["finish"]
    assert [(request["method"], request["types"]) for request in seen["log"]] == [("GET", types)]


@pytest.mark.parametrize("cleanly", [True, False])
async def test_a_stop_whose_ending_is_missed_is_asked_for_once(serve: Serve, cleanly: bool) -> None:
    served = await serve(STOPPED)
    cuts = [Cut(len(STOPPED["stopped"]), cleanly=cleanly)._asdict()]
    [told] = await tell([story("stopped", workflow={}, cuts=cuts)], served.url)

    assert [request["types"] for request in told.cut["log"]] == [
        sent_types(STOPPED["stopped"])[:-1],
        ["finish"],
    ]
    assert told.cut["status"] == "ready"


@pytest.mark.sweep(1)
@pytest.mark.parametrize("index", range(-12, 0))
async def test_a_tail_goes_on_where_it_broke_off(serve: Serve, index: int) -> None:
    served = await serve(HELLO)
    chunks, stored = HELLO["hello"], 7
    # The first page asks for the tail of the stored chunks, which then grow in number.
    more = {
        "script": {"scenario": "hello", "stages": [[stored, 1], [len(chunks) - 1, 2]]},
        "viewWorkflow": {"startIndex": index},
        "viewCuts": [Cut(2)._asdict()],
    }
    [told] = await tell([Story(RELEASE, "hello", Cut(1), [REFRESH], more=more)], served.url)

    seen, begin = told.views[REFRESH], max(0, stored + index)
    assert indices_in(seen["log"]) == [index, begin + 2]
    assert types_in(seen["log"]) == sent_types(chunks)[begin:]
    assert (seen["status"], seen["error"]) == ("ready", None)


async def test_an_index_goes_on_where_it_broke_off(serve: Serve) -> None:
    served = await serve(HELLO)
    more = {
        "script": {"scenario": "hello", "stages": [[3, 1], [6, 2]]},
        "viewWorkflow": {"startIndex": 2},
        "viewCuts": [Cut(2)._asdict()],
    }
    [told] = await tell([Story(RELEASE, "hello", Cut(1), [REFRESH], more=more)], served.url)

    seen = told.views[REFRESH]
    assert indices_in(seen["log"]) == [2, 4]
    assert types_in(seen["log"]) == sent_types(HELLO["hello"])[2:]
    [part] = parts_in(seen)
    assert part["text"] == "Hello there."


@pytest.mark.parametrize("replays", [True, False])
async def test_after_it_has_given_up_the_page_can_come_back(serve: Serve, replays: bool) -> None:
    served = await serve(HELLO)
    first, *thrice = [Cut(number)._asdict() for number in (4, 1, 0, 1)]

    def gives_up(cuts: list[dict[str, Any]], returns: int) -> Story:
        script = {"scenario": "hello", "stages": [[6, returns]]}
        return story(
            "hello", [SAME_TAB], workflow={"replays": replays}, script=script, cuts=[first, *cuts]
        )

    stories = [story("hello", workflow={}), gives_up(thrice, 4), gives_up([{"rejected": True}], 1)]
    whole, broken_off, rejected = await tell(stories, served.url)

    assert [each.cut["status"] for each in (broken_off, rejected)] == ["error", "error"]
    assert indices_in(broken_off.views[SAME_TAB]["log"]) == [4, 5, 5, 0]
    assert parts_in(broken_off.views[SAME_TAB]) == parts_in(whole.cut)
    # Unless told that the transport replays, `ai` appends the answer to the message it has.
    assert indices_in(rejected.views[SAME_TAB]["log"]) == [4, 0]
    assert (parts_in(rejected.views[SAME_TAB]) == parts_in(whole.cut)) == replays
