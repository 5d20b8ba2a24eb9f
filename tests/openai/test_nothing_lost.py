"""Every text of any stream is in the stored message, or in a loss that is reported."""

from __future__ import annotations

import json
from typing import Any, NamedTuple

from hypothesis import assume, example, given, settings
from hypothesis import strategies as st
from openai._models import construct_type
from openai.types.chat import ChatCompletionChunk
from openai.types.responses import ResponseStreamEvent

from monostream_ai.openai.events import EventMapper
from monostream_ai.recording.message import Recording
from monostream_ai.recording.model_output import leftovers_of
from monostream_ai.ui_messages import UIMessageBuilder, reduce_chunks
from tests.openai.storing import check_message
from tests.openai.streaming import Event, chunk, completed, created, event
from tests.plugins.lanes import examples

SKIPPED = {"type", "id", "item_id", "call_id", "name", "index", "role", "object", "finish_reason"}
PARTS = [
    "text",
    "output_text",
    "thinking",
    "reasoning",
    "refusal",
    "reference",
    "hologram",
    "summary_text",
    "image_url",
    "audio",
]
KEYS = [
    "text",
    "thinking",
    "reasoning",
    "refusal",
    "summary",
    "content",
    "transcript",
    "body",
    "query",
    "result",
]
FIELDS = [
    "content",
    "content",
    "content",
    "reasoning_content",
    "reasoning",
    "reasoning_text",
    "thinking",
    "refusal",
    "thinking_blocks",
    "reasoning_details",
    "hologram",
    "annotations",
    "citations",
    "images",
    "audio",
    "provider_content",
]
CALLS = [
    "web_search_call",
    "x_search_call",
    "hologram_call",
    "code_interpreter_call",
    "mcp_call",
    "program",
    "shell_call",
    "computer_call",
    "local_shell_call",
    "tool_search_call",
    "custom_tool_call",
    "function_call",
]
RESULTS = ["shell_call_output", "x_search_call_output", "program_output", "hologram_output"]
OTHERS = ["hologram", "compaction", "mcp_approval_request"]

texts = st.text("abcdefghijklmnopqrstuvwxyz", min_size=12, max_size=12)
nested = st.recursive(
    texts,
    lambda inner: st.one_of(
        st.lists(inner, max_size=2),
        st.builds(lambda value: [{"type": "text", "text": value}], texts),
        st.builds(
            lambda kind, key, value: {"type": kind, key: value},
            *(
                st.sampled_from(PARTS),
                st.sampled_from(KEYS),
                inner,
            ),
        ),
    ),
    max_leaves=4,
)


def texts_in(value: Any) -> list[str]:
    """Return the strings in a value, except types, names, ids and places."""
    if isinstance(value, str):
        return [value] if value else []
    if isinstance(value, dict):
        value = [item for key, item in value.items() if key not in SKIPPED]
    return [text for item in value for text in texts_in(item)] if isinstance(value, list) else []


@st.composite
def call_pieces(draw: st.DrawFn) -> Event:
    function: Event = {}
    if draw(st.booleans()):
        function["name"] = draw(st.sampled_from(["f", "g"]))
    value = draw(texts)
    function["arguments"] = draw(st.sampled_from([{"a": value}, json.dumps({"a": value})]))
    piece: Event = {"type": "function", "function": function}
    piece |= draw(st.sampled_from([{}, {"index": 0}, {"index": 1}]))
    return piece | draw(st.sampled_from([{}, {"id": ""}, {"id": "c1"}, {"id": "c2"}]))


@st.composite
def chat_chunks(draw: st.DrawFn) -> Event:
    fields = {
        field: {"transcript": draw(nested)} if field == "audio" else draw(nested)
        for field in draw(st.lists(st.sampled_from(FIELDS), max_size=2))
    }
    if draw(st.booleans()):
        names = ["thinking_blocks", "citations", "web_search_results", "hologram"]
        passed_on = {name: draw(nested) for name in draw(st.lists(st.sampled_from(names)))}
        fields["provider_specific_fields"] = {
            name: value for name, value in passed_on.items() if name not in fields
        }
    if draw(st.booleans()):
        fields["tool_calls"] = draw(st.lists(call_pieces(), max_size=2))
    shape = draw(st.sampled_from(["delta", "delta", "delta", "message", "text"]))
    if shape == "text":
        return chunk({"index": 0, "text": draw(texts)})
    return chunk({"index": 0, shape: fields})


def stored(events: list[Event], *, typed: bool) -> tuple[Any, Recording]:
    """Return the message for these events, which are given as dicts or as the SDK makes them."""
    recording = Recording(UIMessageBuilder(message_id="m1"))
    mapper = EventMapper(recording, encrypted_reasoning=True, other_items=False)
    kind: Any = ChatCompletionChunk if "choices" in events[0] else ResponseStreamEvent
    chunks = []
    for each in events:
        made = construct_type(value=each, type_=kind) if typed else each
        chunks += mapper.feed(made)
    assert mapper.output.complete
    chunks += recording.builder.finish()
    check_message(chunks)
    return reduce_chunks(chunks), recording


@settings(deadline=None, max_examples=examples(300), derandomize=True)
@given(events=st.lists(chat_chunks(), min_size=1, max_size=5), typed=st.booleans())
@example(
    events=[
        chunk({"index": 0, "delta": {"content": [{"type": "thinking", "thinking": ["deep"]}]}})
    ],
    typed=True,
)
def test_every_text_of_a_chat_is_in_the_message(events: list[Event], typed: bool) -> None:
    said = [text for each in events for text in texts_in(each["choices"])]
    # A text that stands in two places would hide the loss of one of them.
    said = [text for each in said for text in (texts_in(_parsed(each)) or [each])]
    assume(len(said) == len(set(said)))

    last = chunk({"index": 0, "delta": {}, "finish_reason": "stop"})
    message, _ = stored([*events, last], typed=typed)

    kept = json.dumps(message)
    assert [text for text in said if text not in kept] == []


def _parsed(text: str) -> Any:
    return json.loads(text) if text.startswith("{") else None


def message_item(contents: list[str], number: int) -> Event:
    listed = [{"type": "output_text", "text": text, "annotations": []} for text in contents]
    return {"id": f"msg_{number}", "type": "message", "role": "assistant", "content": listed}


def reasoning_item(contents: list[str], number: int) -> Event:
    listed = [{"type": "summary_text", "text": text} for text in contents]
    return {"id": f"rs_{number}", "type": "reasoning", "summary": listed}


@st.composite
def items(draw: st.DrawFn, number: int) -> Event:
    kind = draw(st.sampled_from(["message"] * 4 + ["reasoning"] * 3 + [*CALLS, *RESULTS, *OTHERS]))
    if kind in ("message", "reasoning"):
        contents = draw(st.lists(texts, min_size=1, max_size=2))
        return (message_item if kind == "message" else reasoning_item)(contents, number)
    item: Event = {"id": f"item_{number}", "type": kind, "status": "completed"}
    if draw(st.booleans()) or kind in ("function_call", "custom_tool_call"):
        item["call_id"] = f"call_{number}"
    if kind in ("function_call", "mcp_call", "mcp_approval_request"):
        given = {"a": draw(texts)}
        given_as_text = draw(st.booleans())
        return item | {"name": "f", "arguments": json.dumps(given) if given_as_text else given}
    if kind == "custom_tool_call":
        return (
            item
            | {"name": draw(st.sampled_from(["run", "x_keyword_search"]))}
            | {"input": draw(texts)}
        )
    if kind in RESULTS:
        keys = ["output", "result", "tools", "body"]
        found = draw(st.lists(st.sampled_from(keys), min_size=1, max_size=2, unique=True))
        return item | {key: draw(nested) for key in found}
    if kind in ("hologram", "compaction"):
        return item | {draw(st.sampled_from(KEYS)): draw(nested)}
    keys = ["action", "code", "query", "queries", "arguments", "output", "outputs", "result"]
    found = draw(st.lists(st.sampled_from(keys), min_size=1, max_size=3, unique=True))
    return item | {key: draw(texts) for key in found}


class Server(NamedTuple):
    """The events of each item that a server sends besides the whole response at the end."""

    numbers: bool
    """Whether events have the index of their item; otherwise they have its id."""
    names: bool
    announces: bool
    streams: str
    """`all` of a text, its `beginning` or `nothing`."""
    ends_texts: bool
    ends_items: bool

    def is_possible(self) -> bool:
        return self.streams != "beginning" or self.ends_texts or self.ends_items


servers = st.builds(
    Server,
    st.booleans(),
    st.booleans(),
    st.booleans(),
    st.sampled_from(["all", "beginning", "nothing"]),
    st.booleans(),
    st.booleans(),
).filter(lambda server: server.is_possible() and (server.names or server.numbers))


@st.composite
def item_events(draw: st.DrawFn, item: Event, index: int, server: Server) -> list[Event]:
    place = {"output_index": index} if server.numbers else {}
    place |= {"item_id": item["id"]} if server.names else {}
    number = {"output_index": index} if server.numbers else {}
    found = []
    if server.announces:
        emptied = {"content": [], "summary": [], "arguments": "", "input": ""}
        begun = {key: emptied.get(key, value) for key, value in item.items()}
        found.append(event("output_item.added", item=begun, **number))
    for kind, field, texts in _texts_of(item):
        for part, text in enumerate(texts):
            cut = draw(st.integers(0, len(text)))
            where = {**place, field: part} if field else place
            halves = [text[:cut], text[cut:]]
            # The rest of a text that another one interrupts cannot be in its place.
            stops = server.streams == "beginning" and (server.ends_texts or len(texts) == 1)
            count = 2 if server.streams == "all" else int(stops)
            found += [event(f"{kind}.delta", delta=half, **where) for half in halves[:count]]
            if server.ends_texts:
                key = "text" if field else "arguments"
                found.append(event(f"{kind}.done", **{key: text}, **where))
    if server.ends_items:
        found.append(event("output_item.done", item=item, **number))
    return found


def _texts_of(item: Event) -> list[tuple[str, str, list[str]]]:
    """Return the texts of an item, with the type of their events and the field of their index."""
    if item["type"] == "message":
        return [("output_text", "content_index", [part["text"] for part in item["content"]])]
    if item["type"] == "reasoning":
        texts = [part["text"] for part in item["summary"]]
        return [("reasoning_summary_text", "summary_index", texts)]
    if item["type"] == "function_call" and isinstance(item["arguments"], str):
        return [("function_call_arguments", "", [item["arguments"]])]
    return []


@st.composite
def responses(draw: st.DrawFn) -> tuple[list[Event], list[str]]:
    """Draw the events of a response, and the texts of its items."""
    server = draw(servers)
    listed = [draw(items(number)) for number in range(draw(st.integers(1, 4)))]
    if not server.names:
        listed = [{**item, "id": ""} for item in listed]
    events = [created()] if draw(st.booleans()) else []
    for index, item in enumerate(listed):
        events += draw(item_events(item, index, server))
    said = [text for item in listed for text in texts_in(item) if text != "completed"]
    said = [text for each in said for text in (texts_in(_parsed(each)) or [each])]
    return [*events, completed(*listed)], said


@settings(deadline=None, max_examples=examples(500), derandomize=True)
@given(drawn=responses(), typed=st.booleans())
def test_every_text_of_a_response_is_in_the_message_once(
    drawn: tuple[list[Event], list[str]], typed: bool
) -> None:
    events, said = drawn
    assume(len(said) == len(set(said)))

    message, _ = stored(events, typed=typed)

    kept = json.dumps(message)
    assert [text for text in said if text not in kept] == []
    assert [text for text in said if kept.count(text) > 1] == []


@settings(deadline=None, max_examples=examples(300), derandomize=True)
@given(drawn=responses(), cut=st.integers(1, 30), typed=st.booleans())
def test_what_came_of_a_response_that_is_cut_is_in_the_message(
    drawn: tuple[list[Event], list[str]], cut: int, typed: bool
) -> None:
    events = [created(), *drawn[0]][:-1][:cut]
    recording = Recording(UIMessageBuilder(message_id="m1"))
    mapper = EventMapper(recording, encrypted_reasoning=True, other_items=False)
    kind: Any = ResponseStreamEvent
    chunks = []
    for each in events:
        chunks += mapper.feed(construct_type(value=each, type_=kind) if typed else each)
    chunks += [*mapper.output.fail(), *leftovers_of(recording), *recording.builder.error("cut")]

    check_message(chunks)
    message = reduce_chunks(chunks)
    kept = "".join(texts_in(message)) + json.dumps(message)
    came = [text for each in events for text in _came(each)]
    assert [text for text in came if text not in kept and json.dumps(text)[1:-1] not in kept] == []


def _came(given: Event) -> list[str]:
    """Return the texts of an event, apart from names and ids."""
    item = given.get("item") or {}
    return [
        *texts_in([given[key] for key in ("delta", "text", "arguments") if key in given]),
        *(text for text in texts_in(item) if text not in ("completed", "")),
    ]
