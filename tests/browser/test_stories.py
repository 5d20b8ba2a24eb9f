from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from tests.browser.conftest import Play
from tests.browser.demo import Demo, Turn

pytestmark = [pytest.mark.browser, pytest.mark.sweep(10, of="file")]

on_two_servers = pytest.mark.parametrize("store", ["postgresql"])
everywhere = pytest.mark.parametrize("store", ["sqlite", "postgresql"])
slowly = pytest.mark.parametrize("tokens_per_second", [60])
kills = pytest.mark.parametrize("kills", [True], ids=["kills"])

STORY = (Path(__file__).parents[2] / "examples" / "chat" / "answers" / "story.md").read_text()


def shown_words(markdown: str) -> list[str]:
    """Return the words of a text as a page shows them, without list numbers and code languages."""
    return words(re.sub(r"^(```\w*|\d+\.)", "", markdown, flags=re.MULTILINE))


def words(text: str) -> list[str]:
    return re.findall(r"\w+", text)


def assert_holds(tab: dict[str, Any], turn: Turn) -> None:
    """Fail unless the tab holds exactly the stored answer."""
    assert tab["messageId"] == turn.message["id"]
    assert tab["copied"] == turn.text
    assert words(tab["visible"]) == shown_words(turn.text)
    assert (tab["version"], tab["chunks"]) == (turn.version, len(turn.chunks))
    assert tab["stopped"] is turn.message.get("metadata", {}).get("stopped", False)
    assert tab["tools"] == [
        part["state"] for part in turn.message["parts"] if part["type"] == "dynamic-tool"
    ]


def assert_beginnings(seen: list[str], turn: Turn) -> None:
    """Fail if a tab ever showed anything but a prefix of the answer.

    The last word may be incomplete.
    """
    whole = shown_words(turn.text)
    for each in seen:
        *complete, last = words(each)
        assert complete == whole[: len(complete)]
        assert whole[len(complete)].startswith(last)


def ending(turn: Turn) -> str:
    kind: str = turn.chunks[-1]["type"]
    return kind


async def test_a_question_is_answered(play: Play, demo: Demo) -> None:
    result = await play("send")
    turn = await demo.turn()

    assert_holds(result["ended"], turn)
    assert (result["ended"]["tools"], result["ended"]["answers"], ending(turn)) == (
        ["output-available"],
        1,
        "finish",
    )
    assert f"```python\n{result['code']}\n```" in turn.text


@slowly
async def test_an_answer_survives_three_reloads(play: Play, demo: Demo) -> None:
    result = await play("reload")
    turn = await demo.turn()

    assert_holds(result["ended"], turn)
    assert_beginnings(result["seen"], turn)
    assert (result["wasRunning"], result["ended"]["answers"], turn.attempt) == (True, 1, 1)
    assert turn.text.strip() == STORY.strip()


@slowly
@everywhere
async def test_a_second_tab_shows_the_same(play: Play, demo: Demo) -> None:
    result = await play("secondTab")
    turn = await demo.turn()

    assert_holds(result["ended"], turn)
    assert result["other"] == result["ended"]
    assert_beginnings(result["seen"], turn)
    assert result["wasRunning"]


@kills
@slowly
@everywhere
async def test_an_answer_survives_the_crash_button(play: Play, demo: Demo) -> None:
    result = await play("crashButton")
    turn = await demo.turn()

    assert_holds(result["ended"], turn)
    assert_beginnings(result["seen"], turn)
    assert (result["ended"]["answers"], ending(turn)) == (1, "finish")
    assert (turn.version, turn.attempt) == (0, 2)
    assert turn.text.strip() == result["other"]["copied"].strip() == STORY.strip()
    assert result["before"] != result["after"]
    assert result["said"].startswith("The server stopped. Another one takes over…")


@kills
async def test_the_page_names_the_new_server_after_a_crash_while_nothing_runs(play: Play) -> None:
    result = await play("crashWhileIdle")

    assert result["named"] != result["killed"]


@kills
@everywhere
async def test_an_answer_survives_the_death_of_its_writer(play: Play, demo: Demo) -> None:
    result = await play("killWriter")
    turn = await demo.turn()

    assert_holds(result["ended"], turn)
    assert result["other"] == result["ended"]
    assert (result["ended"]["answers"], turn.attempt, ending(turn)) == (1, 2, "finish")
    assert result["before"] != result["after"]
    # The tool was not called again.
    assert f"process {result['before']}" in turn.text.replace("*", "")


@kills
async def test_an_answer_on_the_stock_page_survives_the_death_of_its_writer(
    play: Play, demo: Demo
) -> None:
    result = await play("stockCrash", "stock/")
    turn = await demo.turn()

    assert result["ended"]["answers"] == [
        part["text"] for part in turn.message["parts"] if part["type"] == "text"
    ]
    assert (turn.attempt, ending(turn)) == (2, "finish")


@slowly
async def test_a_stopped_answer_keeps_what_was_there(play: Play, demo: Demo) -> None:
    result = await play("stop")
    turn = await demo.turn()

    assert_holds(result["ended"], turn)
    assert result["other"] == result["ended"]
    assert_beginnings(result["seen"], turn)
    assert (result["ended"]["stopped"], ending(turn)) == (True, "abort")
    assert len(result["seen"][0]) <= len(turn.text) < len(STORY)


@slowly
@on_two_servers
async def test_a_stop_in_one_tab_ends_the_answer_in_the_other(play: Play, demo: Demo) -> None:
    result = await play("stopInAnotherTab")
    turn = await demo.turn()

    assert_holds(result["ended"], turn)
    assert result["other"] == result["ended"]
    assert (result["ended"]["stopped"], ending(turn)) == (True, "abort")


async def test_an_answer_can_be_asked_for_again(play: Play, demo: Demo) -> None:
    result = await play("askAgain")
    turn = await demo.turn()

    assert_holds(result["ended"], turn)
    assert result["other"] == result["ended"]
    assert (result["ended"]["answers"], turn.version) == (1, result["first"]["version"] + 1)
    assert result["ended"]["copied"] == result["first"]["copied"]


@slowly
async def test_the_list_leads_back_to_a_chat_that_answers(play: Play, demo: Demo) -> None:
    result = await play("chatList")

    assert_holds(result["ended"], await demo.turn())
    assert result["open"] == result["ended"]["questions"]


@slowly
@pytest.mark.parametrize(
    ("choice", "state"), [("Allow", "output-available"), ("Decline", "approval-responded")]
)
async def test_a_call_waits_for_the_user_in_each_tab(
    play: Play, demo: Demo, choice: str, state: str
) -> None:
    result = await play("approval", choice=choice)
    turn = await demo.turn()

    assert result["other"] == result["ended"]
    assert (result["ended"]["tools"], turn.version, ending(turn)) == ([state], 1, "finish")


async def test_a_call_that_was_passed_over_waits_no_longer(play: Play) -> None:
    result = await play("undecided")

    assert (result["card"].split("\n"), result["buttons"]) == (["Delete file", "Not decided"], 0)


@slowly
async def test_answers_show_progress_pictures_forms_and_errors(play: Play) -> None:
    result = await play("parts")

    assert result["picture"] > 0
    assert result["questions"][3] == "Guests: 3, Time: 18:30, Name: Ann"
    assert (result["closed"], result["overflow"]) == (True, 0)
    red, green, _ = map(int, re.findall(r"\d+", result["dot"])[:3])
    assert red > 2 * green


async def test_a_question_can_be_asked_in_other_words(play: Play, demo: Demo) -> None:
    result = await play("edit")

    assert_holds(result["ended"], await demo.turn())
    assert result["other"] == result["ended"]
    assert (result["kept"], result["ended"]["answers"], result["overflow"]) == ("Hello!", 1, 0)
    assert result["ended"]["questions"] == [
        "How can a streamed answer survive a crash of its server?"
    ]


@slowly
async def test_chats_are_found_by_the_words_of_their_titles(play: Play) -> None:
    result = await play("searchChats")

    assert result["found"] == ["What is the weather in Zürich?"]
    assert (result["others"], result["all"]) == (0, 3)
    assert (result["running"], result["left"]) == (True, "")
    assert result["focused"] == [True, True]


@slowly
async def test_a_chat_is_renamed_by_keyboard_alone_and_in_every_tab(play: Play) -> None:
    result = await play("renameByKeyboard")

    assert (result["focus"], result["running"]) == ("Rename: A keeper and his light", True)
    assert result["named"] == "A keeper and his light · monostream_ai"
    assert result["unnamed"].startswith("Tell me a long story")


async def test_a_chat_is_renamed_on_a_phone(play: Play) -> None:
    assert (await play("renameOnPhone"))["overflow"] == 0


async def test_a_chat_is_deleted_by_keyboard_alone(play: Play) -> None:
    result = await play("deleteByKeyboard")

    assert result["outlines"] == ["solid", "solid"]
    assert (result["kept"], result["left"], result["focus"]) == (1, "idle", "composer")


async def test_a_tab_shows_that_its_chat_was_deleted_in_another_one(play: Play, demo: Demo) -> None:
    result = await play("deletedElsewhere")

    assert result["left"] == 0
    assert_holds(result["ended"], await demo.turn())


async def test_a_guest_who_signs_up_keeps_the_chat(play: Play, demo: Demo) -> None:
    result = await play("signUp")

    assert_holds(result["ended"], await demo.turn())
    assert (result["ended"], result["left"]) == (result["before"], 0)


async def test_the_page_fits_a_phone_and_turns_dark(play: Play, demo: Demo) -> None:
    for portrait in (await play("looks"))["held"]:
        red, green, blue = map(int, re.findall(r"\d+", portrait["background"])[:3])

        assert_holds(portrait["ended"], await demo.turn(portrait["chat"]))
        assert portrait["overflow"] <= 0
        assert (max(red, green, blue) < 128) == portrait["look"].endswith("dark")
