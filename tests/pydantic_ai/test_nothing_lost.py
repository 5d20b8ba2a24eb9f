"""Every text that the adapter sends of any run is in the stored message."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Iterable
from typing import Any, Final

from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic_ai import Agent
from pydantic_ai.messages import (
    BinaryContent,
    FilePart,
    FunctionToolCallEvent,
    FunctionToolResultEvent,
    NativeToolCallPart,
    NativeToolReturnPart,
    PartDeltaEvent,
    PartEndEvent,
    PartStartEvent,
    TextPart,
    TextPartDelta,
    ThinkingPart,
    ThinkingPartDelta,
    ToolCallPart,
    ToolCallPartDelta,
    ToolReturnPart,
)
from pydantic_ai.models.test import TestModel
from pydantic_ai.run import AgentRunResultEvent
from pydantic_ai.ui.vercel_ai import VercelAIAdapter

from monostream_ai.pydantic_ai.runs import RunMapper
from monostream_ai.recording.message import Recording
from monostream_ai.ui_messages import Chunk, UIMessageBuilder, to_json_value
from tests.plugins.lanes import examples
from tests.pydantic_ai.test_capture import QUESTION
from tests.recording.nothing_lost import lost, message_of, nested, texts, texts_in

AGENT: Any = Agent(TestModel())
RESULT: Final[Any] = AgentRunResultEvent(asyncio.run(AGENT.run("Hi")))


@st.composite
def parts(draw: st.DrawFn, number: int) -> tuple[Any, list[Any], Any]:
    """Draw a part as it begins, its deltas, and the whole part."""
    kind = draw(st.sampled_from(["text", "thinking", "call", "native", "file"]))
    said = draw(st.lists(texts, min_size=1, max_size=3))
    whole = "".join(said)
    if kind == "text":
        return TextPart(said[0]), [TextPartDelta(each) for each in said[1:]], TextPart(whole)
    if kind == "thinking":
        signature = draw(st.sampled_from([None, "signed"]))
        deltas: list[Any] = [ThinkingPartDelta(content_delta=each) for each in said[1:]]
        deltas.append(ThinkingPartDelta(signature_delta=signature))
        return ThinkingPart(said[0]), deltas, ThinkingPart(whole, signature=signature)
    if kind == "file":
        file = FilePart(BinaryContent(whole.encode(), media_type="image/png"))
        return file, [], file
    arguments, call_id = json.dumps({"a": draw(nested)}), f"c{number}"
    cut = draw(st.integers(0, len(arguments)))
    call = ToolCallPart if kind == "call" else NativeToolCallPart
    begun = call("ask", arguments[:cut] or None, tool_call_id=call_id)
    delta = ToolCallPartDelta(args_delta=arguments[cut:], tool_call_id=call_id)
    return begun, [delta], call("ask", arguments, tool_call_id=call_id)


def part_events(index: int, begun: Any, deltas: list[Any], whole: Any) -> list[Any]:
    return [
        PartStartEvent(index=index, part=begun),
        *(PartDeltaEvent(index=index, delta=each) for each in deltas),
        PartEndEvent(index=index, part=whole),
    ]


contents = st.one_of(st.none(), texts, st.lists(texts, max_size=2))


@st.composite
def runs(draw: st.DrawFn) -> list[Any]:
    """Draw the events of a run: responses of the model, each with the results of its tools."""
    events: list[Any] = []
    for response in range(draw(st.integers(1, 3))):
        index, calls = 0, []
        for number in range(draw(st.integers(1, 3))):
            begun, deltas, whole = draw(parts(response * 10 + number))
            events += part_events(index, begun, deltas, whole)
            index += 1
            if isinstance(whole, ToolCallPart):
                calls.append(whole)
            elif isinstance(whole, NativeToolCallPart) and draw(st.booleans()):
                result = NativeToolReturnPart("ask", draw(nested), tool_call_id=whole.tool_call_id)
                events += part_events(index, result, [], result)
                index += 1
        events += [FunctionToolCallEvent(call) for call in calls]
        for call in draw(st.permutations(calls)):
            content, called = draw(st.one_of(st.none(), nested)), call.tool_call_id
            outcome: Any = draw(st.sampled_from(["success", "retried"]))
            part: Any = ToolReturnPart("ask", content, tool_call_id=called, outcome=outcome)
            events.append(FunctionToolResultEvent(part, content=draw(contents)))
    return events


async def sent(events: Iterable[Any]) -> list[Any]:
    async def native() -> AsyncIterator[Any]:
        for event in events:
            yield event

    adapter = VercelAIAdapter(AGENT, VercelAIAdapter.build_run_input(QUESTION), sdk_version=6)
    return [chunk async for chunk in adapter.transform_stream(native())]


def recorded(stream: Iterable[Any]) -> list[Chunk]:
    """Return the chunks of the message of these events or chunks of the adapter."""
    recording = Recording(UIMessageBuilder(message_id="m1"))
    mapper = RunMapper(recording)
    chunks = [chunk for each in stream for chunk in mapper.feed(each)]
    assert mapper.output.complete
    assert mapper.output.failure is None
    return [*chunks, *recording.builder.finish()]


@settings(deadline=None, max_examples=examples(100), derandomize=True)
@given(events=runs())
def test_every_text_of_a_run_is_in_the_message(events: list[Any]) -> None:
    given = asyncio.run(sent([*events, RESULT]))
    said = [_content(json.loads(each.encode(6))) for each in given if each.type != "done"]
    for stream in (given, [*events, RESULT]):
        assert lost(texts_in(said), message_of(recorded(stream))) == []
    besides = [each.content for each in events if isinstance(each, FunctionToolResultEvent)]
    assert lost(texts_in(to_json_value(besides)), message_of(recorded([*events, RESULT]))) == []


def _content(chunk: Any) -> Any:
    """Return a chunk without the adapter's id of the message, and pieces of JSON, which follow
    whole.
    """
    return {key: chunk[key] for key in chunk if key not in ("messageId", "inputTextDelta")}
