"""A replay writes the chunks that are not stored, wherever the stored ones break off."""

from __future__ import annotations

import random
from collections.abc import Sequence

import pytest

from monostream_ai.recording.overlap import Overlap
from monostream_ai.ui_messages import Chunk, UIMessageProtocol, reduce_chunks
from tests.openai.recordings import NAMES, chunks_of

RESPONSES = [name for name in NAMES if name.startswith("responses/")]


def merged(chunks: Sequence[Chunk], chance: random.Random) -> list[Chunk]:
    """Return the chunks as a publisher stores them that is busy now and then."""
    protocol, stored = UIMessageProtocol(), list[Chunk]()
    for chunk in chunks:
        earlier = stored.pop() if stored and chance.random() < 0.5 else None
        stored += [chunk] if earlier is None else protocol.merge(earlier, chunk)
    return stored


@pytest.mark.parametrize("name", RESPONSES)
def test_stored_chunks_and_the_rest_are_the_whole(name: str) -> None:
    chance, whole = random.Random(name), chunks_of(name)

    for cut in range(len(whole) + 1):
        stored = merged(whole[:cut], chance)
        rest = Overlap(stored).rest(whole)

        assert reduce_chunks([*stored, *rest]) == reduce_chunks(whole), cut
        assert [chunk["type"] for chunk in rest if "delta" not in chunk["type"]] == [
            chunk["type"] for chunk in whole[cut:] if "delta" not in chunk["type"]
        ]


def test_a_delta_that_is_stored_in_part_goes_on_with_its_end() -> None:
    begun = [{"type": "text-start", "id": "t"}, {"type": "text-delta", "id": "t", "delta": "Hel"}]
    whole = [begun[0], {"type": "text-delta", "id": "t", "delta": "Hello"}]

    assert Overlap(begun).rest(whole) == [{"type": "text-delta", "id": "t", "delta": "lo"}]


def test_an_empty_delta_does_not_follow_the_end_of_its_part() -> None:
    thought = [{"type": f"reasoning-{kind}", "id": "r"} for kind in ("start", "delta", "end")]
    thought[1]["delta"] = ""

    assert Overlap(thought).rest(thought) == []
    assert Overlap([]).rest(thought) == thought


def test_equal_chunks_are_counted() -> None:
    step = {"type": "start-step"}

    assert Overlap([step]).rest([step, step]) == [step]


def test_an_error_stands_for_a_result_that_is_too_large() -> None:
    stored = {"type": "tool-output-error", "toolCallId": "c", "errorText": "too large"}
    again = {"type": "tool-output-available", "toolCallId": "c", "output": "x"}

    assert Overlap([stored]).rest([again]) == []


def test_a_file_may_be_stored_under_another_url_or_as_a_text() -> None:
    inline = {"type": "file", "url": "data:image/png;base64,AA==", "mediaType": "image/png"}
    hooked = {**inline, "url": "/api/chat/files/1"}
    told = [
        {"type": "text-start", "id": "too-large"},
        {"type": "text-delta", "id": "too-large", "delta": "A file is too large."},
        {"type": "text-end", "id": "too-large"},
    ]

    assert Overlap([hooked]).rest([inline, inline]) == [inline]
    assert Overlap(told).rest([inline, inline]) == [inline]


def test_a_step_that_was_taken_back_is_made_again() -> None:
    step = {"type": "start-step"}
    said = [
        {"type": "text-start", "id": "t"},
        {"type": "text-delta", "id": "t", "delta": "Hello"},
        {"type": "text-end", "id": "t"},
    ]
    stored = [step, *said[:2], {"type": "reset-step"}]

    assert Overlap(stored).rest([step, *said]) == said
    assert Overlap([*stored, *said[:1]]).rest([step, *said]) == said[1:]
