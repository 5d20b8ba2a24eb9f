from __future__ import annotations

from typing import Any

import pytest

from monostream_ai.ui_messages import chunks_of_message, reduce_chunks

CALL = {"toolCallId": "c1", "toolName": "ask", "type": "dynamic-tool", "input": {"city": "Rome"}}
DENIED = {"id": "p2", "approved": False, "reason": "too dear"}
PARTS: list[dict[str, Any]] = [
    {"type": "step-start"},
    {"type": "reasoning", "id": "r1", "text": "Hm.", "state": "done"},
    {
        "type": "text",
        "text": "Let me ask.",
        "state": "done",
        "providerMetadata": {"openai": {"itemId": "i"}},
    },
    {**CALL, "state": "output-available", "output": None},
    {
        "type": "tool-look",
        "toolCallId": "c2",
        "state": "output-error",
        "input": {},
        "errorText": "No.",
        "providerExecuted": True,
    },
    {
        "type": "tool-look",
        "toolCallId": "c3",
        "state": "output-error",
        "input": None,
        "errorText": "Not JSON.",
    },
    {
        "type": "tool-look",
        "toolCallId": "c7",
        "state": "output-error",
        "rawInput": "cats",
        "errorText": "Not whole.",
    },
    {"type": "step-start"},
    {
        **CALL,
        "toolCallId": "c4",
        "state": "input-available",
        "title": "Ask",
        "toolMetadata": {"a": 1},
    },
    {
        **CALL,
        "toolCallId": "c5",
        "state": "approval-requested",
        "approval": {"id": "p1", "requestReason": "costly"},
    },
    {**CALL, "toolCallId": "c6", "state": "output-denied", "approval": DENIED},
    {
        **CALL,
        "toolCallId": "c8",
        "state": "approval-responded",
        "approval": {"id": "p3", "approved": True},
    },
    {"type": "source-url", "sourceId": "s", "url": "https://example.com", "title": "Example"},
    {"type": "source-document", "sourceId": "d", "mediaType": "text/plain", "title": "Doc"},
    {"type": "file", "url": "data:text/plain,hi", "mediaType": "text/plain"},
    {"type": "data-progress", "id": "p", "data": {"done": 1}},
]


def message(parts: list[dict[str, Any]]) -> dict[str, Any]:
    return {"id": "a1", "role": "assistant", "parts": parts}


def test_the_parts_of_a_message_come_back_as_they_were() -> None:
    whole = message(PARTS) | {"metadata": {"model": "m"}}

    assert reduce_chunks(chunks_of_message(whole)) == whole


def test_a_step_is_finished_before_the_next_and_at_the_end() -> None:
    kinds = [chunk["type"] for chunk in chunks_of_message(message([PARTS[0], PARTS[0]]))]

    assert kinds == ["start", "start-step", "finish-step", "start-step", "finish-step"]


@pytest.mark.parametrize("part", [PARTS[3], PARTS[4], PARTS[5], PARTS[6]])
def test_no_client_tool_is_called_again_by_a_replay(part: dict[str, Any]) -> None:
    kinds = [chunk["type"] for chunk in chunks_of_message(message([part]))]

    assert kinds[1] == "tool-input-start"
    assert "tool-input-available" not in kinds


@pytest.mark.parametrize(
    "part",
    [
        7,
        {},
        {"type": 7},
        {"type": "text"},
        {"type": "text", "text": 7},
        {"type": "text", "text": "a", "id": 7},
        {"type": "tool-look", "state": "output-available"},
        {"type": "dynamic-tool", "toolCallId": "c", "state": "output-available"},
        {
            "type": "dynamic-tool",
            "toolCallId": "c",
            "toolName": "n",
            "state": "input-available",
            "input": {"__proto__": 1},
        },
        {
            "type": "dynamic-tool",
            "toolCallId": "c",
            "toolName": "n",
            "state": "approval-requested",
            "approval": 7,
        },
        {
            "type": "dynamic-tool",
            "toolCallId": "c",
            "toolName": "n",
            "state": "input-available",
            "input": float("nan"),
        },
        {"type": "some-new-thing"},
    ],
)
def test_a_part_that_no_client_would_read_is_left_out(part: Any) -> None:
    assert reduce_chunks(chunks_of_message(message([part, *PARTS[:2]])))["parts"] == PARTS[:2]


@pytest.mark.parametrize("message", [{}, {"parts": None}, {"parts": "ab"}], ids=str)
def test_a_message_without_parts_has_chunks_too(message: dict[str, Any]) -> None:
    assert chunks_of_message(message) == [{"type": "start"}]


def test_a_message_without_a_proper_id_has_chunks_too() -> None:
    assert chunks_of_message({"id": 7, "parts": []}) == [{"type": "start"}]
