"""`followChats` of the npm package: all followers of a browser share one connection, which one of
them holds, and one that has left holds nothing.
"""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.browser.conftest import Play

pytestmark = pytest.mark.browser

PACKAGE = Path(__file__).parents[2] / "packages" / "reconnecting-transport"


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The module as the package ships it."""
    if not (PACKAGE / "node_modules").is_dir():
        pytest.skip("needs `npm ci` in packages/reconnecting-transport")
    folder = tmp_path_factory.mktemp("dist")
    command = ["node_modules/.bin/tsc", "--project", "tsconfig.build.json", "--outDir", str(folder)]
    subprocess.run(command, cwd=PACKAGE, check=True)
    return (folder / "chat-events.js").read_text()


def told(result: dict[str, Any], name: str) -> list[str]:
    return [each for each in result["heard"] if each.startswith(f"{name} ")]


def turns_told(result: dict[str, Any], name: str) -> list[str]:
    """Return what was told of turns; the scripted server tells about questions that wait, too."""
    return [each for each in told(result, name) if "wait:" not in each]


async def test_one_that_leaves_at_once_lets_the_next_one_follow(act: Play, source: str) -> None:
    result = await act("leavesAtOnce", source=source)

    assert told(result, "one") == []
    assert told(result, "two")[-1] == "two c1 finish"


async def test_one_that_waits_may_leave_and_leads_when_the_others_have_left(
    act: Play, source: str
) -> None:
    result = await act("leavesWhileItWaits", source=source)
    since = result["heard"].index("one leaves")

    assert not [each for each in told(result, "two") if " c1 " in each]
    assert told({"heard": result["heard"][since + 1 :]}, "one") == []
    assert told(result, "three")[-1] == "three c2 finish"


async def test_another_tab_leads_when_the_leading_one_is_closed(act: Play, source: str) -> None:
    result = await act("leadingTabCloses", source=source)

    first, *told, last = turns_told(result, "two")
    # An event may be told twice.
    assert (first, {*told}, last) == ("two hears all", {"two c1 finish"}, "two hears all")


async def test_a_follower_is_told_that_it_has_missed_some(act: Play, source: str) -> None:
    """As after an hour of sleep: the server does not list all that has ended since."""
    result = await act("sleepsLong", source=source)

    assert turns_told(result, "one") == ["one hears all", "one missed some"]


async def test_one_that_leaves_while_it_connects_asks_no_more(act: Play, source: str) -> None:
    result = await act("leavesWhileItConnects", source=source)

    assert (result["asked"], result["requests"]) == (2, 3)
    assert (told(result, "one"), told(result, "two")) == ([], [])


async def test_all_tabs_hear_how_many_questions_wait(act: Play, source: str) -> None:
    assert (await act("questionsWait", source=source))["turns"] == []
