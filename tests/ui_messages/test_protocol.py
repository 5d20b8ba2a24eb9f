from __future__ import annotations

from typing import Any, get_args

import pytest

from monostream_ai.errors import MASKED_ERROR_TEXT, InvalidChunk
from monostream_ai.types import MAX_CHUNK_BYTES, Ending
from monostream_ai.ui_messages import Chunk, UIMessageProtocol, check_chunk, reduce_chunks

PROTOCOL = UIMessageProtocol()
ERROR: Chunk = {"type": "error", "errorText": MASKED_ERROR_TEXT}
STOP: list[Chunk] = [
    {"type": "start-step"},
    {"type": "message-metadata", "messageMetadata": {"stopped": True}},
    {"type": "abort"},
]


def ending(ending: Ending, *chunks: Chunk) -> list[Chunk]:
    transcript = PROTOCOL.transcript()
    for chunk in chunks:
        transcript.feed(chunk)
    return list(transcript.ending(ending))


@pytest.mark.parametrize(
    "chunk", [{"type": "data-a", "data": "\0"}, {"type": "invented", "x": None}]
)
def test_any_object_with_a_type_is_stored_as_it_is(chunk: Chunk) -> None:
    assert PROTOCOL.decode(PROTOCOL.encode(chunk)) == chunk


@pytest.mark.parametrize("chunk", [None, "text", [], {}, {"type": 1}])
def test_a_value_that_is_no_chunk_is_refused(chunk: Any) -> None:
    with pytest.raises(InvalidChunk):
        PROTOCOL.encode(chunk)


@pytest.mark.parametrize("payload", ["[]", '{"a":1}'])
def test_a_payload_of_another_program_must_be_a_chunk(payload: str) -> None:
    with pytest.raises(InvalidChunk):
        PROTOCOL.decode(payload)


def test_finish_error_and_abort_are_terminal() -> None:
    kinds = ["finish", "error", "abort", "finish-step", "tool-output-error", "tool-input-error"]

    assert [kind for kind in kinds if PROTOCOL.is_terminal({"type": kind})] == [
        "finish",
        "error",
        "abort",
    ]


@pytest.mark.parametrize(
    ("how", "chunks"),
    [
        ("finish", [{"type": "finish", "finishReason": "stop"}]),
        ("error", [ERROR]),
        ("lost", [ERROR]),
        ("abort", STOP),
    ],
)
def test_a_version_without_chunks_is_ended_so_that_a_client_can_read_it(
    how: Ending, chunks: list[Chunk]
) -> None:
    assert ending(how) == [{"type": "start"}, *chunks]


@pytest.mark.parametrize(
    ("how", "chunks"),
    [
        ("finish", [{"type": "finish", "finishReason": "stop"}]),
        ("error", [ERROR]),
        ("lost", [ERROR]),
        ("abort", STOP),
    ],
)
def test_an_ending_closes_parts_calls_and_the_step_in_that_order(
    how: Ending, chunks: list[Chunk]
) -> None:
    said = ending(
        how,
        {"type": "start"},
        {"type": "start-step"},
        {"type": "text-start", "id": "t"},
        {"type": "reasoning-start", "id": "r"},
        {"type": "tool-input-start", "toolCallId": "c1", "toolName": "weather", "dynamic": True},
        {"type": "tool-input-start", "toolCallId": "c2", "toolName": "time"},
        {"type": "tool-input-available", "toolCallId": "c2", "toolName": "time", "input": {}},
    )

    assert said == [
        {"type": "text-end", "id": "t"},
        {"type": "reasoning-end", "id": "r"},
        {
            "type": "tool-input-error",
            "toolCallId": "c1",
            "dynamic": True,
            "toolName": "weather",
            "input": None,
            "errorText": "The call was not completed.",
        },
        {"type": "finish-step"},
        *chunks,
    ]


def test_the_ending_keeps_the_input_that_came_of_a_call() -> None:
    begun: Chunk = {"type": "tool-input-start", "toolCallId": "c1", "toolName": "weather"}
    deltas: list[Chunk] = [
        {"type": "tool-input-delta", "toolCallId": "c1", "inputTextDelta": text}
        for text in ('{"ci', 'ty": "Pa')
    ]

    [error, *_] = ending("abort", {"type": "start"}, begun, *deltas)

    assert error["input"] == '{"city": "Pa'


def test_the_ending_of_a_huge_input_can_be_stored() -> None:
    begun: Chunk = {"type": "tool-input-start", "toolCallId": "c1", "toolName": "weather"}
    delta: Chunk = {
        "type": "tool-input-delta",
        "toolCallId": "c1",
        "inputTextDelta": "\0" * 700_000,
    }

    [error, *_] = ending("error", {"type": "start"}, begun, delta, delta)

    assert len(PROTOCOL.encode(error)) < MAX_CHUNK_BYTES


def test_an_error_carries_the_given_text() -> None:
    assert list(PROTOCOL.transcript().ending("error", "Out of credit."))[-1] == {
        "type": "error",
        "errorText": "Out of credit.",
    }


def test_a_part_that_ended_is_not_ended_again() -> None:
    chunks = [
        {"type": "text-start", "id": "t"},
        {"type": "text-end", "id": "t"},
        {"type": "text-end", "id": "t"},
    ]

    assert ending("finish", *chunks) == [{"type": "finish", "finishReason": "stop"}]


def test_a_part_that_outlived_its_step_is_not_ended() -> None:
    """Clients below 7.0.79 drop the part with its step, and fail if an end follows."""
    chunks = [{"type": "start-step"}, {"type": "text-start", "id": "t"}, {"type": "finish-step"}]

    assert ending("finish", *chunks) == [{"type": "finish", "finishReason": "stop"}]


def test_a_reset_step_takes_its_parts_and_calls_along() -> None:
    chunks: list[Chunk] = [
        {"type": "start-step"},
        {"type": "text-start", "id": "t"},
        {"type": "tool-input-start", "toolCallId": "c", "toolName": "weather"},
        {"type": "reset-step"},
    ]

    assert [chunk["type"] for chunk in ending("finish", *chunks)] == ["finish-step", "finish"]


@pytest.mark.parametrize("given", ["length", "tool-calls"])
def test_finish_repeats_the_last_reason_in_the_metadata(given: str) -> None:
    first: Chunk = {
        "type": "message-metadata",
        "messageMetadata": {"finishReason": "content-filter"},
    }
    last: Chunk = {
        "type": "message-metadata",
        "messageMetadata": {"finishReason": given, "usage": {}},
    }

    assert ending("finish", first, last)[-1] == {"type": "finish", "finishReason": given}


@pytest.mark.parametrize(
    "metadata", [None, [], "length", {"finishReason": "tool_calls"}, {"finishReason": []}]
)
def test_other_metadata_is_not_taken_for_a_reason(metadata: Any) -> None:
    assert (
        ending("finish", {"type": "message-metadata", "messageMetadata": metadata})[-1][
            "finishReason"
        ]
        == "stop"
    )


@pytest.mark.parametrize("how", get_args(Ending))
def test_chunks_of_any_shape_can_be_ended(how: Ending) -> None:
    wrong: list[Chunk] = [
        {"type": kind, **keys}
        for kind in (
            "start",
            "text-start",
            "text-end",
            "reasoning-end",
            "tool-input-start",
            "tool-output-error",
            "start-step",
        )
        for keys in (
            {},
            {"id": None},
            {"id": []},
            {"toolCallId": {}, "toolName": "a"},
            {"toolCallId": "a"},
        )
    ]
    said = ending(how, *wrong)

    for chunk in said:
        check_chunk(chunk)
    assert PROTOCOL.is_terminal(said[-1])


@pytest.mark.sweep(12)
@pytest.mark.parametrize("how", get_args(Ending))
@pytest.mark.parametrize("cut", range(9))
def test_a_message_cut_anywhere_and_ended_has_nothing_streaming(how: Ending, cut: int) -> None:
    chunks: list[Chunk] = [
        {"type": "start", "messageId": "m"},
        {"type": "start-step"},
        {"type": "reasoning-start", "id": "r"},
        {"type": "text-start", "id": "t"},
        {"type": "text-delta", "id": "t", "delta": "a"},
        {"type": "tool-input-start", "toolCallId": "c", "toolName": "weather", "dynamic": True},
        {"type": "tool-input-delta", "toolCallId": "c", "inputTextDelta": '{"a'},
        {"type": "finish-step"},
    ][:cut]
    if cut == 8:
        # The step ends with open parts, which only a history settles.
        chunks.pop()
    message = reduce_chunks([*chunks, *ending(how, *chunks)])

    assert [
        part for part in message["parts"] if part.get("state") in ("streaming", "input-streaming")
    ] == []


CALL: Chunk = {"type": "tool-input-available", "toolCallId": "c", "toolName": "n", "input": {}}
RESULT: Chunk = {"type": "tool-output-available", "toolCallId": "c", "output": 1}
LAST_STEP: list[Chunk] = [
    {"type": "start-step"},
    {"type": "message-metadata", "messageMetadata": {}},
    {"type": "finish-step"},
]
FINISH: Chunk = {"type": "finish", "finishReason": "stop"}


def test_a_message_that_ends_with_a_result_gets_an_empty_last_step() -> None:
    assert ending("finish", CALL, RESULT) == [*LAST_STEP, FINISH]


def test_a_message_whose_call_waits_for_the_client_gets_no_empty_step() -> None:
    other: Chunk = {**CALL, "toolCallId": "d"}

    assert ending("finish", CALL, RESULT, other) == [FINISH]


def test_a_call_of_the_provider_waits_for_no_client() -> None:
    provided: Chunk = {**CALL, "toolCallId": "d", "providerExecuted": True}

    assert ending("finish", provided) == [FINISH]
    assert ending("finish", CALL, RESULT, provided) == [*LAST_STEP, FINISH]


def test_an_empty_last_step_that_is_already_there_is_only_shown() -> None:
    shown = LAST_STEP[1]

    assert ending("finish", CALL, RESULT, {"type": "start-step"}) == [
        {"type": "finish-step"},
        shown,
        FINISH,
    ]
    assert ending("finish", CALL, RESULT, *LAST_STEP) == [FINISH]


@pytest.mark.parametrize(
    ("state", "sealed"),
    [
        ({"state": "output-available", "output": 1}, True),
        ({"state": "output-error", "errorText": "It broke."}, True),
        ({"state": "output-denied", "approval": {"id": "a", "approved": False}}, True),
        ({"state": "approval-responded", "approval": {"id": "a", "approved": True}}, True),
        ({"state": "approval-requested", "approval": {"id": "a"}}, False),
        ({"state": "input-available"}, False),
        ({"state": "input-streaming"}, True),
        ({"state": "input-available", "toolCallId": 1}, False),
    ],
)
def test_the_calls_of_a_continued_message_count(state: dict[str, Any], sealed: bool) -> None:
    waiting = {"type": "tool-n", "toolCallId": "earlier", "state": "input-available", "input": {}}
    step = {"type": "step-start"}
    parts = [step, waiting, step, {"type": "tool-n", "toolCallId": "c", "input": {}, **state}]
    transcript = PROTOCOL.transcript("m1")
    transcript.feed({"type": "start", "messageId": "m1"})
    transcript.continues({"id": "m1", "role": "assistant", "parts": parts})

    assert list(transcript.ending("finish")) == [*(LAST_STEP if sealed else []), FINISH]


@pytest.mark.parametrize("parts", [None, 1, [1, None, {}, {"type": 1, "toolCallId": "c"}]])
def test_a_continued_message_may_be_malformed(parts: Any) -> None:
    transcript = PROTOCOL.transcript()
    transcript.continues({"parts": parts})

    assert list(transcript.ending("finish")) == [{"type": "start"}, FINISH]
