"""The chat page fits phones, fingers hit its controls, and it keeps still where it should."""

from __future__ import annotations

import pytest

from tests.browser.conftest import Play

pytestmark = pytest.mark.browser


async def test_every_state_fits_every_phone(play: Play) -> None:
    for look in (await play("phones"))["looked"]:
        place = (look["width"], look["state"])

        assert (place, look["overflow"], look["cut"]) == (place, 0, [])
        assert (place, look["small"]) == (place, [])
        assert (place, look["covered"], look["hidden"]) == (place, False, False)
        assert (place, len(look["fonts"])) == (place, 1)


@pytest.mark.parametrize("tokens_per_second", [60])
async def test_nothing_moves_for_those_who_asked_for_that(play: Play) -> None:
    lively = await play("calm", reducedMotion="no-preference")
    calm = await play("calm", reducedMotion="reduce")

    assert "breathe" in lively["moving"]
    assert calm["moving"] == []


@pytest.mark.parametrize("tokens_per_second", [60])
async def test_a_reader_who_scrolls_up_stays_there_until_the_button_is_pressed(play: Play) -> None:
    assert min((await play("leave"))["away"]) >= 100
