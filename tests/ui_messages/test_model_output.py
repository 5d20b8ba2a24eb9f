from __future__ import annotations

import itertools
from typing import Any

import pytest

from monostream_ai.ui_messages import UIMessageBuilder, reduce_chunks
from monostream_ai.ui_messages.model_output import Speech, StreamedCalls
from monostream_ai.ui_messages.texts import finish_reason_of


@pytest.mark.parametrize(
    ("places", "texts"),
    [
        ([1, None, None], ["abc"]),
        ([None, 1, None], ["abc"]),
        ([None, 1, 2], ["ab", "c"]),
        ([1, None, 2], ["ab", "c"]),
        ([0, 0, 0], ["abc"]),
    ],
    ids=str,
)
def test_a_delta_without_a_place_continues_the_open_part(
    places: list[Any], texts: list[str]
) -> None:
    numbers = itertools.count()
    speech = Speech(UIMessageBuilder(), lambda kind: str(next(numbers)))

    chunks = [
        chunk
        for place, text in zip(places, "abc", strict=True)
        for chunk in speech.text(place, text)
    ]

    parts = reduce_chunks(chunks)["parts"]
    assert [part["text"] for part in parts if part["type"] == "text"] == texts


@pytest.mark.parametrize(
    ("pieces", "calls"),
    [
        ([(0, "", "a", "{}"), (0, "", "b", "{}")], [("a", "{}"), ("b", "{}")]),
        ([(0, "", "a", '{"n":1}'), (0, "", "a", '{"n":2}')], [("a", '{"n":1}'), ("a", '{"n":2}')]),
        ([(0, None, "a", "{"), (0, None, None, "}")], [("a", "{}")]),
        ([(0, None, "a", "{"), (0, None, "a", "}")], [("a", "{}")]),
        ([(0, "1", "a", "{"), (0, "1", "a", "}")], [("a", "{}")]),
        (
            [(0, "1", "a", "{}"), (0, "2", "b", "{"), (0, None, None, "}")],
            [("a", "{}"), ("b", "{}")],
        ),
        ([(0, "1", "a", ""), (1, "2", "b", ""), (0, None, None, "{}")], [("a", "{}"), ("b", "")]),
        ([(0, "1", "a", ""), (1, "1", "a", "{}")], [("a", ""), ("a", "{}")]),
        (
            [(0, "1", "get_", ""), (0, None, "weather", ""), (0, None, None, "{}")],
            [("get_weather", "{}")],
        ),
        ([(0, "1", "get_", ""), (0, "1", "get_weather", "{}")], [("get_weather", "{}")]),
        ([(0, "1", "a", "{"), (None, None, None, "}")], [("a", "{}")]),
        ([(0, "1", "a", "{"), (None, "1", None, "}")], [("a", "{}")]),
        (
            [(None, "1", "a", "{}"), (None, "2", "a", "{"), (None, None, None, "}")],
            [("a", "{}"), ("a", "{}")],
        ),
        ([(0, None, None, "{"), (0, "1", "a", "}")], [("a", "{}")]),
    ],
)
def test_pieces_find_their_call(
    pieces: list[tuple[Any, str | None, str | None, str]], calls: list[tuple[str, str]]
) -> None:
    streamed = StreamedCalls()
    for index, call_id, name, arguments in pieces:
        streamed.find(index, call_id, name).add(call_id, name, arguments)

    assert [(call.name, call.arguments) for call in streamed] == calls


@pytest.mark.parametrize(
    ("word", "reason"),
    [
        ("stopstop", "stop"),
        ("tool_callstool_calls", "tool-calls"),
        ("COMPLETE", "stop"),
        ("TOOL_CALL", "tool-calls"),
        ("FinishReason.MAX_TOKENS", "length"),
        ("model_length", "length"),
        ("model_context_window_exceeded", "length"),
        ("RECITATION", "content-filter"),
        ("PROHIBITED_CONTENT", "content-filter"),
        ("IMAGE_SAFETY", "content-filter"),
        ("MALFORMED_FUNCTION_CALL", "error"),
        ("error", "error"),
        ("pause_turn", "other"),
        ("stoplength", "other"),
        ("load", "other"),
        ("", "other"),
    ],
)
def test_a_finish_reason_of_any_vendor_is_one_of_the_ai_sdk(word: str, reason: str) -> None:
    assert finish_reason_of(word) == reason


@pytest.mark.parametrize("kind", ["text", "reasoning"])
@pytest.mark.parametrize(
    ("deltas", "expected"),
    [
        (["a\ud83d", "\ude00b"], ["a", "😀b"]),
        (["\ud83d", "\ude00\ud83d", "\ude00"], ["😀", "😀"]),
        (["\ud83d", "b"], ["\ufffdb"]),
        (["a\ud83d"], ["a", "\ud83d"]),
    ],
    ids=["two halves", "halves in turn", "no second half", "a half at the end"],
)
def test_a_character_that_a_server_splits_is_whole(
    kind: str, deltas: list[str], expected: list[str]
) -> None:
    speech = Speech(UIMessageBuilder(), lambda kind: kind)
    say = speech.text if kind == "text" else speech.reasoning

    chunks = [chunk for delta in deltas for chunk in say(None, delta)] + speech.end()

    assert [chunk["delta"] for chunk in chunks if "delta" in chunk] == expected
