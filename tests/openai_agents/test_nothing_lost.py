"""Every text of any run is in the stored message: of its responses, and of its tools."""

from __future__ import annotations

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
from monostream_ai.ui_messages import UIMessageBuilder
from tests.openai.test_nothing_lost import responses
from tests.recording.nothing_lost import lost, message_of, nested, texts_in

AGENT: Any = Agent(name="a")


def result(call_id: str, output: Any) -> RunItemStreamEvent:
    raw: Any = {"type": "function_call_output", "call_id": call_id, "output": output}
    item = ToolCallOutputItem(agent=AGENT, raw_item=raw, output=output)
    return RunItemStreamEvent(name="tool_output", item=item)


@settings(deadline=None, max_examples=200, derandomize=True)
@given(
    drawn=responses(),
    results=st.lists(
        st.tuples(st.sampled_from(["call_0", "call_1", "unknown"]), nested), max_size=3
    ),
)
def test_every_text_of_a_run_is_in_the_message(
    drawn: tuple[list[Any], list[str]], results: list[tuple[str, Any]]
) -> None:
    events, said = drawn
    # Results of the provider come with the response.
    ours = {item.get("call_id") for item in events[-1]["response"]["output"] if _is_ours(item)}
    results = [each for each in results if each[0] in {*ours, "unknown"}]
    said = [*said, *(text for _, output in results for text in texts_in(output))]
    assume(len(said) == len(set(said)))
    recording = Recording(UIMessageBuilder(message_id="m1"))
    mapper = AgentsMapper(recording)

    chunks = []
    for each in events:
        kind: Any = ResponseStreamEvent
        event = RawResponsesStreamEvent(data=construct_type(value=each, type_=kind))
        chunks += mapper.feed(event)
    for call_id, output in results:
        chunks += mapper.feed(result(call_id, output))
    assert mapper.output.complete
    chunks += recording.builder.finish()

    assert lost(said, message_of(chunks)) == []


def _is_ours(item: Any) -> bool:
    return bool(item["type"] == "function_call")
