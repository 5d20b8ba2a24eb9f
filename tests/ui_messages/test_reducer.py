from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import pytest

from monostream_ai.errors import InvalidChunk
from monostream_ai.ui_messages import Chunk, MessageReducer, reduce_chunks

GOLDENS: dict[str, Any] = json.loads((Path(__file__).parent / "goldens" / "ai-7.json").read_text())[
    "cases"
]
"""Messages that the npm package `ai` made, written by goldens.mjs."""


@pytest.mark.parametrize("name", GOLDENS)
def test_the_message_equals_that_of_the_ai_sdk(name: str) -> None:
    golden = GOLDENS[name]
    reducer = MessageReducer()
    refused = False
    for chunk in golden["chunks"]:
        try:
            reducer.feed(chunk)
        except InvalidChunk:
            refused = True
            break

    assert reducer.message == golden["message"]
    assert refused == any(error != "An error occurred." for error in golden["errors"])


@pytest.mark.parametrize("name", GOLDENS)
def test_reading_the_message_after_each_chunk_changes_nothing(name: str) -> None:
    reducer = MessageReducer()
    chunks = copy.deepcopy(GOLDENS[name]["chunks"])
    seen = []
    for chunk in chunks:
        try:
            reducer.feed(chunk)
        except InvalidChunk:
            break
        seen.append((reducer.message, copy.deepcopy(reducer.message)))

    assert reducer.message == GOLDENS[name]["message"]
    assert all(snapshot == then for snapshot, then in seen)
    assert chunks == GOLDENS[name]["chunks"]


@pytest.mark.parametrize("name", GOLDENS)
def test_a_settled_message_has_nothing_streaming_and_every_required_key(name: str) -> None:
    reducer = MessageReducer()
    for chunk in GOLDENS[name]["chunks"]:
        try:
            reducer.feed(chunk)
        except InvalidChunk:
            break
    reducer.settle()

    for part in reducer.message["parts"]:
        assert part.get("state") not in ("streaming", "input-streaming")
        if part.get("state") in (
            "input-available",
            "output-available",
            "approval-requested",
            "output-denied",
        ):
            assert "input" in part


def test_a_half_streamed_call_is_an_error_once_the_message_is_finished() -> None:
    chunks: list[Chunk] = [
        {"type": "tool-input-start", "toolCallId": "c", "toolName": "weather"},
        {"type": "tool-input-delta", "toolCallId": "c", "inputTextDelta": '{"city":"Pa'},
    ]

    assert reduce_chunks(chunks, finished=True)["parts"] == [
        {
            "type": "tool-weather",
            "toolCallId": "c",
            "state": "output-error",
            "input": {"city": "Pa"},
            "errorText": "The call was not completed.",
        }
    ]


def test_a_call_that_a_client_may_answer_stays_a_call() -> None:
    chunk: Chunk = {
        "type": "tool-input-available",
        "toolCallId": "c",
        "toolName": "ask",
        "input": {},
    }

    assert reduce_chunks([chunk], finished=True)["parts"][0]["state"] == "input-available"


def test_an_output_answers_an_approval_that_was_not_recorded() -> None:
    chunks: list[Chunk] = [
        {"type": "tool-input-available", "toolCallId": "c", "toolName": "pay", "input": {}},
        {"type": "tool-approval-request", "toolCallId": "c", "approvalId": "a"},
        {"type": "tool-output-available", "toolCallId": "c", "output": 1},
    ]

    assert reduce_chunks(chunks, finished=True)["parts"][0]["approval"] == {
        "id": "a",
        "approved": True,
    }


def test_chunks_continue_a_stored_message() -> None:
    kept = reduce_chunks(
        [
            {"type": "start", "messageId": "m", "messageMetadata": {"a": 1}},
            {"type": "start-step"},
            {"type": "tool-input-start", "toolCallId": "c", "toolName": "weather", "dynamic": True},
            {"type": "tool-input-delta", "toolCallId": "c", "inputTextDelta": '{"a":'},
        ]
    )
    before = copy.deepcopy(kept)
    reducer = MessageReducer(kept)
    for chunk in (
        {"type": "start", "messageId": "m", "messageMetadata": {"b": 2}},
        {"type": "tool-input-delta", "toolCallId": "c", "inputTextDelta": "1}"},
    ):
        reducer.feed(chunk)

    assert reducer.message["metadata"] == {"a": 1, "b": 2}
    assert reducer.message["parts"][1]["input"] == {"a": 1}
    assert kept == before


def test_a_malformed_chunk_is_refused_by_name() -> None:
    with pytest.raises(InvalidChunk) as caught:
        reduce_chunks([{"type": "text-start"}])

    assert caught.value.path == "$.id"


def test_a_long_text_takes_time_in_proportion_to_its_length() -> None:
    reducer = MessageReducer()
    reducer.feed({"type": "text-start", "id": "t"})
    for _ in range(20_000):
        reducer.feed({"type": "text-delta", "id": "t", "delta": "0123456789"})

    assert len(reducer.message["parts"][0]["text"]) == 200_000


def test_a_reducer_shows_its_message() -> None:
    reducer = MessageReducer({"id": "m1", "role": "assistant", "parts": [{"type": "step-start"}]})
    assert repr(reducer) == "<MessageReducer 'm1', 1 parts>"
