"""The chat page fits phones, fingers hit its controls, and it keeps still where it should."""

from __future__ import annotations

import json

import pytest

from tests.browser.conftest import SCREENSHOTS, Play

pytestmark = pytest.mark.browser


async def test_every_state_fits_every_phone(play: Play) -> None:
    for look in (await play("phones"))["looked"]:
        place = (look["width"], look["state"])

        assert (place, look["overflow"], look["cut"]) == (place, 0, [])
        assert (place, look["small"]) == (place, [])
        assert (place, look["covered"], look["hidden"]) == (place, False, False)
        assert (place, len(look["fonts"])) == (place, 1)


async def test_nothing_jumps_while_a_page_loads_and_answers(play: Play) -> None:
    measured = (await play("figures"))["measured"]
    (SCREENSHOTS / "figures.json").write_text(json.dumps(measured, indent=1))

    # web.dev calls a cumulative layout shift of 0.1 good.
    assert {width: figures["layout_shift"] < 0.1 for width, figures in measured.items()} == {
        "360": True,
        "1280": True,
    }


@pytest.mark.parametrize("tokens_per_second", [60])
async def test_nothing_moves_for_those_who_asked_for_that(play: Play) -> None:
    lively = await play("calm", reducedMotion="no-preference")
    calm = await play("calm", reducedMotion="reduce")

    assert "breathe" in lively["moving"]
    assert calm["moving"] == []


@pytest.mark.parametrize("tokens_per_second", [60])
async def test_a_reader_who_scrolls_up_stays_there_until_the_button_is_pressed(play: Play) -> None:
    assert min((await play("leave"))["away"]) >= 100
