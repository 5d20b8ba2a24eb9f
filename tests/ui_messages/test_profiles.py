from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

import pytest

from monostream_ai.errors import InvalidArgument
from monostream_ai.json_text import encode_json
from monostream_ai.ui_messages import Chunk, Profile, ProfileFilter, SSEEncoder
from monostream_ai.ui_messages.chunks import SHAPES
from monostream_ai.ui_messages.profiles import PROFILES
from tests.ui_messages.test_sse import Batch

NOTHING: Chunk = {"type": "message-metadata", "messageMetadata": None}
METADATA = {"providerMetadata": {"openai": {"a": 1}}}


def sent(profile: Profile, *chunks: Chunk) -> list[Chunk]:
    filter = ProfileFilter(profile)
    return [json.loads(filter.apply(encode_json(chunk))) for chunk in chunks]


def one(profile: Profile, chunk: Chunk) -> Chunk:
    return sent(profile, chunk)[0]


def every_type() -> Iterable[Chunk]:
    return ({"type": kind} for kind in SHAPES)


@pytest.mark.parametrize(
    ("profile", "refused"),
    [
        (
            "v5",
            "tool-approval-request tool-approval-response reset-step reasoning-file custom "
            "steering-message",
        ),
        ("v6", "tool-approval-response reset-step reasoning-file custom steering-message"),
        ("any", "tool-approval-response reset-step reasoning-file custom steering-message"),
        ("v7", "reset-step steering-message"),
        ("v7.0.149", ""),
    ],
)
def test_wire_48_a_type_that_the_client_refuses_becomes_nothing(
    profile: Profile, refused: str
) -> None:
    held_back = [chunk["type"] for chunk in every_type() if one(profile, chunk) == NOTHING]

    assert sorted(held_back) == sorted(refused.split())


@pytest.mark.parametrize(
    ("profile", "passes"),
    [("any", False), ("v5", False), ("v6", False), ("v7", True), ("v7.0.149", True)],
)
def test_a_type_of_the_future_reaches_new_clients_only(profile: Profile, passes: bool) -> None:
    chunk = {"type": "some-new-thing", "a": 1}

    assert one(profile, chunk) == (chunk if passes else NOTHING)


def test_a_type_that_reaches_no_page_is_logged_once(caplog: pytest.LogCaptureFixture) -> None:
    misspelt: Chunk = {"type": "text", "text": "Hello"}

    assert sent("any", misspelt, misspelt, *every_type()) != [misspelt]

    [line] = caplog.messages
    assert "chunks of type 'text' are kept from pages" in line
    assert "Hello" not in line


def test_a_program_that_numbers_its_types_does_not_fill_the_log(
    caplog: pytest.LogCaptureFixture,
) -> None:
    sent("any", *({"type": f"step-{number}"} for number in range(100)))

    assert len(caplog.messages) == 10


def test_every_chunk_stays_one_chunk_for_clients_that_count() -> None:
    chunks = list(every_type())

    assert [len(sent(profile, *chunks)) for profile in PROFILES] == [len(chunks)] * len(PROFILES)


@pytest.mark.parametrize(
    ("kind", "v5", "v6"),
    [
        (
            "tool-input-start",
            {"dynamic", "providerExecuted"},
            {"dynamic", "providerExecuted", "title", "providerMetadata"},
        ),
        (
            "tool-input-available",
            {"dynamic", "providerExecuted", "providerMetadata"},
            {"dynamic", "providerExecuted", "title", "providerMetadata"},
        ),
        (
            "tool-input-error",
            {"dynamic", "providerExecuted", "providerMetadata"},
            {"dynamic", "providerExecuted", "title", "providerMetadata"},
        ),
        (
            "tool-output-available",
            {"dynamic", "providerExecuted", "preliminary"},
            {"dynamic", "providerExecuted", "preliminary"},
        ),
        ("tool-output-error", {"dynamic", "providerExecuted"}, {"dynamic", "providerExecuted"}),
        ("text-end", {"providerMetadata"}, {"providerMetadata"}),
        ("file", {"providerMetadata"}, {"providerMetadata"}),
        ("abort", set(), {"reason"}),
    ],
)
def test_wire_23_46_47_strict_clients_get_the_keys_that_they_know(
    kind: str, v5: set[str], v6: set[str]
) -> None:
    shape = SHAPES[kind]
    full: Chunk = {
        "type": kind,
        **dict.fromkeys(shape.required, "x"),
        **dict.fromkeys(shape.optional, True),
        "extra": 1,
    }
    always = {"type", *shape.required}

    assert set(one("v5", full)) == always | v5
    assert set(one("v6", full)) == always | v6
    assert one("v7", full) == one("any", full) == full


@pytest.mark.parametrize(
    ("profile", "asks"), [("any", False), ("v6", False), ("v7", True), ("v7.0.149", True)]
)
def test_a_request_that_a_program_answers_reaches_clients_that_read_the_answer(
    profile: Profile, asks: bool
) -> None:
    request: Chunk = {"type": "tool-approval-request", "approvalId": "a", "toolCallId": "c"}
    automatic = {**request, "isAutomatic": True}

    assert one(profile, automatic) == (automatic if asks else NOTHING)
    assert one(profile, request) == request


def test_data_parts_keep_their_keys() -> None:
    chunk: Chunk = {"type": "data-a", "id": "x", "data": {"b": None}, "transient": False}

    assert one("v5", {**chunk, "extra": 1}) == one("v6", chunk) == chunk


@pytest.mark.parametrize(
    ("reason", "expected"),
    [
        ("stop", {"any": "stop", "v5": "stop", "v6": "stop", "v7": "stop"}),
        (
            "interrupted",
            {
                "any": "other",
                "v5": "other",
                "v6": "other",
                "v7": "other",
                "v7.0.149": "interrupted",
            },
        ),
        ("unknown", {"any": "other", "v5": "unknown", "v6": "other", "v7": "other"}),
        ("tool_calls", {"any": "other", "v5": "other", "v6": "other", "v7": "other"}),
    ],
)
def test_wire_8_a_finish_reason_is_one_that_the_client_knows(
    reason: str, expected: dict[Profile, str]
) -> None:
    for profile, said in expected.items():
        assert one(profile, {"type": "finish", "finishReason": reason}) == {
            "type": "finish",
            "finishReason": said,
        }


def test_a_finish_without_reason_gets_none() -> None:
    assert one("v5", {"type": "finish"}) == {"type": "finish"}


def call(call_id: str, **more: Any) -> Chunk:
    return {
        "type": "tool-input-available",
        "toolCallId": call_id,
        "toolName": "n",
        "input": {},
        **more,
    }


@pytest.mark.parametrize(("more", "said"), [({"dynamic": True}, {"dynamic": True}), ({}, {})])
def test_a_denial_is_an_error_of_the_same_call_for_v5(more: Chunk, said: Chunk) -> None:
    denied = sent("v5", call("c", **more), {"type": "tool-output-denied", "toolCallId": "c"})[1]

    assert denied == {
        "type": "tool-output-error",
        "toolCallId": "c",
        "errorText": "Tool execution denied.",
        **said,
    }
    assert (
        one("v6", {"type": "tool-output-denied", "toolCallId": "c"})["type"] == "tool-output-denied"
    )


def test_a_denial_of_an_unseen_call_counts_as_dynamic() -> None:
    assert one("v5", {"type": "tool-output-denied", "toolCallId": "c"})["dynamic"] is True


def test_wire_9_outputs_repeat_dynamic_from_their_call_for_v5() -> None:
    output: Chunk = {"type": "tool-output-available", "toolCallId": "c", "output": 1}

    assert sent("v5", call("c", dynamic=True), output)[1] == {**output, "dynamic": True}
    assert sent("v5", call("c"), {**output, "dynamic": True})[1] == output
    assert one("v5", output) == output


@pytest.mark.parametrize("profile", PROFILES)
def test_a_payload_that_needs_no_change_is_the_same_object(profile: Profile) -> None:
    filter = ProfileFilter(profile)
    payloads = [
        '{"type":"text-delta","id":"t","delta":"a"}',
        '{"type":"tool-input-delta","toolCallId":"c","inputTextDelta":"{"}',
        '{"type":"start-step"}',
        '{"type":"finish","finishReason":"stop"}',
        '{"type": "finish", "finishReason": "stop"}',
        '{"id": "t", "type": "text-start"}',
    ]

    assert all(filter.apply(payload) is payload for payload in payloads)


@pytest.mark.parametrize("profile", PROFILES)
@pytest.mark.parametrize(
    "start", ['{"type":"text-delta",', '{"type":"reasoning-delta",', '{"type":"tool-input-delta",']
)
def test_a_delta_is_not_decoded(profile: Profile, start: str) -> None:
    assert ProfileFilter(profile).apply(start + "not JSON") == start + "not JSON"


def test_text_of_another_program_is_filtered_too() -> None:
    assert ProfileFilter("v7").apply('{"id": 1, "type": "reset-step"}') == encode_json(NOTHING)


@pytest.mark.parametrize("payload", ["7", '{"kind":"finish"}', '{"type":7}'])
def test_a_payload_that_is_no_ui_message_chunk_passes(payload: str) -> None:
    assert [ProfileFilter(profile).apply(payload) for profile in PROFILES] == [payload] * len(
        PROFILES
    )


def test_the_encoder_filters_what_it_frames() -> None:
    payload = '{"type":"tool-approval-request","approvalId":"a","toolCallId":"c"}'
    nothing = f"data: {encode_json(NOTHING)}\n\n"

    assert SSEEncoder("v5").frames(Batch(0, 1, [payload])) == f"id: 0.1\n{nothing}"
    assert SSEEncoder("v5").frames_without_id([payload, payload]) == nothing * 2
    assert payload in SSEEncoder("v6").frames(Batch(0, 1, [payload]))


def test_an_unknown_profile_is_refused() -> None:
    unknown: Any = "v4"
    with pytest.raises(
        InvalidArgument, match="unknown profile 'v4': use one of any, v5, v6, v7, v7.0.149"
    ):
        SSEEncoder(unknown)


def test_a_filter_shows_its_profile() -> None:
    assert repr(ProfileFilter("v5")) == "<ProfileFilter 'v5'>"
