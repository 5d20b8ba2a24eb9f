"""What the forms in which providers stream become. L and M: rows of the integration reference."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any
from uuid import UUID, uuid4

import pytest
from langchain_core.messages import AIMessage, AIMessageChunk, ToolMessage
from langchain_core.messages.tool import tool_call_chunk
from langchain_core.outputs import ChatGeneration, ChatGenerationChunk, Generation, GenerationChunk, LLMResult

from monostream_ai.langchain.finish import finish_reason
from monostream_ai.langchain.mapper import LangChainMapper
from monostream_ai.langchain.outputs import output_value
from monostream_ai.langchain.runs import Runs
from monostream_ai.ui_messages import Chunk, UIMessageBuilder, UIMessageProtocol
from tests.langchain.recording import check_message, outline


def new_mapper() -> LangChainMapper:
    return LangChainMapper(UIMessageBuilder(message_id="m1"), Runs())


def said(*messages: AIMessageChunk, last: AIMessage | None = None) -> list[str]:
    """Return what one model run adds between its `start-step` and its end."""
    mapper, run_id = new_mapper(), uuid4()
    chunks = mapper.model_start(run_id, None, None, None)
    for message in messages:
        chunks += mapper.token(run_id, message.text, ChatGenerationChunk(message=message))
    chunks += mapper.model_end(run_id, LLMResult(generations=[[ChatGeneration(message=last or _sum(messages))]]))
    ended = [*chunks, *_ending(chunks)]
    check_message(ended)
    return outline(ended)[2:-2]


def _sum(messages: tuple[AIMessageChunk, ...]) -> AIMessage:
    whole: Any = messages[0]
    for message in messages[1:]:
        whole = whole + message
    assert isinstance(whole, AIMessage)
    return whole


def _ending(chunks: list[Chunk]) -> list[Chunk]:
    transcript = UIMessageProtocol().transcript()
    for chunk in chunks:
        transcript.feed(chunk)
    return list(transcript.ending("finish"))


def block(kind: str, text: str, index: int | str | None = None) -> AIMessageChunk:
    content: dict[str, Any] = {"type": kind, kind: text}
    return AIMessageChunk([content if index is None else {**content, "index": index}])


def call(index: int | None, call_id: str | None, name: str | None, args: str) -> AIMessageChunk:
    return AIMessageChunk("", tool_call_chunks=[tool_call_chunk(index=index, id=call_id, name=name, args=args)])


@pytest.mark.parametrize("indices", [(0, 0), ("lc_rs_1", "lc_rs_1"), (None, None)])
def test_l24_blocks_of_one_index_are_one_part(indices: tuple[int | str | None, ...]) -> None:
    assert said(*(block("reasoning", text, index) for text, index in zip("ab", indices, strict=True))) == [
        "reasoning-start A:0",
        "reasoning-delta A:0 a",
        "reasoning-delta A:0 b",
        "reasoning-end A:0",
    ]


def test_l24_another_index_or_kind_is_another_part() -> None:
    lines = said(
        block("reasoning", "a", "rs_1"), block("reasoning", "b", "rs_2"), block("text", "c", 2), block("reasoning", "d", 3)
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


def test_a_call_ends_the_text_before_it() -> None:
    assert said(AIMessageChunk("Let me see."), call(0, "call_1", "weather", ""), call(0, None, None, "{}")) == [
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

    assert said(call(0, "call_1", None, '{"a"'), call(0, None, "weather", ":1}"), last=last)[:2] == [
        "tool-input-start call_1 weather",
        'tool-input-delta call_1 {"a":1}',
    ]


@pytest.mark.parametrize("index", [0, None])
def test_calls_that_share_an_index_are_told_apart_by_their_ids(index: int | None) -> None:
    args = [{"id": f"call_{number}", "name": "weather", "args": {"n": number}} for number in (1, 2)]
    chunks = [call(index, f"call_{number}", "weather", f'{{"n": {number}}}') for number in (1, 2)]

    assert [line for line in said(*chunks, last=AIMessage("", tool_calls=args)) if "available" in line] == [
        "tool-input-available call_1 weather {'n': 1}",
        "tool-input-available call_2 weather {'n': 2}",
    ]


def test_without_index_and_id_the_last_call_goes_on() -> None:
    last = AIMessage("", tool_calls=[{"id": "call_1", "name": "weather", "args": {}}])

    assert "tool-input-delta call_1 {}" in said(call(None, "call_1", "weather", ""), call(None, None, None, "{}"), last=last)


def test_a_streamed_call_that_the_message_does_not_have_is_an_error() -> None:
    assert said(call(0, "call_1", "weather", "{"), last=AIMessage("x"))[-1] == (
        "tool-input-error call_1 weather None The arguments of the call are not valid."
    )


def test_m7_a_tool_that_the_provider_runs_is_shown_with_its_result() -> None:
    asked = {"type": "server_tool_call", "id": "srv_1", "name": "web_search", "args": {"query": "x"}}
    answered = {"type": "server_tool_result", "tool_call_id": "srv_1", "status": "success", "output": [1]}

    assert said(AIMessageChunk([asked, answered]), AIMessageChunk("so"))[:2] == [
        "tool-input-available srv_1 True web_search {'query': 'x'}",
        "tool-output-available srv_1 True [1]",
    ]


def test_m7_a_result_may_lack_its_output() -> None:
    asked = {"type": "server_tool_call", "id": "srv_1", "name": "web_search", "args": {}}
    answered = {"type": "server_tool_result", "tool_call_id": "srv_1", "status": "success"}

    assert "tool-output-available srv_1 True None" in said(AIMessageChunk([asked, answered]))


def test_empty_tokens_say_nothing() -> None:
    assert said(AIMessageChunk(""), AIMessageChunk([]), AIMessageChunk([{"type": "text", "text": ""}])) == []


def test_a_completion_model_is_recorded_too() -> None:
    mapper, run_id = new_mapper(), uuid4()
    chunks = mapper.model_start(run_id, None, None, None)
    chunks += mapper.token(run_id, "Hel", GenerationChunk(text="Hel"))
    chunks += mapper.token(run_id, "lo", None)
    chunks += mapper.model_end(
        run_id, LLMResult(generations=[[Generation(text="Hello", generation_info={"finish_reason": "length"})]])
    )

    assert outline(chunks)[3:] == [
        "text-delta A:0 Hel",
        "text-delta A:0 lo",
        "text-end A:0",
        "message-metadata {'finishReason': 'length'}",
    ]


def test_l22_the_first_source_that_shows_something_is_the_source() -> None:
    def run(*acts: Callable[[LangChainMapper, UUID], list[Chunk]]) -> list[str]:
        mapper, run_id = new_mapper(), uuid4()
        chunks = mapper.model_start(run_id, None, None, None)
        return outline([*chunks, *(chunk for act in acts for chunk in act(mapper, run_id))])[3:]

    def token(text: str) -> Callable[[LangChainMapper, UUID], list[Chunk]]:
        return lambda mapper, run_id: mapper.token(run_id, text, ChatGenerationChunk(message=AIMessageChunk(text)))

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
def test_m29_reasons_are_said_in_the_words_of_the_ai_sdk(metadata: dict[str, Any], reason: str) -> None:
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
def test_m12_a_result_that_langchain_wrote_as_text_is_json_again(content: Any, value: Any) -> None:
    assert output_value(ToolMessage(content, tool_call_id="c")) == value


@pytest.mark.parametrize("seed", range(150))
def test_q2_any_interleaving_of_runs_makes_a_message_that_a_client_can_read(seed: int) -> None:
    chance = random.Random(seed)
    mapper = new_mapper()
    chunks: list[Chunk] = []
    runs: list[list[Callable[[], list[Chunk]]]] = [_random_run(mapper, chance, number) for number in range(3)]
    while any(runs):
        chunks += chance.choice([run for run in runs if run]).pop(0)()

    check_message([*chunks, *_ending(chunks)])


def _random_run(mapper: LangChainMapper, chance: random.Random, number: int) -> list[Callable[[], list[Chunk]]]:
    chain, model, tool_run, call_id = uuid4(), uuid4(), uuid4(), f"call_{chance.randrange(2)}"
    forms = [
        AIMessageChunk("text"),
        block("reasoning", "hm", chance.choice([0, "rs", None])),
        call(0, call_id, "tool", '{"n":'),
        call(0, None, None, str(number) + "}"),
        AIMessageChunk(""),
    ]
    tokens = [ChatGenerationChunk(message=chance.choice(forms)) for _ in range(chance.randrange(6))]
    whole = AIMessage("text", tool_calls=[{"id": call_id, "name": "tool", "args": {"n": number}}])
    result = LLMResult(generations=[[ChatGeneration(message=whole)]])
    acts: list[Callable[[], list[Chunk]]] = [
        lambda: mapper.run_start("chain", chain, None, None, None),
        lambda: mapper.model_start(model, chain, None, None),
        *((lambda token=token: mapper.token(model, "", token)) for token in tokens),
        chance.choice([lambda: mapper.model_end(model, result), lambda: mapper.model_error(model), lambda: []]),
        lambda: mapper.tool_start(tool_run, chain, None, "tool", call_id, {"n": number}),
        chance.choice([lambda: mapper.tool_end(tool_run, "done"), lambda: mapper.tool_error(tool_run, ValueError())]),
        lambda: mapper.run_end(chain, {}),
    ]
    return acts if chance.random() < 0.8 else acts[: chance.randrange(len(acts))]
