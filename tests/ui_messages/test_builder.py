from __future__ import annotations

import random
from collections.abc import Callable

import pytest

from monostream_ai.errors import InvalidChunk
from monostream_ai.ui_messages import Chunk, UIMessageBuilder, check_chunk, reduce_chunks

LAST_STEP = ["start-step", "message-metadata", "finish-step"]
"""The empty step that keeps a page from sending a message with tool results again."""


def types(chunks: list[Chunk]) -> list[str]:
    return [chunk["type"] for chunk in chunks]


def test_the_first_chunk_is_a_start_with_the_message_id() -> None:
    builder = UIMessageBuilder(message_id="m1", metadata={"model": "m"})

    assert builder.data("a", 1)[0] == {
        "type": "start",
        "messageId": "m1",
        "messageMetadata": {"model": "m"},
    }
    assert builder.start() == []


def test_a_start_without_id_has_no_null() -> None:
    assert UIMessageBuilder().start() == [{"type": "start"}]


def test_no_start_is_sent_if_it_comes_from_elsewhere() -> None:
    assert types(UIMessageBuilder(send_start=False).text("t", "a")) == [
        "start-step",
        "text-start",
        "text-delta",
    ]


def test_text_opens_its_step_and_its_part() -> None:
    builder = UIMessageBuilder()

    assert types(builder.text("t", "a")) == ["start", "start-step", "text-start", "text-delta"]
    assert builder.text("t", "b") == [{"type": "text-delta", "id": "t", "delta": "b"}]


def test_a_part_ends_once() -> None:
    builder = UIMessageBuilder()
    builder.text("t", "a")
    builder.reasoning("t", "b")

    assert builder.end_text("t") == [{"type": "text-end", "id": "t"}]
    assert builder.end_text("t") == []
    assert builder.end_reasoning("t") == [{"type": "reasoning-end", "id": "t"}]
    assert builder.end_reasoning("never") == []


def test_everything_open_is_closed_before_its_step() -> None:
    builder = UIMessageBuilder()
    builder.text("t", "a")
    builder.reasoning("r", "b")
    builder.tool_input("c", "weather", '{"ci')

    assert types(builder.finish_step()) == [
        "text-end",
        "reasoning-end",
        "tool-input-error",
        "finish-step",
    ]
    assert builder.finish_step() == []


def test_a_new_step_ends_the_open_one() -> None:
    builder = UIMessageBuilder()
    builder.text("t", "a")

    assert types(builder.start_step()) == ["text-end", "finish-step", "start-step"]


def test_a_call_agrees_on_dynamic_from_first_to_last() -> None:
    builder = UIMessageBuilder()
    dynamic = [
        *builder.tool_input("c1", "weather", "{"),
        *builder.tool_call("c1", "weather", {}),
        *builder.tool_output("c1", 1),
    ]
    static = [
        *builder.tool_call("c2", "weather", {}, dynamic=False),
        *builder.tool_error("c2", "broke"),
    ]

    assert [chunk["type"] for chunk in dynamic if "dynamic" in chunk] == [
        "tool-input-start",
        "tool-input-available",
        "tool-output-available",
    ]
    assert all("dynamic" not in chunk for chunk in static)


def test_a_tool_that_the_provider_runs_says_so_on_every_chunk() -> None:
    builder = UIMessageBuilder()
    chunks = [
        *builder.tool_call("c", "search", None, provider_executed=True),
        *builder.tool_output("c", None),
    ]

    assert all(chunk["providerExecuted"] for chunk in chunks[-2:])
    assert chunks[-1]["output"] is None


def test_a_preliminary_output_leaves_room_for_the_next() -> None:
    builder = UIMessageBuilder()
    builder.tool_call("c", "search", {})

    assert builder.tool_output("c", 1, preliminary=True)[0]["preliminary"] is True
    assert "preliminary" not in builder.tool_output("c", 2)[0]


def test_a_retried_tool_may_replace_its_error() -> None:
    builder = UIMessageBuilder()
    builder.tool_call("c", "search", {})
    builder.tool_error("c", "busy")

    assert types(builder.tool_output("c", 1)) == ["tool-output-available"]


@pytest.mark.parametrize(
    "act",
    [
        lambda builder: builder.tool_output("unknown", 1),
        lambda builder: builder.tool_error("unknown", "broke"),
        lambda builder: builder.tool_output("done", 1),
        lambda builder: builder.tool_call("done", "weather", {}),
        lambda builder: builder.tool_input("done", "weather", "{"),
        lambda builder: builder.tool_input_error("done", "weather", None, "bad"),
        lambda builder: builder.data("a", {"__proto__": 1}),
        lambda builder: builder.finish("tool_calls"),
        lambda builder: builder.text("t", None),
    ],
)
def test_a_chunk_that_would_break_a_client_is_refused_and_changes_nothing(
    act: Callable[[UIMessageBuilder], object],
) -> None:
    builder = UIMessageBuilder()
    builder.tool_call("done", "weather", {})
    builder.tool_output("done", 1)

    with pytest.raises(InvalidChunk):
        act(builder)

    assert types(builder.finish()) == ["finish-step", *LAST_STEP, "finish"]


def test_a_refused_first_chunk_does_not_swallow_the_start() -> None:
    builder = UIMessageBuilder()

    with pytest.raises(InvalidChunk):
        builder.tool_call("c", "weather", {"__proto__": 1})

    assert types(builder.start()) == ["start"]


def test_nothing_follows_the_end() -> None:
    builder = UIMessageBuilder()
    builder.finish()

    for act in (
        builder.start_step,
        builder.finish,
        builder.abort,
        lambda: builder.text("t", "a"),
        lambda: builder.data("a", 1),
    ):
        with pytest.raises(InvalidChunk):
            act()


@pytest.mark.parametrize(
    ("end", "last"),
    [
        (lambda builder: builder.finish("length", metadata={"a": 1}), ["finish"]),
        (lambda builder: builder.error("broke"), ["error"]),
        (lambda builder: builder.abort(), ["start-step", "message-metadata", "abort"]),
    ],
)
def test_an_ending_closes_what_is_open(
    end: Callable[[UIMessageBuilder], list[Chunk]], last: list[str]
) -> None:
    builder = UIMessageBuilder()
    builder.text("t", "a")

    assert types(end(builder)) == ["text-end", "finish-step", *last]


def test_finish_repeats_the_reason_that_metadata_gave() -> None:
    builder = UIMessageBuilder()
    builder.metadata({"finishReason": "length"})

    assert builder.finish() == [{"type": "finish", "finishReason": "length"}]


@pytest.mark.sweep(40)
@pytest.mark.parametrize("seed", range(200))
def test_no_order_of_calls_makes_chunks_that_a_client_refuses(seed: int) -> None:
    chance = random.Random(seed)
    builder = UIMessageBuilder(message_id="m")
    acts: list[Callable[[str], list[Chunk]]] = [
        lambda key: builder.text(key, "x"),
        lambda key: builder.reasoning(key, "y"),
        builder.end_text,
        builder.end_reasoning,
        lambda key: builder.tool_input(key, "tool", '{"a":'),
        lambda key: builder.tool_call(key, "tool", {"a": 1}),
        lambda key: builder.tool_input_error(key, "tool", None, "bad"),
        lambda key: builder.tool_output(key, None),
        lambda key: builder.tool_error(key, "broke"),
        lambda key: builder.start_step(),
        lambda key: builder.finish_step(),
        lambda key: builder.data("d", None, data_id=key),
        lambda key: builder.source_url(key, "https://a"),
        lambda key: builder.source_document(key, media_type="text/plain", title="t"),
        lambda key: builder.file("https://a", media_type="image/png"),
        lambda key: builder.metadata({key: 1}),
    ]
    chunks: list[Chunk] = []
    for _ in range(60):
        try:
            chunks += chance.choice(acts)(chance.choice("abc"))
        except InvalidChunk:
            continue
    chunks += chance.choice([builder.finish, builder.abort, lambda: builder.error("broke")])()

    for chunk in chunks:
        check_chunk(chunk)
    parts = reduce_chunks(chunks)["parts"]
    assert types(chunks).count("start") == 1
    assert chunks[0]["type"] == "start"
    assert [part for part in parts if part.get("state") in ("streaming", "input-streaming")] == []


def test_an_approval_is_asked_for_answered_and_followed_by_its_outcome() -> None:
    builder = UIMessageBuilder()
    builder.tool_call("c1", "pay", {})
    builder.tool_call("c2", "pay", {})

    assert builder.approval_request("c1", "a1", reason="costly") == [
        {
            "type": "tool-approval-request",
            "approvalId": "a1",
            "toolCallId": "c1",
            "reason": "costly",
        }
    ]
    builder.approval_request("c2", "a2")
    assert builder.approval_response("a1", True)[0] == {
        "type": "tool-approval-response",
        "approvalId": "a1",
        "approved": True,
    }
    assert types(builder.tool_output("c1", 1)) == ["tool-output-available"]
    builder.approval_response("a2", False, reason="no")
    assert builder.tool_denied("c2") == [{"type": "tool-output-denied", "toolCallId": "c2"}]


@pytest.mark.parametrize(
    "act",
    [
        lambda builder: builder.approval_request("half", "a"),
        lambda builder: builder.approval_request("unknown", "a"),
        lambda builder: builder.approval_request("other", "asked"),
        lambda builder: builder.approval_response("unknown", True),
        lambda builder: builder.approval_response("replaced", True),
        lambda builder: builder.tool_denied("half"),
        lambda builder: builder.tool_denied("done"),
        lambda builder: builder.tool_denied("running"),
    ],
)
def test_an_approval_out_of_place_is_refused(act: Callable[[UIMessageBuilder], object]) -> None:
    builder = UIMessageBuilder()
    builder.tool_input("half", "pay", "{")
    for call_id in ("whole", "other", "done", "running"):
        builder.tool_call(call_id, "pay", {})
    builder.tool_output("done", 1)
    builder.tool_output("running", 1, preliminary=True)
    builder.approval_request("whole", "replaced")
    builder.approval_request("whole", "asked")

    with pytest.raises(InvalidChunk):
        act(builder)


def test_a_step_that_is_reset_closes_its_parts_and_forgets_its_calls() -> None:
    builder = UIMessageBuilder()
    builder.tool_call("kept", "n", {})
    builder.start_step()
    builder.text("t", "a")
    builder.tool_call("gone", "n", {})

    assert types(builder.reset_step()) == ["text-end", "reset-step"]
    assert types(builder.text("t", "b")) == ["text-start", "text-delta"]
    assert builder.call("gone") is None
    assert builder.call("kept") is not None


def test_without_a_step_there_is_nothing_to_reset() -> None:
    assert UIMessageBuilder().reset_step() == []


def test_parts_that_only_new_clients_know_can_be_sent() -> None:
    builder = UIMessageBuilder(send_start=False)

    assert builder.reasoning_file("data:,a", media_type="text/plain") == [
        {"type": "reasoning-file", "url": "data:,a", "mediaType": "text/plain"}
    ]
    assert builder.custom("acme.thing") == [{"type": "custom", "kind": "acme.thing"}]


def test_a_builder_shows_its_message_and_its_state() -> None:
    builder = UIMessageBuilder(message_id="m1")
    assert repr(builder) == "<UIMessageBuilder 'm1' new, 0 open parts, 0 calls>"
    builder.text("t", "a")
    builder.tool_call("c", "search", {})
    assert repr(builder) == "<UIMessageBuilder 'm1' started, 1 open parts, 1 calls>"
    builder.finish()
    assert repr(builder) == "<UIMessageBuilder 'm1' ended, 0 open parts, 1 calls>"
