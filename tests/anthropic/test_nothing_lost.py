"""Every text of any stream is in the stored message."""

from __future__ import annotations

import json
from typing import Any

from anthropic._models import construct_type
from anthropic.types import RawMessageStreamEvent
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from monostream_ai.anthropic.mapper import AnthropicMapper
from monostream_ai.recording.message import Recording
from monostream_ai.ui_messages import Chunk, UIMessageBuilder
from tests.plugins.lanes import examples
from tests.recording.nothing_lost import lost, message_of, nested, texts, texts_in

Event = dict[str, Any]

CALLS = ["tool_use", "server_tool_use", "mcp_tool_use"]
RESULTS = [
    "web_search_tool_result",
    "code_execution_tool_result",
    "bash_code_execution_tool_result",
    "mcp_tool_result",
    "hologram_tool_result",
]
OTHERS = ["hologram", "container_upload", "search_result", "document"]
DELTAS = {
    "text": ("text_delta", "text"),
    "thinking": ("thinking_delta", "thinking"),
    "compaction": ("compaction_delta", "content"),
}


@st.composite
def blocks(draw: st.DrawFn, number: int) -> tuple[Event, list[Event]]:
    """Draw a block as it begins, and its deltas."""
    kind = draw(st.sampled_from(["text"] * 3 + ["thinking"] * 2 + ["compaction"] + CALLS + RESULTS))
    kind = draw(st.sampled_from([kind, kind, draw(st.sampled_from(OTHERS))]))
    value = draw(st.one_of(texts, nested))
    if kind in CALLS:
        begun = {"type": kind, "id": f"c{number}", "name": "f", "input": {}}
        given_whole = draw(st.booleans())
        if given_whole:
            return {**begun, "input": {"a": value}}, []
        text = json.dumps({"a": value})
        cut = draw(st.integers(0, len(text)))
        halves = [text[:cut], text[cut:]]
        return begun, [{"type": "input_json_delta", "partial_json": half} for half in halves]
    if kind in RESULTS:
        call = draw(st.sampled_from([f"c{number - 1}", "unknown"]))
        return {"type": kind, "tool_use_id": call, "content": value}, []
    if kind in OTHERS:
        deltas = draw(st.lists(st.builds(lambda v: {"type": "hologram_delta", "a": v}, nested)))
        return {"type": kind, "body": value}, deltas[:1]
    delta, key = DELTAS[kind]
    begun = {"type": kind, key: draw(st.sampled_from(["", value]))}
    deltas = draw(
        st.lists(
            st.one_of(
                st.builds(lambda v: {"type": delta, key: v}, st.one_of(texts, nested)),
                st.builds(lambda v: {"type": "hologram_delta", "light": v}, nested),
                st.builds(
                    lambda v: {"type": "citations_delta", "citation": {"cited_text": v}}, texts
                ),
            ),
            max_size=2,
        )
    )
    return begun, deltas


@st.composite
def streams(draw: st.DrawFn) -> list[Event]:
    events: list[Event] = []
    for number in range(draw(st.integers(1, 4))):
        begun, deltas = draw(blocks(number))
        events.append({"type": "content_block_start", "index": number, "content_block": begun})
        events += [
            {"type": "content_block_delta", "index": number, "delta": delta} for delta in deltas
        ]
        if draw(st.integers(0, 4)):
            events.append({"type": "content_block_stop", "index": number})
    if draw(st.integers(0, 3)) == 0:
        events.append({"type": "hologram", "body": draw(nested)})
    return events


def recorded(events: list[Event], *, typed: bool) -> list[Chunk]:
    recording = Recording(UIMessageBuilder(message_id="m1"))
    mapper = AnthropicMapper(recording)
    chunks: list[Chunk] = []
    ends = {"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": {}}
    begins = {"type": "message_start", "message": {"id": "msg", "content": [], "usage": {}}}
    for each in [begins, *events, ends, {"type": "message_stop"}]:
        kind: Any = RawMessageStreamEvent
        chunks += mapper.feed(construct_type(value=each, type_=kind) if typed else each)
    assert mapper.output.complete
    return [*chunks, *recording.builder.finish()]


@settings(deadline=None, max_examples=examples(100), derandomize=True)
@given(events=streams(), typed=st.booleans())
def test_every_text_of_a_stream_is_in_the_message(events: list[Event], typed: bool) -> None:
    said = texts_in(contents(events))
    assume(len(said) == len(set(said)))

    assert lost(said, message_of(recorded(events, typed=typed))) == []


def contents(events: list[Event]) -> list[Any]:
    """Return the contents of events, with the pieces of each call's JSON joined."""
    found: list[Any] = []
    inputs: dict[int, str] = {}
    for event in events:
        delta = event.get("delta", {})
        if delta.get("type") == "input_json_delta":
            inputs[event["index"]] = inputs.get(event["index"], "") + delta["partial_json"]
        else:
            found.append(event)
    return [*found, *inputs.values()]
