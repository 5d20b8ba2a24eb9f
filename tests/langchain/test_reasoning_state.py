"""State of reasoning goes to the page with an answer, and comes back with the history."""

from __future__ import annotations

from typing import Any

import pytest
from langchain_core.messages import AIMessage, AIMessageChunk, ToolMessage

from monostream_ai.langchain import to_langchain_messages
from tests.langchain.recording import Recorder
from tests.langchain.scripted import ScriptedModel, SilentModel

both = pytest.mark.parametrize("model", [ScriptedModel, SilentModel], ids=["streamed", "at once"])


def chunks(provider: str, *contents: Any, **last: Any) -> list[Any]:
    metadata = {"model_provider": provider}
    script: list[Any] = [
        AIMessageChunk(
            content if isinstance(content, str) else [content], response_metadata=metadata
        )
        for content in contents
    ]
    return [*script, AIMessageChunk("", response_metadata=metadata, **last)]


async def history(script: list[Any], model: type[SilentModel]) -> AIMessage:
    """Record an answer, and return it as the next request gives it to the model."""
    recorder = Recorder()
    await model(scripts=[script]).ainvoke("hi", recorder.config)
    answer, *_ = to_langchain_messages([{**recorder.sink.message(), "role": "assistant"}])
    assert isinstance(answer, AIMessage)
    return answer


THINKING = chunks(
    "anthropic",
    {"type": "thinking", "thinking": "Let me", "index": 0},
    {"type": "thinking", "thinking": " see.", "index": 0},
    {"type": "thinking", "signature": "sig1", "index": 0},
    {"type": "redacted_thinking", "data": "hidden", "index": 1},
    {"type": "text", "text": "Hello", "index": 2},
)


@both
async def test_a_signature_of_anthropic_comes_back(model: type[SilentModel]) -> None:
    answer = await history(THINKING, model)

    assert answer.content == [
        {"type": "reasoning", "reasoning": "Let me see.", "extras": {"signature": "sig1"}},
        {"type": "non_standard", "value": {"type": "redacted_thinking", "data": "hidden"}},
        {"type": "text", "text": "Hello"},
    ]
    assert answer.response_metadata == {"output_version": "v1", "model_provider": "anthropic"}


ENCRYPTED = chunks(
    "openai",
    {"type": "reasoning", "id": "rs_1", "summary": [], "index": 0},
    {
        "type": "reasoning",
        "summary": [{"type": "summary_text", "text": "Plan.", "index": 0}],
        "index": 0,
    },
    {"type": "reasoning", "id": "rs_1", "summary": [], "encrypted_content": "enc", "index": 0},
    {"type": "text", "text": "Hello", "index": 1},
)


async def test_encrypted_reasoning_of_openai_comes_back() -> None:
    answer = await history(ENCRYPTED, ScriptedModel)

    # langchain-openai makes a reasoning item with a summary and `encrypted_content` of this.
    assert answer.content == [
        {
            "type": "reasoning",
            "reasoning": "Plan.",
            "extras": {"encrypted_content": "enc"},
            "id": "rs_1",
        },
        {"type": "text", "text": "Hello"},
    ]


@both
async def test_encrypted_reasoning_without_a_summary_comes_before_the_text(
    model: type[SilentModel],
) -> None:
    encrypted = {"type": "reasoning", "id": "rs_1", "summary": [], "encrypted_content": "enc"}
    script = chunks("openai", encrypted, {"type": "text", "text": "Hello", "index": 1})

    answer = await history(script, model)

    assert answer.content == [
        {"type": "reasoning", "extras": {"encrypted_content": "enc"}, "id": "rs_1"},
        {"type": "text", "text": "Hello"},
    ]


@both
async def test_signatures_of_gemini_come_back(model: type[SilentModel]) -> None:
    call: Any = {"name": "weather", "args": '{"city": "Bern"}', "id": "c1", "index": 0}
    signatures = {"__gemini_function_call_thought_signatures__": {"c1": "sig2"}}
    script = chunks(
        "google_genai",
        {"type": "thinking", "thinking": "Hm", "signature": "sig1", "index": 0},
        tool_call_chunks=[call],
        additional_kwargs=signatures,
    )
    recorder = Recorder()
    await model(scripts=[script]).ainvoke("hi", recorder.config)
    message = recorder.sink.message()
    [part] = [part for part in message["parts"] if part["type"] == "dynamic-tool"]
    part |= {"state": "output-available", "output": "sunny"}

    answer, result = to_langchain_messages([{**message, "role": "assistant"}])

    assert answer.content[0] == {
        "type": "reasoning",
        "reasoning": "Hm",
        "extras": {"signature": "sig1"},
    }
    assert answer.additional_kwargs == signatures
    assert isinstance(result, ToolMessage)


@both
@pytest.mark.parametrize("alone", [False, True])
async def test_the_signature_of_a_text_of_gemini_comes_back(
    model: type[SilentModel], alone: bool
) -> None:
    signature = {"extras": {"signature": "sig1"}}
    blocks = [{"type": "text", "text": "It is "}, {"type": "text", "text": "sunny.", **signature}]
    if alone:
        blocks[-1:] = [
            {"type": "text", "text": "sunny."},
            {"type": "text", "text": "", **signature},
        ]
    script = chunks("google_genai", *blocks, {"type": "text", "text": "Bye."})

    answer = await history(script, model)

    signed = [block for block in answer.content if "extras" in block]
    assert [(block["text"], block["extras"]) for block in signed] in (
        [("It is sunny.", {"signature": "sig1"})],
        [("sunny.", {"signature": "sig1"})],
    )
    assert "".join(block["text"] for block in answer.content) == "It is sunny.Bye."
    assert answer.response_metadata["model_provider"] == "google_genai"


@both
async def test_a_signature_of_gemini_without_a_text_comes_back(model: type[SilentModel]) -> None:
    alone = {"type": "text", "text": "", "extras": {"signature": "sig1"}}

    answer = await history(chunks("google_genai", alone, {"type": "text", "text": "Hi"}), model)

    assert answer.content == [
        {"type": "reasoning", "reasoning": "", "extras": {"signature": "sig1"}},
        {"type": "text", "text": "Hi"},
    ]


@both
async def test_two_thoughts_keep_their_own_signatures(model: type[SilentModel]) -> None:
    script = chunks(
        "anthropic",
        {"type": "thinking", "thinking": "One.", "signature": "a", "index": 0},
        {"type": "thinking", "thinking": "Two.", "signature": "b", "index": 1},
        {"type": "text", "text": "So.", "index": 2},
    )

    answer = await history(script, model)

    assert [
        (block["reasoning"], block["extras"]["signature"])
        for block in answer.content_blocks
        if block["type"] == "reasoning"
    ] == [("One.", "a"), ("Two.", "b")]


async def test_a_signature_in_pieces_is_joined() -> None:
    script = chunks(
        "bedrock_converse",
        {"type": "reasoning_content", "reasoning_content": {"text": "Hm"}, "index": 0},
        {"type": "reasoning_content", "reasoning_content": {"signature": "si"}, "index": 0},
        {"type": "reasoning_content", "reasoning_content": {"signature": "g"}, "index": 0},
        {"type": "text", "text": "So.", "index": 1},
    )

    answer = await history(script, ScriptedModel)

    assert answer.content[0] == {
        "type": "reasoning",
        "reasoning": "Hm",
        "extras": {"signature": "sig"},
    }


@both
async def test_reasoning_without_state_is_left_out(model: type[SilentModel]) -> None:
    script = chunks("ollama", {"type": "thinking", "thinking": "Hm", "index": 0}, "So.")

    assert (await history(script, model)).content == "So."


def test_text_before_and_after_a_call_keeps_its_order() -> None:
    tool = {
        "type": "dynamic-tool",
        "toolName": "weather",
        "toolCallId": "c1",
        "state": "output-available",
        "input": {},
        "output": "sunny",
    }
    parts = [{"type": "text", "text": "Before."}, tool, {"type": "text", "text": "After."}]

    answer, _ = to_langchain_messages([{"id": "a", "role": "assistant", "parts": parts}])

    assert [block["type"] for block in answer.content_blocks] == ["text", "tool_call", "text"]


@pytest.mark.parametrize("metadata", [None, 7, [], {"anthropic": 7}, {"anthropic": {}}], ids=repr)
def test_a_forged_state_of_another_form_is_left_out(metadata: Any) -> None:
    parts = [
        {"type": "reasoning", "text": "x", "providerMetadata": metadata},
        {"type": "text", "text": "So."},
    ]

    [answer] = to_langchain_messages([{"id": "a", "role": "assistant", "parts": parts}])

    assert answer.content == "So."


@pytest.mark.parametrize(
    "state",
    [
        {"openrouter": {"reasoning_details": [{"type": "reasoning.text", "signature": "s"}]}},
        {"openaiCompatible": {"reasoningField": "reasoning_content"}},
    ],
)
def test_reasoning_with_state_that_langchain_cannot_give_back_is_left_out(state: Any) -> None:
    """Anthropic refuses thinking without a signature."""
    thought = {"type": "reasoning", "text": "Hm", "providerMetadata": state}
    parts = [thought, {"type": "text", "text": "Hi"}]

    [answer] = to_langchain_messages([{"id": "1", "role": "assistant", "parts": parts}])

    assert answer.content == "Hi"


@both
async def test_the_phase_of_a_text_comes_back(model: type[SilentModel]) -> None:
    """OpenAI tells commentaries from the final answer, and wants to know it again."""

    def said(index: int, phase: str, text: str) -> list[dict[str, Any]]:
        begun = {"type": "text", "text": "", "phase": phase, "index": index}
        return [begun, {"type": "text", "text": text, "index": index}]

    script = chunks("openai", *said(0, "commentary", "I look."), *said(1, "final_answer", "It is."))
    answer = await history(script, model)

    assert answer.content == [
        {"type": "text", "text": "I look.", "phase": "commentary"},
        {"type": "text", "text": "It is.", "phase": "final_answer"},
    ]
    assert answer.response_metadata["model_provider"] == "openai"


def test_the_state_of_a_text_that_langchain_cannot_give_back_changes_nothing() -> None:
    cited = {"anthropic": {"citations": [{"type": "char_location"}]}, "openai": {"phase": "system"}}
    part = {"type": "text", "text": "Hi", "providerMetadata": cited}

    [answer] = to_langchain_messages([{"id": "1", "role": "assistant", "parts": [part]}])

    assert answer.content == "Hi"
