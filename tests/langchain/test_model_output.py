"""The forms in which providers stream, and the parts that they become.

L and M: rows of the integration reference.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any
from uuid import UUID, uuid4

import pytest
from langchain_core.messages import AIMessage, AIMessageChunk, ToolMessage
from langchain_core.outputs import (
    ChatGeneration,
    ChatGenerationChunk,
    Generation,
    GenerationChunk,
    LLMResult,
)

from monostream_ai.langchain.endings import finish_reason
from monostream_ai.langchain.mapper import LangChainMapper
from monostream_ai.langchain.tool_results import output_value
from monostream_ai.ui_messages import Chunk
from tests.langchain.one_model import block, call, new_mapper, said
from tests.langchain.recording import outline


@pytest.mark.parametrize("indices", [(0, 0), ("lc_rs_1", "lc_rs_1"), (None, None)])
def test_l24_blocks_of_one_index_are_one_part(indices: tuple[int | str | None, ...]) -> None:
    assert said(
        *(block("reasoning", text, index) for text, index in zip("ab", indices, strict=True))
    ) == [
        "reasoning-start A:0",
        "reasoning-delta A:0 a",
        "reasoning-delta A:0 b",
        "reasoning-end A:0",
    ]


def test_l24_another_index_or_kind_is_another_part() -> None:
    lines = said(
        block("reasoning", "a", "rs_1"),
        block("reasoning", "b", "rs_2"),
        block("text", "c", 2),
        block("reasoning", "d", 3),
    )

    assert [line for line in lines if "delta" not in line] == [
        "reasoning-start A:0",
        "reasoning-end A:0",
        "reasoning-start A:1",
        "reasoning-end A:1",
        "text-start A:2",
        "text-end A:2",
        "reasoning-start A:3",
        "reasoning-end A:3",
    ]


def test_l23_reasoning_beside_the_content_is_reasoning() -> None:
    message = AIMessageChunk("", additional_kwargs={"reasoning_content": "hm"})

    assert said(message, AIMessageChunk("so"))[1::2][:1] == ["reasoning-delta A:0 hm"]


def test_l23_thoughts_of_a_provider_that_is_not_known_are_reasoning() -> None:
    lines = said(
        AIMessageChunk([{"type": "thinking", "thinking": "hm", "index": 0}]), AIMessageChunk("so")
    )

    assert lines[:3] == ["reasoning-start A:0", "reasoning-delta A:0 hm", "reasoning-end A:0"]


REFUSAL = {"type": "refusal", "refusal": "No."}


@pytest.mark.parametrize(
    "message",
    [
        AIMessageChunk([REFUSAL]),
        AIMessageChunk([{"type": "non_standard", "value": REFUSAL}]),
        AIMessageChunk([REFUSAL], additional_kwargs={"refusal": "No."}),
        AIMessageChunk("", additional_kwargs={"refusal": "No."}),
    ],
    ids=["block", "standard block", "block and field", "field"],
)
@pytest.mark.parametrize("streams", [True, False])
def test_a_refusal_is_text_that_finishes_as_filtered(
    message: AIMessageChunk, streams: bool
) -> None:
    message.response_metadata = {"status": "completed", "model_provider": "openai"}
    lines = (
        said(message)
        if streams
        else said(AIMessageChunk(""), last=AIMessage(**message.model_dump(exclude={"type"})))
    )

    assert lines[1:] == [
        "text-delta A:0 No.",
        "text-end A:0",
        "message-metadata {'finishReason': 'content-filter'}",
    ]


def test_a_call_ends_the_text_before_it() -> None:
    assert said(
        AIMessageChunk("Let me see."), call(0, "call_1", "weather", ""), call(0, None, None, "{}")
    ) == [
        "text-start A:0",
        "text-delta A:0 Let me see.",
        "text-end A:0",
        "tool-input-start call_1 weather",
        "tool-input-delta call_1 {}",
        "tool-input-available call_1 weather {}",
        "message-metadata {'finishReason': 'tool-calls'}",
    ]


def test_arguments_that_come_before_the_name_are_kept() -> None:
    last = AIMessage("", tool_calls=[{"id": "call_1", "name": "weather", "args": {"a": 1}}])

    assert said(call(0, "call_1", None, '{"a"'), call(0, None, "weather", ":1}"), last=last)[
        :2
    ] == [
        "tool-input-start call_1 weather",
        'tool-input-delta call_1 {"a":1}',
    ]


@pytest.mark.parametrize("index", [0, None])
def test_calls_that_share_an_index_are_told_apart_by_their_ids(index: int | None) -> None:
    args = [{"id": f"call_{number}", "name": "weather", "args": {"n": number}} for number in (1, 2)]
    chunks = [call(index, f"call_{number}", "weather", f'{{"n": {number}}}') for number in (1, 2)]

    assert [
        line for line in said(*chunks, last=AIMessage("", tool_calls=args)) if "available" in line
    ] == [
        "tool-input-available call_1 weather {'n': 1}",
        "tool-input-available call_2 weather {'n': 2}",
    ]


def test_without_index_and_id_the_last_call_goes_on() -> None:
    last = AIMessage("", tool_calls=[{"id": "call_1", "name": "weather", "args": {}}])

    assert "tool-input-delta call_1 {}" in said(
        call(None, "call_1", "weather", ""), call(None, None, None, "{}"), last=last
    )


def test_a_streamed_call_that_the_message_does_not_have_is_an_error() -> None:
    lines = said(call(0, "call_1", "weather", "{"), last=AIMessage("x"))

    assert "tool-input-error call_1 weather { The call was not completed." in lines


@pytest.mark.parametrize(
    ("feedback", "text"),
    [
        ({"block_reason": "SAFETY"}, "The model refused to answer. (SAFETY)"),
        ([{"block_reason": 2}], "The model refused to answer."),
    ],
)
def test_a_blocked_prompt_that_is_told_beside_the_message_is_shown(
    feedback: Any, text: str
) -> None:
    mapper, run_id = new_mapper(), uuid4()
    chunks = mapper.model_start(run_id)
    empty = ChatGeneration(message=AIMessage(""))
    result = LLMResult(generations=[[empty]], llm_output={"prompt_feedback": feedback})

    lines = outline([*chunks, *mapper.model_end(run_id, result)])

    assert lines[3:] == [
        f"text-delta A:0 {text}",
        "text-end A:0",
        "message-metadata {'finishReason': 'content-filter'}",
    ]


def test_a_second_generation_is_counted_and_logged(caplog: pytest.LogCaptureFixture) -> None:
    mapper, run_id = new_mapper(), uuid4()
    chunks = mapper.model_start(run_id)
    both = [ChatGeneration(message=AIMessage(text)) for text in ("one", "two")]
    with caplog.at_level(logging.WARNING, logger="monostream_ai"):
        lines = outline([*chunks, *mapper.model_end(run_id, LLMResult(generations=[both]))])

    assert "text-delta A:0 one" in lines
    assert mapper.unread.counts == {"a generation besides the first": 1}
    assert "a generation besides the first" in caplog.text


def test_empty_tokens_show_nothing() -> None:
    assert (
        said(AIMessageChunk(""), AIMessageChunk([]), AIMessageChunk([{"type": "text", "text": ""}]))
        == []
    )


def test_a_completion_model_is_recorded_too() -> None:
    mapper, run_id = new_mapper(), uuid4()
    chunks = mapper.model_start(run_id, None, None, None)
    chunks += mapper.token(run_id, "Hel", GenerationChunk(text="Hel"))
    chunks += mapper.token(run_id, "lo", None)
    chunks += mapper.model_end(
        run_id,
        LLMResult(
            generations=[[Generation(text="Hello", generation_info={"finish_reason": "length"})]]
        ),
    )

    assert outline(chunks)[3:] == [
        "text-delta A:0 Hel",
        "text-delta A:0 lo",
        "text-end A:0",
        "message-metadata {'finishReason': 'length'}",
    ]


def test_l22_output_is_taken_from_the_source_that_shows_something_first() -> None:
    def run(*acts: Callable[[LangChainMapper, UUID], list[Chunk]]) -> list[str]:
        mapper, run_id = new_mapper(), uuid4()
        chunks = mapper.model_start(run_id, None, None, None)
        return outline([*chunks, *(chunk for act in acts for chunk in act(mapper, run_id))])[3:]

    def token(text: str) -> Callable[[LangChainMapper, UUID], list[Chunk]]:
        return lambda mapper, run_id: mapper.token(
            run_id, text, ChatGenerationChunk(message=AIMessageChunk(text))
        )

    def event(kind: str, **keys: Any) -> Callable[[LangChainMapper, UUID], list[Chunk]]:
        return lambda mapper, run_id: mapper.stream_event(run_id, {"event": kind, **keys})

    begin = event("message-start", role="ai", id="")
    delta = event("content-block-delta", index=0, delta={"type": "text-delta", "text": "x"})

    assert run(token(""), begin, token("x"), delta) == ["text-delta A:0 x"]
    assert run(token("x"), begin, delta) == ["text-delta A:0 x"]


@pytest.mark.parametrize(
    ("metadata", "reason"),
    [
        ({}, "stop"),
        ({"finish_reason": "stop"}, "stop"),
        ({"finish_reason": "STOP"}, "stop"),
        ({"stop_reason": "end_turn"}, "stop"),
        ({"stop_reason": "max_tokens"}, "length"),
        ({"finish_reason": "content_filter"}, "content-filter"),
        ({"finish_reason": "tool_calls"}, "tool-calls"),
        ({"status": "completed"}, "stop"),
        ({"status": "incomplete", "incomplete_details": {"reason": "max_output_tokens"}}, "length"),
        ({"finish_reason": "unheard_of"}, "other"),
    ],
    ids=str,
)
def test_m29_finish_reasons_use_the_words_of_the_ai_sdk(
    metadata: dict[str, Any], reason: str
) -> None:
    assert finish_reason(metadata) == reason


@pytest.mark.parametrize(
    ("content", "value"),
    [
        ('{"a": 1}', {"a": 1}),
        ("[1]", [1]),
        ("12", "12"),
        ("[not json", "[not json"),
        ('{"a": NaN}', {"a": None}),
        ([{"type": "text", "text": "a"}], [{"type": "text", "text": "a"}]),
    ],
    ids=str,
)
def test_m12_json_that_langchain_wrote_as_text_is_parsed_again(content: Any, value: Any) -> None:
    assert output_value(ToolMessage(content, tool_call_id="c")) == value
