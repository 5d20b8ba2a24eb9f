"""Both pages of the chat example on a server that breaks.

In the end they show the same as a reader of the stream gets.
"""

from __future__ import annotations

from typing import Any

import pytest

from monostream_ai.ui_messages import reduce_chunks
from tests.browser.conftest import Play
from tests.browser.scripted_server import Scripted

pytestmark = pytest.mark.browser

STOCK = "stock/"
on_each_page = pytest.mark.parametrize(
    "page", [pytest.param("", id="reconnecting"), pytest.param(STOCK, id="stock")]
)


async def read(scripted: Scripted, chat_id: str = "c1") -> str:
    """Return the text of the latest turn as a reader of the stream gets it."""
    chunks = [chunk async for chunk in scripted.service.subscribe(f"chat:{chat_id}", timeout=10.0)]
    parts = reduce_chunks(chunks, finished=True)["parts"]
    return "".join(part["text"] for part in parts if part["type"] == "text").strip()


def numbered(count: int) -> str:
    return " ".join(f"w{number}" for number in range(count))


async def assert_shows(
    held: dict[str, Any], scripted: Scripted, words: int, chat_id: str = "c1"
) -> None:
    """Fail unless the page shows one question, one whole answer, and no error."""
    text = await read(scripted, chat_id)
    assert text == numbered(words)
    assert ([answer.strip() for answer in held["answers"]], held["alert"]) == ([text], None)
    assert len(held["questions"]) == 1


@on_each_page
async def test_a_chat_without_a_run_is_ready_at_once(
    act: Play, scripted: Scripted, page: str
) -> None:
    result = await act("noRun", page)

    await assert_shows(result["ended"], scripted, 20)
    assert result["before"] == ["ready"]
    # StrictMode mounts a page twice, but the page resumes once.
    assert scripted.requests("GET") == [204]


@on_each_page
async def test_a_page_in_strict_mode_joins_a_running_answer_once(
    act: Play, scripted: Scripted, page: str
) -> None:
    result = await act("activeRun", page)

    await assert_shows(result["ended"], scripted, 40)
    assert result["other"] == result["ended"]
    assert scripted.requests("GET") == [204, 200]


async def test_an_answer_that_began_in_another_tab_is_shown_and_marked_without_a_reload(
    act: Play, scripted: Scripted
) -> None:
    result = await act("beganElsewhere")

    await assert_shows(result["ended"], scripted, 40)
    assert result["other"] == result["ended"]


@on_each_page
async def test_two_reloads_lose_and_repeat_nothing(
    act: Play, scripted: Scripted, page: str
) -> None:
    result = await act("reloadTwice", page)

    await assert_shows(result["ended"], scripted, 60)
    assert scripted.requests("GET") == [204, 200, 200]


async def test_a_page_that_sends_tool_results_by_itself_asks_once(
    act: Play, scripted: Scripted
) -> None:
    result = await act("resultAtTheEnd", STOCK)

    await assert_shows(result["ended"], scripted, 20)
    assert result["other"] == result["reloaded"] == result["ended"]
    assert scripted.requests("POST") == [200]
    assert scripted.requests("GET") == [204, 200, 200]


@on_each_page
async def test_a_broken_stream_reconnects_when_its_window_is_back(
    act: Play, scripted: Scripted, page: str
) -> None:
    result = await act("killThenVisible", page)

    await assert_shows(result["ended"], scripted, 40)
    assert scripted.requests("GET")[:2] == [204, 200]


async def test_a_broken_stream_reconnects_when_the_network_is_back(
    act: Play, scripted: Scripted
) -> None:
    result = await act("offlineThenOnline")

    await assert_shows(result["ended"], scripted, 40)
    assert scripted.requests("GET") == [204, 200]


@on_each_page
async def test_a_stream_that_breaks_twice_is_whole_in_the_end(
    act: Play, scripted: Scripted, page: str
) -> None:
    result = await act("doubleKill", page)

    await assert_shows(result["ended"], scripted, 60)
    assert scripted.requests("GET") == [204, 200, 200]


@on_each_page
async def test_a_reader_who_is_refused_does_not_keep_asking(act: Play, page: str) -> None:
    # The reconnecting page also notices that an answer runs without being shown, and tries once to
    # join it.
    assert (await act("refused", page))["requests"] <= (1 if page == STOCK else 2)


@on_each_page
async def test_an_answer_that_ended_while_the_connection_was_lost_is_whole(
    act: Play, scripted: Scripted, page: str
) -> None:
    result = await act("endedMeanwhile", page)

    await assert_shows(result["ended"], scripted, 40)
    assert scripted.requests("GET") == [204, 200]


async def test_cuts_at_any_byte_lose_and_repeat_nothing(act: Play, scripted: Scripted) -> None:
    for each in (await act("cutAnywhere"))["held"]:
        await assert_shows(each["ended"], scripted, 100, each["chat"])
        assert each["cuts"] >= 2
        assert len(scripted.requests("GET", each["chat"])) == 1 + each["cuts"]


async def test_an_end_without_a_terminal_chunk_does_not_count(
    act: Play, scripted: Scripted
) -> None:
    result = await act("cleanEnd")

    await assert_shows(result["ended"], scripted, 40)
    assert scripted.requests("GET") == [204, 200]


async def test_the_stock_page_takes_such_an_end_for_the_whole_answer_until_it_is_reloaded(
    act: Play, scripted: Scripted
) -> None:
    result = await act("stockCleanEnd", STOCK)

    assert [answer.strip() for answer in result["early"]["answers"]] == [numbered(20)]
    await assert_shows(result["ended"], scripted, 40)


async def test_a_page_opened_while_the_server_is_down_finds_the_answer_later(
    act: Play, scripted: Scripted
) -> None:
    result = await act("serverDownOnMount")

    await assert_shows(result["ended"], scripted, 40)
    assert result["other"] == result["ended"]


async def test_the_stock_page_opened_while_the_server_is_down_must_be_reloaded(
    act: Play, scripted: Scripted
) -> None:
    result = await act("stockServerDownOnMount", STOCK)

    assert (result["early"]["alert"], result["still"]) == ("Failed to fetch", result["early"])
    await assert_shows(result["ended"], scripted, 40)
    assert result["other"] == result["ended"]


@on_each_page
async def test_three_tabs_show_the_same(act: Play, scripted: Scripted, page: str) -> None:
    result = await act("threeTabs", page)

    await assert_shows(result["ended"], scripted, 60)
    assert result["ended"] == result["other"] == result["another"]


@on_each_page
async def test_a_stopped_answer_is_the_same_after_a_reload(
    act: Play, scripted: Scripted, page: str
) -> None:
    result = await act("stopThenReload", page)

    await assert_shows(result["ended"], scripted, 20)
    assert result["other"] == result["ended"]
    assert (await scripted.service.status("chat:c1")).state == "closed"
    assert (await scripted.service.chunks("chat:c1"))[-1]["type"] == "abort"


async def test_an_answer_goes_on_while_another_chat_is_open(act: Play, scripted: Scripted) -> None:
    result = await act("unmount")

    await assert_shows(result["ended"], scripted, 40)
    assert scripted.requests("GET") == [204, 200]


@on_each_page
async def test_a_late_resume_that_finds_nothing_harms_no_answer(
    act: Play, scripted: Scripted, page: str
) -> None:
    result = await act("lateNothing", page)

    await assert_shows(result["ended"], scripted, 40)
    assert (scripted.requests("GET"), scripted.requests("POST")) == ([204], [200])


@on_each_page
async def test_a_failed_answer_is_kept_and_not_asked_for_again(
    act: Play, scripted: Scripted, page: str
) -> None:
    result = await act("errorChunk", page)

    assert [answer.strip() for answer in result["failed"]["answers"]] == [numbered(20)]
    assert "An error occurred." in result["failed"]["alert"]
    assert "the script says so" not in result["failed"]["alert"]
    assert [answer.strip() for answer in result["ended"]["answers"]] == [numbered(20), numbered(40)]
    assert (result["ended"]["alert"], scripted.requests("GET")) == (None, [204])


async def test_questions_asked_in_two_tabs_at_once_are_answered_one_after_another(
    act: Play, scripted: Scripted
) -> None:
    result = await act("askTogether")

    for tab in ("ended", "other"):
        assert result[tab]["questions"] == ["20 | 20", "30"]
        assert [answer.strip() for answer in result[tab]["answers"]] == [numbered(40), numbered(30)]
    assert scripted.requests("POST") == [200, 200]


async def test_a_question_that_is_not_taken_is_called_unanswered(act: Play) -> None:
    assert "No more today." in (await act("notTaken"))["alert"]


async def test_an_answer_that_has_ended_is_not_called_running(
    act: Play, scripted: Scripted
) -> None:
    result = await act("justEnded")

    assert scripted.requests("GET") == [204, 200]
    assert not [said for said in result["said"] if "running" in said or "not" in said]


async def test_questions_typed_during_an_answer_wait_on_the_server(
    act: Play, scripted: Scripted
) -> None:
    result = await act("queued")

    assert (result["draft"], result["waiting"]) == ("10", ["5", "15"])
    for tab in ("ended", "other"):
        assert result[tab]["questions"] == ["20 | 20", "5", "15"]
        assert [answer.strip() for answer in result[tab]["answers"]] == [
            numbered(words) for words in (40, 5, 15)
        ]
    assert scripted.requests("POST") == [200, 202, 202, 202]


async def test_a_question_follows_a_failed_answer(act: Play, scripted: Scripted) -> None:
    result = await act("queuedBehindAnError")

    assert result["ended"]["questions"] == ["20 | !", "5"]
    assert [answer.strip() for answer in result["ended"]["answers"]] == [numbered(20), numbered(5)]
    assert scripted.requests("POST") == [200, 202]


async def test_every_tab_says_how_an_answer_ended_that_failed_at_once(act: Play) -> None:
    result = await act("failsAtOnce")

    assert [answer.strip() for answer in result["ended"]["answers"]] == [
        numbered(words) for words in (20, 5, 20)
    ]
    assert result["other"] == result["ended"]


async def test_tools_are_listed_in_words_and_named_on_demand(act: Play) -> None:
    in_words = {
        "search_flights": "Search flights",
        "searchFlights": "Search flights",
        "mcp__travel__search_flights": "Search flights",
        "web.search-page": "Search page",
        "getURLOfPage": "Get URL of page",
        "LIST_FILES": "List files",
        "__": "__",
    }

    result = await act("toolNames", names=[*in_words])

    assert result["listed"] == [*in_words.values()]
    for name, card in zip(in_words, result["opened"], strict=True):
        assert name in card.splitlines()


async def test_everything_works_with_the_keyboard(act: Play, scripted: Scripted) -> None:
    result = await act("keyboard")

    assert [answer.strip() for answer in result["ended"]["answers"]] == [numbered(20)]
    await assert_shows(result["again"], scripted, 40)
    assert {"New chat", "Copy the answer", "Answer again", "Message", "Details"} <= {
        *result["reached"]
    }


@on_each_page
async def test_a_burst_of_5000_deltas_arrives_whole(
    act: Play, scripted: Scripted, page: str
) -> None:
    result = await act("burst", page)

    await assert_shows(result["ended"], scripted, 5005)
