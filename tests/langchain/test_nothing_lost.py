"""Every text of any stream is in the stored message, whatever its shape."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any
from uuid import uuid4

import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st
from langchain_core.messages import AIMessage, AIMessageChunk
from langchain_core.outputs import ChatGeneration, ChatGenerationChunk, LLMResult

from monostream_ai import create_service
from monostream_ai.langchain import record_graph
from monostream_ai.ui_messages import Chunk, UIMessageProtocol, reduce_chunks
from tests.langchain.one_model import new_mapper
from tests.langchain.recording import check_message
from tests.plugins.lanes import examples

KINDS = [
    "text",
    "output_text",
    "text-plain",
    "thinking",
    "reasoning",
    "reasoning_content",
    "refusal",
    "hologram",
    "x_search_call",
    "custom_tool_call_output",
    "program",
    "image",
    "file",
    "executable_code",
    "code_execution_result",
    "server_tool_use",
    "web_search_tool_result",
    "server_tool_call",
    "server_tool_result",
    "mcp_call",
    "computer_call",
    "image_url",
]
KEYS = [
    "text",
    "thinking",
    "reasoning",
    "reasoning_content",
    "refusal",
    "summary",
    "content",
    "body",
    "output",
    "query",
]
PROVIDERS = ["anthropic", "openai", "google_genai", "groq", "bedrock_converse", "mistralai"]
ENDS = [{}, {"finish_reason": "stop"}, {"stop_reason": "refusal"}, {"status": "completed"}]

texts = st.text("abcdefghijklmnopqrstuvwxyz", min_size=10, max_size=10)
nested = st.recursive(
    texts,
    lambda inner: st.one_of(
        st.lists(inner, max_size=2),
        st.builds(lambda value: [{"type": "text", "text": value}], texts),
        st.builds(lambda value: {"text": value}, inner),
    ),
    max_leaves=3,
)
indices = st.sampled_from([None, None, 0, 1, "a"])


@st.composite
def blocks(draw: st.DrawFn) -> dict[str, Any]:
    kind, index = draw(st.sampled_from(KINDS)), draw(indices)
    block: dict[str, Any] = {"type": kind, draw(st.sampled_from(KEYS)): draw(nested)}
    if kind.endswith(("_call", "_use", "_result", "_output")):
        block |= {"id": draw(texts), "name": "tool"}
    if index is None and draw(st.booleans()):
        # With an index, LangChain adds it to the extras of the block there, as its state.
        return {"type": "non_standard", "value": block}
    return block if index is None else {**block, "index": index}


@st.composite
def chunks(draw: st.DrawFn) -> AIMessageChunk:
    provider = draw(st.sampled_from([None, *PROVIDERS]))
    content = draw(st.one_of(texts, st.lists(st.one_of(texts, blocks()), max_size=3)))
    field = draw(st.sampled_from([None, None, "reasoning_content", "reasoning", "refusal"]))
    beside = {} if field is None else {field: draw(texts)}
    return AIMessageChunk(
        content,
        additional_kwargs=beside,
        response_metadata={} if provider is None else {"model_provider": provider},
    )


def texts_in(value: Any) -> list[str]:
    """Return the strings in a value, except types, names, ids and places."""
    if isinstance(value, str):
        return [value] if value else []
    if isinstance(value, dict):
        skipped = ("type", "id", "name", "index")
        value = [item for key, item in value.items() if key not in skipped]
    items = value if isinstance(value, list) else []
    return [text for item in items for text in texts_in(item)]


def record(script: list[AIMessageChunk], whole: AIMessage, *, streams: bool) -> Any:
    mapper, run_id = new_mapper(), uuid4()
    sent = mapper.model_start(run_id)
    for message in script if streams else ():
        sent += mapper.token(run_id, message.text, ChatGenerationChunk(message=message))
    result = LLMResult(generations=[[ChatGeneration(message=whole)]])
    sent += mapper.model_end(run_id, result)
    ended: list[Chunk] = [*sent, *_ending(sent)]
    check_message(ended)
    return reduce_chunks(ended)


def _ending(sent: list[Chunk]) -> list[Chunk]:
    transcript = UIMessageProtocol().transcript()
    for chunk in sent:
        transcript.feed(chunk)
    return list(transcript.ending("finish"))


# The same examples each time: the random ones also find blocks that mix two kinds under one index,
# which LangChain merges and no vendor sends.
@settings(deadline=None, max_examples=examples(300), derandomize=True)
@given(
    script=st.lists(chunks(), min_size=1, max_size=4),
    end=st.sampled_from(ENDS),
    streams=st.booleans(),
)
@example(
    script=[AIMessageChunk([{"type": "thinking", "thinking": [{"text": "deep"}]}])],
    end={},
    streams=True,
)
@example(
    script=[AIMessageChunk([{"type": "text", "thinking": "deep", "refusal": "never"}])],
    end={},
    streams=False,
)
@example(
    script=[
        AIMessageChunk(
            [{"type": "thinking", "text": "deep", "body": "of it"}],
            response_metadata={"model_provider": "anthropic"},
        )
    ],
    end={},
    streams=False,
)
def test_every_text_of_a_stream_is_in_the_message(
    script: list[AIMessageChunk], end: dict[str, Any], streams: bool
) -> None:
    try:
        whole: Any = sum(script[1:], start=script[0])
        whole = whole + AIMessageChunk("", response_metadata=end)
    except Exception:
        # LangChain itself cannot join these chunks, so no model can send them.
        assume(False)
    given = script if streams else [whole]
    said = [
        text
        for message in given
        for part in (message.content, message.additional_kwargs)
        for text in texts_in(part)
    ]
    # A text that stands in two blocks would hide the loss of one of them.
    assume(len(said) == len(set(said)))

    message = record(script, whole, streams=streams)

    stored = json.dumps(message)
    assert [text for text in said if text not in stored] == []


@pytest.mark.parametrize("streams", [True, False])
@pytest.mark.parametrize(
    "kinds",
    [
        [("text", "text"), ("text", "thinking"), ("text", "text")],
        [("text", "thinking"), ("text", "text")],
        [("thinking", "thinking"), ("text", "text")],
        [("reasoning", "reasoning"), ("text", "text"), ("thinking", "thinking")],
    ],
)
def test_blocks_of_several_kinds_under_one_index_are_shown_once_as_their_kind(
    kinds: list[tuple[str, str]], *, streams: bool
) -> None:
    said = ["one ", "two ", "three "][: len(kinds)]
    script = [
        AIMessageChunk([{"type": kind, key: words, "index": 0}])
        for (kind, key), words in zip(kinds, said, strict=True)
    ]
    whole: Any = sum(script[1:], start=script[0])

    message = record(script, whole, streams=streams)

    shown, wanted = {"text": "", "reasoning": ""}, {"text": "", "reasoning": ""}
    for part in message["parts"][1:]:
        shown[part["type"]] += part["text"]
    for (_, key), words in zip(kinds, said, strict=True):
        wanted["text" if key == "text" else "reasoning"] += words
    assert shown == wanted


@st.composite
def interleaved(draw: st.DrawFn) -> tuple[list[Any], list[str]]:
    """Draw the items of a graph whose node runs several models at once, and their texts."""
    streams, said = [], []
    for number in range(draw(st.integers(1, 4))):
        pieces = draw(st.lists(texts, min_size=1, max_size=3))
        said.append("".join(pieces))
        place = {"langgraph_checkpoint_ns": f"speak:{number}", "langgraph_step": 1}
        marked = draw(st.booleans())
        whole = AIMessage(said[-1], id=f"m{number}")
        chunks = [AIMessageChunk(piece, id=whole.id) for piece in pieces]
        if marked:
            chunks.append(AIMessageChunk("", id=whole.id, chunk_position="last"))
        update = {"speak": {"messages": [whole]} if marked or draw(st.booleans()) else None}
        spoken = [("messages", (chunk, place)) for chunk in chunks]
        streams.append([*spoken, ("updates", update)])
    order = draw(st.permutations([n for n, items in enumerate(streams) for _ in items]))
    return [streams[number].pop(0) for number in order], said


@settings(deadline=None, max_examples=examples(100), derandomize=True)
@given(drawn=interleaved())
def test_models_of_a_graph_that_speak_at_once_are_all_heard(
    drawn: tuple[list[Any], list[str]],
) -> None:
    items, said = drawn

    async def stream() -> AsyncIterator[Any]:
        for item in items:
            yield item

    async def message() -> Any:
        async with create_service("memory://") as service:
            async with service.publisher("s") as pub:
                await record_graph(stream(), pub)
            return reduce_chunks([chunk async for chunk in service.subscribe("s")])

    parts = asyncio.run(message())["parts"]
    assert sorted(part["text"] for part in parts if part["type"] == "text") == sorted(said)
