"""Servers that imitate the Responses API leave out deltas, items, indexes and ids."""

from __future__ import annotations

import json
from typing import Any

import pytest

from monostream_ai.openai import ResponseFailed
from monostream_ai.ui_messages import reduce_chunks
from tests.openai.storing import Service
from tests.openai.streaming import (
    Event,
    calls,
    completed,
    created,
    event,
    message_of,
    parts,
    shown,
)
from tests.openai.vendor import Vendor


def said(text: str, item_id: str | None = "msg_1", **fields: Any) -> Event:
    """Return a whole message item."""
    named = {} if item_id is None else {"id": item_id}
    content = [{"type": "output_text", "text": text, "annotations": []}]
    return {**named, "type": "message", "role": "assistant", "content": content, **fields}


def thought(*summary: str, item_id: str = "rs_1", **fields: Any) -> Event:
    listed = [{"type": "summary_text", "text": text} for text in summary]
    return {"id": item_id, "type": "reasoning", "summary": listed, **fields}


def piece(text: str, item_id: str | None = "msg_1", index: int | None = 0) -> Event:
    place = {} if index is None else {"output_index": index, "content_index": 0}
    named = {} if item_id is None else {"item_id": item_id}
    return event("output_text.delta", delta=text, **named, **place)


def added(item: Event, index: int | None = 0) -> Event:
    place = {} if index is None else {"output_index": index}
    return event("output_item.added", item=item, **place)


def done(item: Event, index: int | None = 0) -> Event:
    place = {} if index is None else {"output_index": index}
    return event("output_item.done", item=item, **place)


def function(name: str, arguments: Any, number: int = 1, **fields: Any) -> Event:
    ids = {"id": f"fc_{number}", "call_id": f"call_{number}"}
    return {**ids, "type": "function_call", "name": name, "arguments": arguments, **fields}


HELLO = said("Hello")
BEGUN = {**HELLO, "content": []}
WHOLE_TEXT = event("output_text.done", item_id="msg_1", output_index=0, text="Hello")
WHOLE_PART = event(
    "content_part.done",
    item_id="msg_1",
    output_index=0,
    part={"type": "output_text"} | {"text": "Hello"},
)


@pytest.mark.sweep(15)
@pytest.mark.parametrize(
    "events",
    [
        [completed(HELLO)],
        [completed(said("Hello", None))],
        [done(HELLO), completed()],
        [done(HELLO), completed(HELLO)],
        [done(HELLO, None), completed(HELLO)],
        [WHOLE_TEXT, completed()],
        [WHOLE_TEXT, WHOLE_PART, done(HELLO), completed(HELLO)],
        [WHOLE_PART, completed(HELLO)],
        [added(BEGUN), WHOLE_TEXT, done(HELLO), completed(HELLO)],
        [piece("Hello"), completed()],
        [piece("Hel"), WHOLE_TEXT, completed()],
        [piece("Hel"), WHOLE_PART, completed(HELLO)],
        [piece("Hel"), done(HELLO), completed()],
        [piece("Hel"), completed(HELLO)],
        [piece("Hel", None, None), piece("lo", None, None), completed(HELLO)],
        [piece("Hel", "msg_1", None), piece("lo", "msg_1", None), done(HELLO, None)]
        + [completed(HELLO)],
        [added(BEGUN, None), piece("Hel", "x", None), piece("lo", "x", None), done(HELLO, None)]
        + [completed(HELLO)],
        [added(BEGUN, None), piece("Hel", None, None), completed(said("Hello", None))],
        [
            piece("Hel", "a"),
            piece("lo", "b"),
            done(said("Hello", "c")),
            completed(said("Hello", "d")),
        ],
        [done(said("Hello", "a")), done(said("Hello", "b")), completed(said("Hello", "c"))],
        [completed(output_text="Hello")],
        [event("done", response={"id": "r", "status": "completed", "output": [HELLO]})],
        [event("output_text.delta", delta={"text": "Hello"}), completed()],
        [completed({"type": "message", "id": "m", "content": "Hello"})],
        [completed({"type": "message", "id": "m", "content": {"type": "text", "text": "Hello"}})],
    ],
)
@pytest.mark.parametrize("begun", [True, False], ids=["created", "without created"])
async def test_exactly_what_was_not_streamed_yet_is_shown(
    service: Service, vendor: Vendor, events: list[Event], begun: bool
) -> None:
    message = await message_of(service, vendor, *([created()] if begun else []), *events)

    assert "".join(text for _, text in shown(message)) == "Hello"
    assert parts(message, "data-unread") == []
    assert message["metadata"]["finishReason"] == "stop"


@pytest.mark.parametrize("index", [0, None], ids=["all at index 0", "no index"])
async def test_items_that_only_their_ids_tell_apart_are_both_shown(
    service: Service, vendor: Vendor, index: int | None
) -> None:
    first, second = said("One.", "a"), said("Two.", "b")
    events = [done(first, index), done(second, index), completed(first, second)]
    assert shown(await message_of(service, vendor, created(), *events)) == [
        ("text", "One."),
        ("text", "Two."),
    ]


async def test_deltas_without_any_index_belong_to_the_contents_in_turn(
    service: Service, vendor: Vendor
) -> None:
    contents = [{"type": "output_text", "text": text} for text in ("One.", "Two.")]
    item = {**HELLO, "content": contents}
    pieces = [piece("One.", "msg_1", None), piece("Two", "msg_1", None)]
    message = await message_of(service, vendor, created(), *pieces, done(item), completed(item))

    assert "".join(text for _, text in shown(message)) == "One.Two."


async def test_a_text_that_differs_from_its_deltas_is_kept_once(
    service: Service, vendor: Vendor
) -> None:
    events = [piece("Hi [1]"), WHOLE_TEXT, done(HELLO), completed(HELLO)]
    message = await message_of(service, vendor, created(), *events)

    assert shown(message) == [("text", "Hi [1]")]
    assert [part["data"]["value"] for part in parts(message, "data-unread")] == ["Hello"]


@pytest.mark.parametrize(
    "events",
    [
        [completed(thought("Hm.", "So."))],
        [done(thought("Hm.", "So.")), completed(thought("Hm.", "So."))],
        [
            event("reasoning_summary_text.delta", item_id="rs_1", summary_index=0, delta="Hm."),
            event("reasoning_summary_text.done", item_id="rs_1", summary_index=1, text="So."),
            completed(thought("Hm.", "So.")),
        ],
        [
            event("reasoning_summary_part.done", item_id="rs_1", summary_index=n, part=part)
            for n, part in enumerate(thought("Hm.", "So.")["summary"])
        ]
        + [completed()],
        [
            event("reasoning_text.delta", item_id="rs_1", content_index=n, delta=text)
            for n, text in enumerate(("Hm.", "So."))
        ]
        + [completed(thought("Hm.", "So."))],
        [event("reasoning.delta", delta="Hm."), event("reasoning.delta", delta="So."), completed()],
        [completed({"id": "rs_1", "type": "reasoning", "summary": "Hm.So."})],
        [completed(thought(content=[{"type": "reasoning_text", "text": "Hm.So."}]))],
    ],
)
async def test_thoughts_are_shown_once(
    service: Service, vendor: Vendor, events: list[Event]
) -> None:
    message = await message_of(service, vendor, created(), *events)

    assert {kind for kind, _ in shown(message)} == {"reasoning"}
    assert "".join(text for _, text in shown(message)) == "Hm.So."


def input_event(kind: str, number: int = 1, **fields: Any) -> Event:
    ids = {"item_id": f"fc_{number}", "output_index": number - 1}
    return event(f"function_call_arguments.{kind}", **ids, **fields)


@pytest.mark.parametrize(
    "events",
    [
        [completed(function("f", '{"a":1}'))],
        [completed(function("f", {"a": 1}))],
        [done(function("f", {"a": 1})), completed(function("f", {"a": 1}))],
        [added(function("f", "")), input_event("delta", delta='{"a":1}'), completed()],
        [added(function("f", "")), input_event("done", arguments='{"a":1}'), completed()],
        [added(function("f", "")), input_event("done", arguments={"a": 1}), completed()],
        [added(function("f", "")), input_event("delta", delta={"a": 1}), completed()],
        [
            added(function("f", "")),
            input_event("delta", delta='{"a"'),
            input_event("done", arguments='{"a":1}'),
            done(function("f", '{"a":1}')),
            completed(),
        ],
        [
            added(function("f", "")),
            input_event("delta", delta='{"a":1}'),
            done(function("f", "")),
            completed(function("f", "{}")),
        ],
        [input_event("delta", delta='{"a":1}'), completed(function("f", '{"a":1}'))],
        [added(function("", "")), input_event("delta", delta='{"a":1}')]
        + [done(function("f", '{"a":1}')), completed()],
    ],
)
async def test_a_call_gets_its_whole_input(
    service: Service, vendor: Vendor, events: list[Event]
) -> None:
    message = await message_of(service, vendor, created(), *events, results={"call_1": "ok"})

    assert calls(message) == [("call_1", "f", {"a": 1})]


async def test_an_input_whose_item_never_comes_is_shown(service: Service, vendor: Vendor) -> None:
    whole = input_event("done", arguments='{"a":1}', name="f")
    message = await message_of(service, vendor, created(), whole, completed())

    assert calls(message) == [("fc_1", "f", {"a": 1})]


async def test_inputs_that_only_their_ids_tell_apart_belong_to_their_calls(
    service: Service, vendor: Vendor
) -> None:
    pieces = [
        event("function_call_arguments.delta", item_id=f"fc_{number}", delta=text)
        for number in (1, 2)
        for text in ('{"a": ', f"{number}}}")
    ]
    whole = [function("f", f'{{"a": {number}}}', number) for number in (1, 2)]
    message = await message_of(service, vendor, created(), *pieces, completed(*whole))

    assert calls(message) == [("call_1", "f", {"a": 1}), ("call_2", "f", {"a": 2})]


async def test_calls_of_one_index_are_told_apart(service: Service, vendor: Vendor) -> None:
    first, second = function("f", '{"a":1}'), function("g", '{"b":2}', 2)
    message = await message_of(
        service,
        vendor,
        created(),
        added({**first, "arguments": ""}),
        added({**second, "arguments": ""}),
        event("function_call_arguments.delta", item_id="fc_1", output_index=0, delta='{"a":1}'),
        event("function_call_arguments.delta", item_id="fc_2", output_index=0, delta='{"b":2}'),
        done(first),
        done(second),
        completed(first, second),
    )

    assert calls(message) == [("call_1", "f", {"a": 1}), ("call_2", "g", {"b": 2})]


SEARCHED = {"id": "xs_1", "type": "x_search_call", "status": "completed"}


@pytest.mark.parametrize(
    ("items", "name", "input", "output"),
    [
        ([{**SEARCHED, "query": "q"}], "x_search", {"query": "q"}, {"status": "completed"}),
        ([{**SEARCHED, "arguments": '{"q":1}'}], "x_search", {"q": 1}, {"status": "completed"}),
        ([{**SEARCHED, "output": "found"}], "x_search", {}, "found"),
        (
            [
                {**SEARCHED, "call_id": "c1", "query": "q"},
                {"id": "o1", "type": "x_search_call_output", "call_id": "c1", "output": "found"},
            ],
            "x_search",
            {"query": "q"},
            "found",
        ),
        (
            [
                {"id": "p1", "type": "program", "call_id": "c1", "code": "f()", "fingerprint": "x"},
                {"id": "o1", "type": "program_output", "call_id": "c1", "result": "7"},
            ],
            "program",
            {"code": "f()"},
            "7",
        ),
        (
            [{"id": "o1", "type": "hologram_call_output", "call_id": "c9", "output": "found"}],
            "hologram",
            {},
            "found",
        ),
        (
            [
                {"id": "ctc_1", "type": "custom_tool_call", "name": "x_keyword_search"}
                | {"call_id": "xs_1", "input": '{"query":"q"}', "status": "completed"}
            ],
            "x_keyword_search",
            '{"query":"q"}',
            {"status": "completed"},
        ),
    ],
)
@pytest.mark.parametrize("streamed", ["added and done", "done", "completed"])
async def test_a_tool_of_the_provider_gets_an_end(
    service: Service,
    vendor: Vendor,
    items: list[Event],
    name: str,
    input: Any,
    output: Any,
    streamed: str,
) -> None:
    events = [
        each
        for n, item in enumerate(items)
        for each in ([added(item, n)] if streamed == "added and done" else [])
        + ([done(item, n)] if streamed != "completed" else [])
    ]
    message = await message_of(service, vendor, created(), *events, completed(*items))

    [call] = parts(message, "dynamic-tool")
    assert (call["toolName"], call["input"], call["output"]) == (name, input, output)
    assert call["state"] == "output-available"
    assert call["providerExecuted"] is True
    assert parts(message, "data-unread") == []


CUSTOM = {"id": "ctc_1", "type": "custom_tool_call", "call_id": "c1", "input": "x"}
DECLARED = [{"type": "custom", "name": "run"}]


@pytest.mark.parametrize(
    ("name", "tools", "by_provider"),
    [
        ("run", DECLARED, False),
        ("run", [], False),
        ("run", None, False),
        ("run", [{"type": "namespace", "tools": DECLARED}], False),
        ("loaded", [*DECLARED, {"type": "tool_search"}], False),
        ("other", DECLARED, True),
        ("x_thread_fetch", [{"type": "x_search"}], True),
        ("x_thread_fetch", [], True),
        ("x_thread_fetch", [{"type": "custom", "name": "x_thread_fetch"}], False),
    ],
)
async def test_a_custom_call_that_nobody_declared_is_the_providers(
    service: Service, vendor: Vendor, name: str, tools: Any, by_provider: bool
) -> None:
    item = {**CUSTOM, "name": name}
    events = [created(tools=tools), added(item), done(item), completed(item, tools=tools)]
    message = await message_of(service, vendor, *events)

    [call] = parts(message, "dynamic-tool")
    assert call.get("providerExecuted", False) is by_provider
    assert call["state"] == ("output-available" if by_provider else "input-available")
    assert message["metadata"]["finishReason"] == ("stop" if by_provider else "tool-calls")


@pytest.mark.parametrize(
    ("environment", "by_provider"),
    [
        (None, False),
        ({"type": "local"}, False),
        ({"type": "container_reference", "container_id": "c"}, True),
        ({"type": "container_auto"}, True),
    ],
)
async def test_a_shell_call_runs_where_its_environment_is(
    service: Service, vendor: Vendor, environment: Any, by_provider: bool
) -> None:
    item = {"id": "sh_1", "type": "shell_call", "call_id": "c1", "action": {"commands": ["ls"]}}
    item |= {"environment": environment, "status": "completed"}
    message = await message_of(service, vendor, created(), added(item), done(item), completed(item))

    [call] = parts(message, "dynamic-tool")
    assert call["state"] == ("output-available" if by_provider else "input-available")


@pytest.mark.parametrize("begins", [None, {"id": "tsc_1", "call_id": None}, {"id": "tsc_0"}])
async def test_a_tool_search_is_answered_under_its_last_id(
    service: Service, vendor: Vendor, begins: Event | None
) -> None:
    item = {"id": "tsc_1", "type": "tool_search_call", "execution": "client", "call_id": "call_9"}
    item |= {"arguments": {"query": "crm"}, "status": "completed"}
    events = [] if begins is None else [added({**item, **begins, "status": "in_progress"})]
    message = await message_of(
        service, vendor, created(), *events, done(item), completed(item), results={"call_9": "ok"}
    )

    [call] = parts(message, "dynamic-tool")
    assert (call["input"], call["output"]) == ({"query": "crm"}, "ok")


async def test_a_function_call_is_answered_under_an_id_that_it_got_late(
    service: Service, vendor: Vendor
) -> None:
    early = function("f", "", call_id="")
    whole = function("f", "{}")
    events = [created(), added(early), done(whole), completed(whole)]
    message = await message_of(service, vendor, *events, results={"call_1": "ok"})

    [call] = parts(message, "dynamic-tool")
    assert call["output"] == "ok"


async def test_all_of_a_computer_call_reaches_the_program(service: Service, vendor: Vendor) -> None:
    checks = [{"id": "sc_1", "code": "malicious_instructions"}]
    item = {"id": "cu_1", "type": "computer_call", "call_id": "c1", "status": "completed"}
    item |= {"actions": [{"type": "screenshot"}], "pending_safety_checks": checks}
    message = await message_of(service, vendor, created(), done(item), completed(item))

    assert calls(message) == [
        (
            "c1",
            "computer",
            {"actions": [{"type": "screenshot"}], "pending_safety_checks": checks},
        )
    ]


async def test_a_client_tool_that_was_never_whole_is_not_offered(
    service: Service, vendor: Vendor
) -> None:
    item = {"id": "sh_1", "type": "shell_call", "call_id": "c1", "status": "in_progress"}
    message = await message_of(service, vendor, created(), added(item), completed())

    [call] = parts(message, "dynamic-tool")
    assert call["state"] == "output-error"


async def test_the_output_of_a_failed_tool_is_kept(service: Service, vendor: Vendor) -> None:
    item = {"id": "ci_1", "type": "code_interpreter_call", "code": "f()", "status": "failed"}
    item |= {"outputs": [{"type": "logs", "logs": "half"}]}
    message = await message_of(service, vendor, created(), done(item), completed(item))

    [call] = parts(message, "dynamic-tool")
    assert call["state"] == "output-error"
    [kept] = parts(message, "data-unread")
    assert kept["data"]["value"] == [{"type": "logs", "logs": "half"}]


async def test_an_item_of_an_unknown_type_is_kept_once(service: Service, vendor: Vendor) -> None:
    item = {"id": "h_1", "type": "hologram", "text": "Hi"}
    message = await message_of(service, vendor, created(), added(item), done(item), completed(item))

    assert [part["data"] for part in parts(message, "data-unread")] == [
        {"sdk": "openai", "kind": "item hologram", "value": item}
    ]


async def test_what_unknown_events_hold_is_kept_by_type(service: Service, vendor: Vendor) -> None:
    events = [event("hologram.delta", item_id="h", delta=text) for text in ("ab", "cd")]
    message = await message_of(service, vendor, created(), *events, completed())

    assert [part["data"] for part in parts(message, "data-unread")] == [
        {"sdk": "openai", "kind": "response.hologram.delta", "value": "abcd"}
    ]


async def test_code_whose_item_never_comes_is_kept(service: Service, vendor: Vendor) -> None:
    item = {"id": "ci_1", "type": "code_interpreter_call", "status": "in_progress"}
    code = event("code_interpreter_call_code.delta", item_id="ci_1", output_index=0, delta="f()")
    message = await message_of(service, vendor, created(), added(item), code, completed())

    assert [part["data"]["value"] for part in parts(message, "data-unread")] == ["f()"]


async def test_a_generated_image_over_the_limit_leaves_a_text(
    service: Service, vendor: Vendor
) -> None:
    item = {"id": "ig_1", "type": "image_generation_call", "status": "completed"}
    item |= {"result": "A" * 2_000_000}
    message = await message_of(service, vendor, created(), done(item), completed(item))

    assert shown(message) == [("text", "A file (image/png, 1.5 MB) is too large to show.")]


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"status": "incomplete"}, "other"),
        ({"incomplete_details": {"reason": "max_output_tokens"}}, "length"),
        ({"incomplete_details": {"reason": "content_filter"}}, "content-filter"),
        ({}, "stop"),
    ],
)
async def test_a_cut_answer_never_says_stop(
    service: Service, vendor: Vendor, fields: Event, expected: str
) -> None:
    message = await message_of(service, vendor, created(), completed(HELLO, **fields))

    assert message["metadata"]["finishReason"] == expected


async def test_an_answer_that_a_filter_left_empty_says_so(service: Service, vendor: Vendor) -> None:
    cut = completed(incomplete_details={"reason": "content_filter"})
    message = await message_of(service, vendor, created(), cut)

    assert shown(message) == [("text", "The model refused to answer.")]


@pytest.mark.parametrize(
    "fields",
    [
        {"status": "failed", "error": {"code": "server_error", "message": "gone"}},
        {"error": {"code": "server_error", "message": "gone"}},
    ],
)
async def test_a_failure_that_is_told_as_completed_is_a_failure(
    service: Service, vendor: Vendor, fields: Event
) -> None:
    with pytest.raises(ResponseFailed, match="server_error"):
        await message_of(service, vendor, created(), completed(**fields))


async def test_citations_of_container_files_can_be_fetched(
    service: Service, vendor: Vendor
) -> None:
    cited = {"type": "container_file_citation", "container_id": "cntr_1", "file_id": "cfile_1"}
    annotation = {**cited, "filename": "plot.png", "start_index": 0, "end_index": 1}
    content = [{"type": "output_text", "text": "See", "annotations": [annotation]}]
    message = await message_of(service, vendor, created(), completed({**HELLO, "content": content}))

    [source] = parts(message, "source-document")
    assert (source["sourceId"], source["title"]) == ("cfile_1", "plot.png")
    assert source["providerMetadata"] == {"openai": {"fileId": "cfile_1", "containerId": "cntr_1"}}


def cited(text: str, url: str) -> Event:
    annotation = {"type": "url_citation", "url": url, "start_index": 0, "end_index": len(text)}
    return {"type": "output_text", "text": text, "annotations": [annotation]}


CITED = [cited("One", "https://a.test/"), cited("Two and", "https://a.test/")]


@pytest.mark.parametrize("streamed", [True, False])
async def test_a_text_keeps_the_places_of_its_citations(
    service: Service, vendor: Vendor, streamed: bool
) -> None:
    events = []
    for number, content in enumerate(CITED if streamed else ()):
        place = {"item_id": "msg_1", "output_index": 0, "content_index": number}
        [annotation] = content["annotations"]
        events += [
            event("output_text.delta", delta=content["text"], **place),
            event("output_text.annotation.added", annotation=annotation, **place),
            event("content_part.done", part=content, **place),
        ]
    whole = {**HELLO, "content": CITED}
    message = await message_of(
        service, vendor, created(), added(BEGUN), *events, done(whole), completed(whole)
    )

    assert [(text["text"], text["providerMetadata"]) for text in parts(message, "text")] == [
        (content["text"], {"openai": {"annotations": content["annotations"]}}) for content in CITED
    ]
    assert len(parts(message, "source-url")) == 1


async def test_a_citation_that_names_nothing_is_kept(service: Service, vendor: Vendor) -> None:
    content = [{"type": "output_text", "text": "x", "annotations": [{"type": "new", "place": 7}]}]
    message = await message_of(service, vendor, created(), completed({**HELLO, "content": content}))

    [kept] = parts(message, "data-unread")
    assert kept["data"]["value"] == {"type": "new", "place": 7}


async def test_citations_beside_the_output_are_shown(service: Service, vendor: Vendor) -> None:
    last = completed(HELLO, citations=["https://a.test/"])
    message = await message_of(service, vendor, created(), last)

    assert [source["url"] for source in parts(message, "source-url")] == ["https://a.test/"]


@pytest.mark.parametrize(
    ("item", "rest"),
    [
        ({"type": "x_search_call", "queries": ["a"], "action": {"query": "b"}}, "action"),
        ({"type": "code_interpreter_call", "outputs": ["a"], "results": ["b"]}, "outputs"),
        ({"type": "hologram_call", "arguments": "{}", "result": "b"}, "result"),
        ({"type": "shell_call_output", "output": [{"stdout": "a"}], "note": "b"}, "note"),
    ],
)
async def test_a_field_beside_the_input_and_the_output_of_a_call_is_kept(
    service: Service, vendor: Vendor, item: Event, rest: str
) -> None:
    item = {"id": "i_1", "status": "completed", **item}
    message = await message_of(service, vendor, created(), done(item), completed(item))

    [kept] = parts(message, "data-unread")
    assert kept["data"]["kind"] == f"fields of {item['type']}"
    assert [*kept["data"]["value"]] == [rest]


async def test_the_error_of_a_tool_is_counted(service: Service, vendor: Vendor) -> None:
    item = {"id": "m_1", "type": "mcp_call", "name": "f", "arguments": "{}", "error": "no route"}
    message = await message_of(service, vendor, created(), done(item), completed(item))

    [call] = parts(message, "dynamic-tool")
    assert call["state"] == "output-error"
    assert service.statistics().unread == {"openai": 1}


@pytest.mark.parametrize(
    ("kind", "fields"),
    [
        ("code_interpreter_call_code", {"code": "f()"}),
        ("mcp_call_arguments", {"arguments": "f()"}),
        ("shell_call_command", {"command": "f()", "command_index": 0}),
    ],
)
@pytest.mark.parametrize("streamed", [True, False])
async def test_a_whole_text_whose_item_never_comes_is_kept_once(
    service: Service, vendor: Vendor, kind: str, fields: Event, streamed: bool
) -> None:
    place = {"item_id": "i_1", "output_index": 0}
    whole = event(f"{kind}.done", **place, **fields)
    before = [event(f"{kind}.delta", delta="f()", **place)] if streamed else []
    message = await message_of(service, vendor, created(), *before, whole, completed())

    assert json.dumps(parts(message, "data-unread")).count("f()") == 1


async def test_streamed_audio_that_is_no_base64_is_counted(
    service: Service, vendor: Vendor
) -> None:
    await message_of(service, vendor, created(), event("audio.delta", delta="%"), completed())

    assert service.statistics().unread == {"openai": 1}


CALL: Event = {"type": "function_call", "id": "f_1", "call_id": "c1", "name": "f", "arguments": ""}


async def failing_message(service: Service, vendor: Vendor, *events: Event) -> Any:
    with pytest.raises(ResponseFailed):
        await message_of(service, vendor, *events)
    return reduce_chunks(await service.chunks("chat"))


async def test_a_response_that_is_cut_for_good_is_kept_as_far_as_it_came(
    service: Service, vendor: Vendor
) -> None:
    """OpenAI says that it can only retrieve a background response."""
    half = event("function_call_arguments.delta", item_id="f_1", output_index=0, delta='{"x": "hal')
    beam = event("hologram.delta", delta="blue")
    message = await failing_message(
        service, vendor, created(background=False), added(CALL), half, beam
    )

    [call] = parts(message, "dynamic-tool")
    assert (call["state"], call["input"]) == ("output-error", '{"x": "hal')
    assert [part["data"]["value"] for part in parts(message, "data-unread")] == ["blue"]


async def test_a_call_of_a_failed_response_is_not_offered(service: Service, vendor: Vendor) -> None:
    failed = event("failed", response={"id": "resp_1", "error": {"code": "server_error"}})
    message = await failing_message(service, vendor, created(), added(CALL), failed)

    [call] = parts(message, "dynamic-tool")
    assert call["state"] == "output-error"
