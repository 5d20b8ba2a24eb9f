"""Every text of any run is in the stored message: of its responses, and of its tools."""

from __future__ import annotations

from itertools import starmap
from typing import Any

from agents import Agent
from agents.items import ToolCallOutputItem
from agents.stream_events import RawResponsesStreamEvent, RunItemStreamEvent
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from openai._models import construct_type
from openai.types.responses import ResponseStreamEvent

from monostream_ai.openai_agents import AgentsMapper
from monostream_ai.recording.message import Recording
from monostream_ai.ui_messages import Chunk, UIMessageBuilder
from tests.openai.test_nothing_lost import responses
from tests.plugins.lanes import examples
from tests.recording.nothing_lost import lost, message_of, nested, texts_in

AGENT: Any = Agent(name="a")


def result(call_id: str, output: Any) -> RunItemStreamEvent:
    raw: Any = {"type": "function_call_output", "call_id": call_id, "output": output}
    item = ToolCallOutputItem(agent=AGENT, raw_item=raw, output=output)
    return RunItemStreamEvent(name="tool_output", item=item)


@st.composite
def runs(draw: st.DrawFn) -> tuple[list[Any], list[str]]:
    """Draw the events of a run, and the texts in them."""
    drawn, said = draw(responses())
    named = st.sampled_from(["call_0", "call_1", "unknown"])
    results = draw(st.lists(st.tuples(named, nested), max_size=3))
    # Results of the provider come with the response.
    ours = {item.get("call_id") for item in drawn[-1]["response"]["output"] if _is_ours(item)}
    results = [each for each in results if each[0] in {*ours, "unknown"}]
    kind: Any = ResponseStreamEvent
    typed: list[Any] = [construct_type(value=each, type_=kind) for each in drawn]
    return (
        [*(RawResponsesStreamEvent(data=each) for each in typed), *starmap(result, results)],
        [*said, *(text for _, output in results for text in texts_in(output))],
    )


def recorded(events: list[Any]) -> list[Chunk]:
    recording = Recording(UIMessageBuilder(message_id="m1"))
    mapper = AgentsMapper(recording)
    chunks = [chunk for event in events for chunk in mapper.feed(event)]
    assert mapper.output.complete
    return [*chunks, *recording.builder.finish()]


@settings(deadline=None, max_examples=examples(80), derandomize=True)
@given(run=runs())
def test_every_text_of_a_run_is_in_the_message(run: tuple[list[Any], list[str]]) -> None:
    events, said = run
    assume(len(said) == len(set(said)))

    assert lost(said, message_of(recorded(events))) == []


def _is_ours(item: Any) -> bool:
    return bool(item["type"] == "function_call")
