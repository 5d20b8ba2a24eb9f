"""UI message chunks as AG-UI events. tests/clients/ag_ui has a real client read them."""

from __future__ import annotations

from random import Random
from typing import Any

import pytest

from monostream_ai.ag_ui import AGUIMapper, Event
from monostream_ai.ui_messages import Chunk
from tests.ui_messages.random_messages import random_message

RUN = {"threadId": "c1", "runId": "r"}
STARTED = {"type": "RUN_STARTED", **RUN}


def events_of(*chunks: Chunk) -> list[Event]:
    """Return the events of chunks, without `RUN_STARTED`."""
    mapper = AGUIMapper("c1", "r")
    started, *events = [event for chunk in chunks for event in mapper.events(chunk)]
    assert started == STARTED
    return events


def called(call_id: str = "c", input: Any = None) -> Chunk:
    return {
        "type": "tool-input-available",
        "toolCallId": call_id,
        "toolName": "look",
        "input": input,
    }


def streamed(*deltas: str) -> list[Chunk]:
    return [
        {"type": "tool-input-start", "toolCallId": "c", "toolName": "look"},
        *(
            {"type": "tool-input-delta", "toolCallId": "c", "inputTextDelta": delta}
            for delta in deltas
        ),
    ]


def test_text_becomes_a_message() -> None:
    assert events_of(
        {"type": "start", "messageId": "m"},
        {"type": "text-start", "id": "0"},
        {"type": "text-delta", "id": "0", "delta": "Hi"},
        {"type": "text-delta", "id": "0", "delta": ""},
        {"type": "text-end", "id": "0"},
        {"type": "finish", "finishReason": "stop"},
    ) == [
        {"type": "TEXT_MESSAGE_START", "messageId": "r:1", "role": "assistant"},
        {"type": "TEXT_MESSAGE_CONTENT", "messageId": "r:1", "delta": "Hi"},
        {"type": "TEXT_MESSAGE_END", "messageId": "r:1"},
        {"type": "RUN_FINISHED", **RUN, "metadata": {"finishReason": "stop"}},
    ]


def test_reasoning_becomes_a_span_with_a_message() -> None:
    assert events_of(
        {"type": "reasoning-start", "id": "0"},
        {"type": "reasoning-delta", "id": "0", "delta": "Hm"},
        {"type": "reasoning-end", "id": "0"},
    ) == [
        {"type": "REASONING_START", "messageId": "r:1"},
        {"type": "REASONING_MESSAGE_START", "messageId": "r:1", "role": "reasoning"},
        {"type": "REASONING_MESSAGE_CONTENT", "messageId": "r:1", "delta": "Hm"},
        {"type": "REASONING_MESSAGE_END", "messageId": "r:1"},
        {"type": "REASONING_END", "messageId": "r:1"},
    ]


def test_calls_of_a_step_belong_to_its_text_and_results_follow() -> None:
    events = events_of(
        {"type": "start-step"},
        {"type": "text-start", "id": "0"},
        {"type": "text-end", "id": "0"},
        *streamed('{"a"', ":1}"),
        called(input={"a": 1}),
        called("d", input=[]),
        {"type": "tool-output-available", "toolCallId": "c", "output": "yes"},
        {"type": "tool-output-error", "toolCallId": "d", "errorText": "no"},
        {"type": "finish-step"},
    )

    start = {"type": "TOOL_CALL_START", "toolCallName": "look", "parentMessageId": "r:1"}
    result = {"type": "TOOL_CALL_RESULT", "role": "tool"}
    assert events == [
        {"type": "STEP_STARTED", "stepName": "step-1"},
        {"type": "TEXT_MESSAGE_START", "messageId": "r:1", "role": "assistant"},
        {"type": "TEXT_MESSAGE_END", "messageId": "r:1"},
        {**start, "toolCallId": "c"},
        {"type": "TOOL_CALL_ARGS", "toolCallId": "c", "delta": '{"a"'},
        {"type": "TOOL_CALL_ARGS", "toolCallId": "c", "delta": ":1}"},
        {"type": "TOOL_CALL_END", "toolCallId": "c"},
        {**start, "toolCallId": "d"},
        {"type": "TOOL_CALL_ARGS", "toolCallId": "d", "delta": "[]"},
        {"type": "TOOL_CALL_END", "toolCallId": "d"},
        {**result, "messageId": "r:2", "toolCallId": "c", "content": "yes"},
        {
            **result,
            "messageId": "r:3",
            "toolCallId": "d",
            "content": "no",
            "metadata": {"state": "output-error"},
        },
        {"type": "STEP_FINISHED", "stepName": "step-1"},
    ]


def test_calls_after_a_result_belong_to_another_message() -> None:
    events = events_of(
        called("c"),
        called("d"),
        {"type": "tool-output-available", "toolCallId": "c", "output": 1},
        called("e"),
    )

    assert [event["parentMessageId"] for event in events if event["type"] == "TOOL_CALL_START"] == [
        "r:1",
        "r:1",
        "r:3",
    ]


def test_an_input_that_the_streamed_arguments_do_not_say_is_told_beside_them() -> None:
    chunk = called(input={"a": 2})

    assert [event["type"] for event in events_of(*streamed('{"a":1}'), chunk)][2:] == [
        "CUSTOM",
        "TOOL_CALL_END",
    ]
    assert [event["type"] for event in events_of(*streamed('{ "a": 2 }'), chunk)][2:] == [
        "TOOL_CALL_END"
    ]


def test_an_incomplete_call_fails() -> None:
    error = {**called(), "type": "tool-input-error", "errorText": "bad"}

    assert events_of(*streamed('{"a'), error)[2:] == [
        {"type": "TOOL_CALL_END", "toolCallId": "c"},
        {
            "type": "TOOL_CALL_RESULT",
            "messageId": "r:2",
            "toolCallId": "c",
            "content": "bad",
            "role": "tool",
            "metadata": {"state": "output-error"},
        },
    ]


@pytest.mark.parametrize(
    "chunk",
    [
        {"type": "source-url", "sourceId": "s", "url": "https://a.example"},
        {"type": "file", "mediaType": "image/png", "url": "/files/1"},
        {"type": "data-weather", "id": "w", "data": None},
        {"type": "message-metadata", "messageMetadata": {"a": 1}},
        {"type": "tool-output-available", "toolCallId": "c", "output": 1, "preliminary": True},
        {"type": "something-new", "key": [1]},
    ],
    ids=lambda chunk: chunk["type"],
)
def test_chunks_without_an_event_become_custom_events(chunk: Chunk) -> None:
    value = {key: chunk[key] for key in chunk if key != "type"}

    assert events_of(chunk) == [{"type": "CUSTOM", "name": chunk["type"], "value": value}]


def test_a_run_that_waits_for_approval_ends_with_an_interrupt() -> None:
    asked = {"type": "tool-approval-request", "approvalId": "a", "toolCallId": "c"}
    interrupt = {"id": "a", "reason": "tool_approval", "toolCallId": "c"}
    answer = {"type": "tool-approval-response", "approvalId": "a", "approved": True}

    [*_, waiting] = events_of(called(), asked, {"type": "finish"})
    [*_, answered] = events_of(called(), asked, answer, {"type": "finish"})

    assert waiting["outcome"] == {"type": "interrupt", "interrupts": [interrupt]}
    assert "outcome" not in answered


@pytest.mark.parametrize(
    ("ending", "last"),
    [
        ({"type": "error", "errorText": "broke"}, {"type": "RUN_ERROR", "message": "broke"}),
        (
            {"type": "abort", "reason": "enough"},
            {
                "type": "RUN_FINISHED",
                **RUN,
                "outcome": {"type": "cancelled"},
                "metadata": {"reason": "enough"},
            },
        ),
        ({"type": "finish"}, {"type": "RUN_FINISHED", **RUN}),
    ],
    ids=["error", "abort", "finish"],
)
def test_an_ending_closes_what_is_open(ending: Chunk, last: Event) -> None:
    events = events_of(
        {"type": "start-step"},
        {"type": "reasoning-start", "id": "0"},
        {"type": "text-start", "id": "0"},
        *streamed("{"),
        ending,
    )

    assert [event["type"] for event in events[6:-1]] == [
        "TOOL_CALL_END",
        "TEXT_MESSAGE_END",
        "REASONING_MESSAGE_END",
        "REASONING_END",
        "STEP_FINISHED",
    ]
    assert events[-1] == last


def test_a_version_without_chunks_is_a_run_all_the_same() -> None:
    assert AGUIMapper("c1", "r").end() == [STARTED, {"type": "RUN_FINISHED", **RUN}]


@pytest.mark.parametrize(
    "chunk",
    [
        {"type": "text-delta", "id": "unknown", "delta": "a"},
        {"type": "text-start"},
        {"type": "tool-input-start", "toolCallId": "c"},
        {"type": "tool-output-available", "toolCallId": []},
    ],
)
def test_a_chunk_that_clients_refuse_gives_no_event(chunk: Chunk) -> None:
    assert events_of(chunk) == []


def test_the_same_chunks_give_the_same_events() -> None:
    for seed in range(100):
        chunks = random_message(Random(seed))

        assert events_of(*chunks) == events_of(*chunks)
