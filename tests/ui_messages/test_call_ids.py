"""Calls of one message get ids of their own, also when a model uses an id again."""

from __future__ import annotations

from monostream_ai.ui_messages import UIMessageBuilder
from monostream_ai.ui_messages.call_ids import CallIds


def message(*call_ids: str) -> UIMessageBuilder:
    builder = UIMessageBuilder()
    for call_id in call_ids:
        builder.tool_call(call_id, "clock", {})
    return builder


def test_a_call_is_found_although_the_first_one_with_its_id_was_taken_back() -> None:
    ids = CallIds(message("c1#2"), ["c1#2"])

    assert ids.find("c1") == "c1#2"


def test_an_id_that_a_model_has_made_is_found_though_it_looks_like_a_repetition() -> None:
    ids = CallIds(message("c1#2", "c2", "c2#2"), ["c1#2", "c2", "c2#2"])

    assert ids.find("c1#2") == "c1#2"
    assert ids.published("c2") == ["c2", "c2#2"]


def test_no_id_is_given_to_two_calls() -> None:
    ids = CallIds(message("c1", "c1#3"), ["c1", "c1#3"])

    published = [ids.publish("c1"), ids.publish("c1")]

    assert len({"c1", "c1#3", *published}) == 4
