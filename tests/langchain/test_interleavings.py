"""Runs in any order, cut off anywhere, make a message that a client can read (Q2)."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, TypeAlias
from uuid import UUID

from hypothesis import given, settings
from hypothesis import strategies as st
from langchain_core.messages import AIMessage, AIMessageChunk, ToolMessage
from langchain_core.messages.tool import tool_call_chunk
from langchain_core.outputs import ChatGeneration, ChatGenerationChunk, LLMResult
from langgraph.errors import GraphInterrupt
from langgraph.types import Interrupt

from monostream_ai.langchain.agent_message import AgentMessage
from monostream_ai.langchain.mapper import LangChainMapper
from monostream_ai.langchain.runs import Runs
from monostream_ai.types import Ending
from monostream_ai.ui_messages import Chunk, UIMessageProtocol
from monostream_ai.ui_messages.protocol import TERMINAL_TYPES
from tests.langchain.recording import check_message
from tests.plugins.lanes import examples

Act: TypeAlias = Callable[[LangChainMapper], list[Chunk]]

CITED = {"type": "text", "text": "a", "annotations": [{"type": "citation", "url": "https://a"}]}
SERVED: list[str | dict[str, Any]] = [
    {"type": "server_tool_call", "id": "srv", "name": "search", "args": {}},
    {"type": "server_tool_result", "tool_call_id": "srv", "status": "success"},
]
INTERRUPT = GraphInterrupt(
    [Interrupt({"action_requests": [{"name": "tool", "args": {}}]}, id="i1")]
)
ERRORS = [ConnectionError(), GeneratorExit(), INTERRUPT]

call_ids = st.sampled_from(["call_1", "call_2", None])


@st.composite
def tokens(draw: st.DrawFn) -> AIMessageChunk:
    call = {
        "id": draw(call_ids),
        "name": draw(st.sampled_from(["tool", None])),
        "args": draw(st.sampled_from(["", "{", "}"])),
    }
    pieces = [
        AIMessageChunk(""),
        AIMessageChunk("text"),
        AIMessageChunk(
            [{"type": "reasoning", "reasoning": "hm", "index": draw(st.sampled_from([0, "rs"]))}]
        ),
        AIMessageChunk([CITED]),
        AIMessageChunk([{"type": "image", "base64": "AA==", "index": 1}]),
        AIMessageChunk(SERVED),
        AIMessageChunk(
            "",
            tool_call_chunks=[tool_call_chunk(index=draw(st.sampled_from([0, 1, None])), **call)],
        ),
    ]
    return draw(st.sampled_from(pieces))


@st.composite
def events(draw: st.DrawFn) -> dict[str, Any]:
    index = draw(st.sampled_from([0, 1]))
    call = {
        "type": "tool_call_chunk",
        "id": draw(call_ids),
        "name": "tool",
        "args": draw(st.sampled_from(["", "{", "{}"])),
    }
    deltas: list[dict[str, Any]] = [
        {"type": "text-delta", "text": "x"},
        {"type": "reasoning-delta", "reasoning": "x"},
        {"type": "tool-call-delta", "args": "{}"},
        {"type": "block-delta", "fields": call},
    ]
    contents: list[dict[str, Any]] = [
        call,
        {**call, "type": "tool_call", "args": {}},
        CITED,
        *map(dict, SERVED),
    ]
    return draw(
        st.one_of(
            st.just({"event": "message-start"}),
            st.sampled_from(
                [
                    {"event": "content-block-delta", "index": index, "delta": delta}
                    for delta in deltas
                ]
            ),
            st.sampled_from(
                [
                    {"event": "content-block-start", "index": index, "content": content}
                    for content in contents
                ]
            ),
            st.sampled_from(
                [
                    {"event": "content-block-finish", "index": index, "content": content}
                    for content in contents
                ]
            ),
        )
    )


@st.composite
def messages(draw: st.DrawFn) -> AIMessage:
    ids = draw(st.lists(call_ids, max_size=2))
    invalid: Any = (
        [{"id": "bad", "name": "tool", "args": "{", "error": None}] if draw(st.booleans()) else []
    )
    tool_calls: Any = [{"id": call_id, "name": "tool", "args": {}} for call_id in ids]
    return AIMessage(
        draw(st.sampled_from(["", "text", [CITED]])),
        tool_calls=tool_calls,
        invalid_tool_calls=invalid,
    )


@st.composite
def model_runs(draw: st.DrawFn, parent: UUID | None) -> list[Act]:
    run_id, error = draw(st.uuids()), draw(st.sampled_from(ERRORS))
    result = LLMResult(generations=[[ChatGeneration(message=draw(messages()))]])
    said: list[Act] = [_token(run_id, token) for token in draw(st.lists(tokens(), max_size=4))]
    said += [_event(run_id, event) for event in draw(st.lists(events(), max_size=4))]
    ends: list[list[Act]] = [
        [lambda mapper: mapper.model_end(run_id, result)],
        [lambda mapper: mapper.model_error(run_id, error)],
        [],
    ]
    return [
        lambda mapper: mapper.model_start(run_id, parent, None, None),
        *said,
        *draw(st.sampled_from(ends)),
    ]


@st.composite
def tool_runs(draw: st.DrawFn, parent: UUID | None) -> list[Act]:
    run_id, call_id, error = draw(st.uuids()), draw(call_ids), draw(st.sampled_from(ERRORS))
    status: Any = draw(st.sampled_from(["success", "error"]))
    output = draw(
        st.sampled_from(
            ["done", ToolMessage("{}", tool_call_id=call_id or "x", status=status), [None]]
        )
    )
    ends: list[list[Act]] = [
        [lambda mapper: mapper.tool_end(run_id, output)],
        [lambda mapper: mapper.tool_error(run_id, error)],
        [],
    ]
    return [
        lambda mapper: mapper.tool_start(run_id, parent, None, "tool", call_id, {}),
        *draw(st.sampled_from(ends)),
    ]


@st.composite
def chains(draw: st.DrawFn) -> list[Act]:
    """A chain, with models and tools in it; some report no parent, as fallbacks do."""
    run_id, error = draw(st.uuids()), draw(st.sampled_from(ERRORS))
    parent = draw(st.sampled_from([run_id, None]))
    inner = draw(st.lists(st.one_of(model_runs(parent), tool_runs(parent)), max_size=3))
    answers = {"messages": [ToolMessage("no", tool_call_id="call_1", status="error")]}
    end: list[Act] = [
        lambda mapper: mapper.run_end(run_id, answers),
        lambda mapper: mapper.run_error(run_id, error),
    ]
    event: Act = lambda mapper: mapper.custom_event("note", {"id": "n"})  # noqa: E731
    outer = draw(st.sampled_from([None, UUID(int=1)]))
    start: Act = lambda mapper: mapper.run_start("chain", run_id, outer, None, None)  # noqa: E731
    return [start, *(act for acts in inner for act in acts), event, draw(st.sampled_from(end))]


def _token(run_id: UUID, token: AIMessageChunk) -> Act:
    return lambda mapper: mapper.token(run_id, token.text, ChatGenerationChunk(message=token))


def _event(run_id: UUID, event: dict[str, Any]) -> Act:
    return lambda mapper: mapper.stream_event(run_id, event)


def interleaved(runs: list[list[Act]], choose: Callable[[int], int]) -> Iterator[Act]:
    waiting = [iter(run) for run in runs]
    while waiting:
        run = waiting[choose(len(waiting))]
        if (act := next(run, None)) is None:
            waiting.remove(run)
        else:
            yield act


@settings(deadline=None, max_examples=examples(300))
@given(
    runs=st.lists(chains(), min_size=1, max_size=3),
    order=st.randoms(use_true_random=False),
    cut=st.integers(0, 60),
    ending=st.sampled_from(["finish", "error", "abort", "lost"]),
)
def test_q2_any_interleaving_that_ends_anywhere_makes_a_message(
    runs: list[list[Act]], order: Any, cut: int, ending: Ending
) -> None:
    mapper = LangChainMapper(AgentMessage(message_id="m1"), Runs())
    acts = list(interleaved(runs, order.randrange))[:cut]
    chunks = [chunk for act in acts for chunk in act(mapper)]
    transcript = UIMessageProtocol().transcript("m1")
    for chunk in chunks:
        transcript.feed(chunk)
    whole = [*chunks, *transcript.ending(ending)]

    check_message(whole)
    assert [chunk["type"] in TERMINAL_TYPES for chunk in whole].count(True) == 1
    assert whole[-1]["type"] in TERMINAL_TYPES
