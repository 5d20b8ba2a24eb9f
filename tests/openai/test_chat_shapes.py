"""Servers that imitate chat completions send content, calls and endings in shapes of their own."""

from __future__ import annotations

import base64
import io
import wave
from typing import Any

import pytest

from monostream_ai.openai import ResponseFailed, TruncatedStream, capture
from monostream_ai.ui_messages import reduce_chunks
from tests.openai.storing import Service
from tests.openai.streaming import (
    Event,
    called,
    calls,
    chunk,
    delta,
    message_of,
    parts,
    shown,
    stream_of,
)
from tests.openai.vendor import Vendor

STOP = delta("stop")
CALLED = delta("tool_calls")
PNG = "data:image/png;base64,AAAA"
CUSTOM = {"index": 0, "id": "c1", "custom": {"name": "run", "input": "print(1)"}}
GROUNDING = {"grounding_chunks": [{"web": {"uri": "https://a.test/", "title": "A"}}]}


def thinking(text: str) -> Event:
    return {"type": "thinking", "thinking": [{"type": "text", "text": text}]}


def said(text: str) -> Event:
    return {"type": "text", "text": text}


@pytest.mark.parametrize(
    ("deltas", "expected"),
    [
        (
            [{"content": [thinking("Fir")]}, {"content": [thinking("st"), said("An")]}]
            + [{"content": "swer"}],
            [("reasoning", "First"), ("text", "Answer")],
        ),
        ([{"content": ["He", said("llo")]}], [("text", "Hello")]),
        ([{"content": said("Hello")}], [("text", "Hello")]),
        ([{"content": [{"type": "hologram", "text": "Hi"}]}], [("text", "Hi")]),
        ([{"content": [{"type": "refusal", "refusal": "No."}]}], [("text", "No.")]),
        ([{"reasoning_content": "a"}, {"content": "b"}], [("reasoning", "a"), ("text", "b")]),
        ([{"reasoning": "a", "reasoning_content": "a"}], [("reasoning", "a")]),
        (
            [{"reasoning": "a", "reasoning_details": [{"type": "reasoning.text", "text": "a"}]}],
            [("reasoning", "a")],
        ),
        (
            [{"reasoning_details": [{"type": "reasoning.summary", "summary": "a"}]}],
            [("reasoning", "a")],
        ),
        ([{"thinking_blocks": [{"type": "thinking", "thinking": "a"}]}], [("reasoning", "a")]),
        ([{"thinking": "a"}], [("reasoning", "a")]),
        (
            [{"content": "a", "extra_content": {"google": {"thought": True}}}, {"content": "b"}],
            [("reasoning", "a"), ("text", "b")],
        ),
        (
            [{"content": [{**thinking("a"), "closed": True}, said("b")]}],
            [("reasoning", "a"), ("text", "b")],
        ),
        (
            [{"reasoning": "a", "channel": "analysis"}, {"content": "b", "channel": "final"}],
            [("reasoning", "a"), ("text", "b")],
        ),
        (
            [{"audio": {"id": "a", "transcript": "Hel"}}, {"audio": {"transcript": "lo"}}],
            [("text", "Hello")],
        ),
    ],
)
async def test_content_of_any_shape_is_shown(
    service: Service, vendor: Vendor, deltas: list[Event], expected: Any
) -> None:
    message = await message_of(service, vendor, *(delta(**each) for each in deltas), STOP)

    assert shown(message) == expected
    assert parts(message, "data-unread") == []


async def test_a_text_that_repeats_its_delta_is_shown_once(
    service: Service, vendor: Vendor
) -> None:
    """Together sends each piece twice."""
    pieces = [
        chunk({"index": 0, "text": text, "delta": {"content": text, "token_id": number}})
        for number, text in enumerate(["Hel", "lo"])
    ]
    message = await message_of(service, vendor, *pieces, STOP)

    assert shown(message) == [("text", "Hello")]
    assert parts(message, "data-unread") == []


async def test_chunks_that_number_their_choices_are_one_answer(
    service: Service, vendor: Vendor
) -> None:
    """Foundry Local counts its chunks in the index of the choice, each under an id of its own."""
    pieces = [
        {**chunk({"index": number, "delta": {"content": text}}), "id": f"chat.id.{number}"}
        for number, text in enumerate(["Hel", "lo"])
    ]
    last = {**chunk({"index": 2, "delta": {}, "finish_reason": "stop"}), "id": "chat.id.2"}
    message = await message_of(service, vendor, *pieces, last)

    assert shown(message) == [("text", "Hello")]
    assert message["metadata"]["finishReason"] == "stop"


def choice(text: str, reason: str | None = None) -> Event:
    return chunk({"index": 0, "message": {"content": text}, "finish_reason": reason})


@pytest.mark.parametrize(
    "events",
    [
        [choice("Hello", "stop")],
        [choice("Hel"), choice("lo", "stop")],
        [choice("Hel"), choice("Hello", "stop")],
        [choice("Hello"), choice("Hello", "stop")],
        [delta(content="Hello"), choice("Hello", "stop")],
        [delta(content="Hel"), choice("Hello", "stop")],
        [
            chunk(
                {"index": 0, "delta": {"content": "Hel"}, "message": {"content": "Hello"}},
            ),
            STOP,
        ],
    ],
)
async def test_a_message_in_place_of_a_delta_is_shown_once(
    service: Service, vendor: Vendor, events: list[Event]
) -> None:
    assert shown(await message_of(service, vendor, *events)) == [("text", "Hello")]


async def test_a_message_that_differs_from_its_deltas_is_kept(
    service: Service, vendor: Vendor
) -> None:
    message = await message_of(service, vendor, delta(content="Hello [1]"), choice("Bye", "stop"))

    assert shown(message) == [("text", "Hello [1]")]
    [part] = parts(message, "data-unread")
    assert part["data"]["value"] == "Bye"


async def test_a_message_that_repeats_its_text_keeps_its_other_parts_once(
    service: Service, vendor: Vendor
) -> None:
    hologram = {"type": "hologram", "body": "xyz"}
    whole = {"content": [thinking("First"), said("Hello"), hologram]}
    message = await message_of(
        service,
        vendor,
        delta(content=[thinking("Fir")]),
        delta(content=[thinking("st"), said("Hel")]),
        *[chunk({"index": 0, "message": whole}) for _ in range(2)],
        STOP,
    )

    assert shown(message) == [("reasoning", "First"), ("text", "Hello")]
    [part] = parts(message, "data-unread")
    assert part["data"]["value"] == hologram


async def test_a_whole_message_does_not_repeat_its_calls(service: Service, vendor: Vendor) -> None:
    function = {"name": "f", "arguments": '{"a":1}'}
    whole = {"content": None, "tool_calls": [{"id": "c1", "function": function}]}
    message = await message_of(
        service,
        vendor,
        called(id="c1", name="f", arguments='{"a"'),
        called(arguments=":1}"),
        chunk({"index": 0, "message": whole, "finish_reason": "tool_calls"}),
    )

    assert calls(message) == [("c1", "f", {"a": 1})]


async def test_the_older_completions_api_is_read(service: Service, vendor: Vendor) -> None:
    def piece(text: str, reason: str | None = None) -> Event:
        one = {"index": 0, "text": text, "finish_reason": reason, "logprobs": None}
        return {"id": "cmpl-1", "object": "text_completion", "choices": [one]}

    message = await message_of(service, vendor, piece("Hel"), piece("lo"), piece("", "length"))

    assert shown(message) == [("text", "Hello")]
    assert message["metadata"]["finishReason"] == "length"


@pytest.mark.parametrize(
    ("events", "expected"),
    [
        ([called(id="c1", name="f", arguments={"a": 1})], [("c1", "f", {"a": 1})]),
        ([called(id="c1", name="f", arguments={})], [("c1", "f", {})]),
        (
            [called(id="c1", name="f", arguments={}), called(arguments='{"a":1}')],
            [("c1", "f", {"a": 1})],
        ),
        (
            [called(id="c1", name="f", arguments={"a": 1})] * 2,
            [("c1", "f", {"a": 1})],
        ),
        (
            [
                called(id="", name="f", arguments='{"a":1}'),
                called(id="", name="g", arguments='{"b":2}'),
            ],
            [("call-1", "f", {"a": 1}), ("call-2", "g", {"b": 2})],
        ),
        (
            [called(name="f", arguments='{"a"'), called(arguments=":1}"), called(name="f")]
            + [called(arguments='{"a":2}')],
            [("call-1", "f", {"a": 1}), ("call-2", "f", {"a": 2})],
        ),
        (
            [called(None, id="c1", name="f", arguments="{}")]
            + [called(None, id="c2", name="g", arguments="{}")],
            [("c1", "f", {}), ("c2", "g", {})],
        ),
        (
            [called(id="c1", name="get_"), called(name="weather"), called(arguments="{}")],
            [("c1", "get_weather", {})],
        ),
        (
            [delta(tool_calls=[CUSTOM])],
            [("c1", "run", "print(1)")],
        ),
        (
            [delta(tool_calls=[{"id": "c1", "name": "f", "arguments": '{"a":1}'}])],
            [("c1", "f", {"a": 1})],
        ),
        (
            [delta(tool_calls={"id": "c1", "function": {"name": "f", "arguments": "{}"}})],
            [("c1", "f", {})],
        ),
        (
            # Poolside and vLLM give each piece an id of its own.
            [called(id="c1", name="f", arguments=""), called(id="c2", arguments='{"a"')]
            + [called(id="c3", arguments=":1}")],
            [("c1", "f", {"a": 1})],
        ),
        (
            [called(id="c1", name="f", arguments='{"a"')]
            + [called(id="c2", name="f", arguments=":1}")],
            [("c1", "f", {"a": 1})],
        ),
        (
            [called(id="c1", name="f", arguments='{"a":1}')]
            + [called(id="c2", name="f", arguments='{"a":1}')],
            [("c1", "f", {"a": 1}), ("c2", "f", {"a": 1})],
        ),
        (
            [called(id="c1", name="f", arguments='{"a":1}')] * 2,
            [("c1", "f", {"a": 1})],
        ),
    ],
)
async def test_calls_of_any_shape_are_told_apart(
    service: Service, vendor: Vendor, events: list[Event], expected: Any
) -> None:
    message = await message_of(service, vendor, *events, CALLED)

    assert calls(message) == expected
    assert {part["state"] for part in parts(message, "dynamic-tool")} == {"input-available"}
    assert message["metadata"]["finishReason"] == "tool-calls"


@pytest.mark.parametrize(
    "late",
    [
        [called(id="c1", name="f", arguments='{"a":1}')],
        [called(id="c1", name="f", arguments='{"a"'), called(arguments=":1}")],
        [called(id="c1", name="f", arguments=""), called(arguments='{"a":1}'), CALLED],
    ],
)
async def test_a_call_behind_a_reason_gets_its_input(
    service: Service, vendor: Vendor, late: list[Event]
) -> None:
    """Some servers tell a reason with every chunk."""
    message = await message_of(service, vendor, delta("stop", content="x"), *late)

    assert calls(message) == [("c1", "f", {"a": 1})]
    assert message["metadata"]["finishReason"] == "tool-calls"


async def test_a_call_behind_a_reason_that_is_cut_is_not_complete(
    service: Service, vendor: Vendor
) -> None:
    half = called(id="c1", name="f", arguments='{"a"')
    with pytest.raises(TruncatedStream):
        await message_of(service, vendor, delta("stop", content="x"), half)


async def test_a_call_that_is_cut_before_its_id_is_seen(service: Service, vendor: Vendor) -> None:
    with pytest.raises(TruncatedStream):
        await message_of(service, vendor, called(name="f", arguments='{"a"'))

    [part] = parts(reduce_chunks(await service.chunks("chat")), "dynamic-tool")
    assert (part["toolName"], part["state"]) == ("f", "output-error")


@pytest.mark.parametrize(
    "image",
    [
        {"type": "image_url", "image_url": {"url": PNG}},
        {"type": "image_url", "image_url": PNG},
        {"image_url": {"url": PNG}, "type": "image_url", "index": 0},
        {"type": "image", "b64_json": "AAAA"},
        PNG,
    ],
)
@pytest.mark.parametrize("field", ["images", "content"])
async def test_an_image_is_a_file(service: Service, vendor: Vendor, image: Any, field: str) -> None:
    if field == "content" and isinstance(image, str):
        image = {"type": "image_url", "image_url": image}
    message = await message_of(service, vendor, delta(None, **{field: [image]}), STOP)

    [file] = parts(message, "file")
    assert (file["url"], file["mediaType"]) == (PNG, "image/png")


async def test_a_file_that_is_too_large_leaves_a_text(service: Service, vendor: Vendor) -> None:
    image = {"type": "image_url", "image_url": {"url": PNG + "A" * 2_000_000}}
    message = await message_of(
        service, vendor, delta(content="Look: "), delta(images=[image]), delta(content="nice"), STOP
    )

    assert shown(message) == [
        ("text", "Look: nice"),
        ("text", "A file (image/png, 1.5 MB) is too large to show."),
    ]


async def test_streamed_audio_becomes_a_sound_file(service: Service, vendor: Vendor) -> None:
    samples = [b"\x01\x00" * 3, b"\x02\x00" * 2]
    pieces = [delta(audio={"data": base64.b64encode(each).decode()}) for each in samples]
    message = await message_of(service, vendor, *pieces, STOP)

    [file] = parts(message, "file")
    data = base64.b64decode(file["url"].removeprefix("data:audio/wav;base64,"))
    with wave.open(io.BytesIO(data)) as sound:
        assert (sound.getframerate(), sound.readframes(9)) == (24_000, b"".join(samples))


@pytest.mark.parametrize(
    ("events", "expected"),
    [
        (
            [chunk(citations=["https://a.test/"], search_results=[])],
            [("https://a.test/", None)],
        ),
        (
            [
                chunk(
                    citations=["https://a.test/"],
                    search_results=[{"title": "A", "url": "https://a.test/", "date": "2026"}],
                )
            ],
            [("https://a.test/", "A")],
        ),
        (
            [chunk({"index": 0, "delta": {}, "grounding_metadata": GROUNDING})],
            [("https://a.test/", "A")],
        ),
        (
            [chunk(web_search=[{"title": "A", "link": "https://a.test/", "content": "text"}])],
            [("https://a.test/", "A")],
        ),
        (
            [delta(content=[{"type": "tool_reference", "title": "A", "url": "https://a.test/"}])],
            [("https://a.test/", "A")],
        ),
        (
            [
                delta(
                    content=[
                        {"type": "text", "text": "x", "annotations": [{"url": "https://a.test"}]}
                    ]
                )
            ],
            [("https://a.test", None)],
        ),
        (
            [delta(provider_specific_fields={"citation": {"url": "https://a.test", "title": "A"}})],
            [("https://a.test", "A")],
        ),
    ],
)
async def test_sources_beside_the_text_are_shown(
    service: Service, vendor: Vendor, events: list[Event], expected: Any
) -> None:
    message = await message_of(service, vendor, delta(content="x"), *events, STOP)

    sources = parts(message, "source-url")
    assert [(source["url"], source.get("title")) for source in sources] == expected


@pytest.mark.parametrize(
    ("ending", "expected"),
    [
        ({"finish_reason": "stopstop"}, "stop"),
        ({"finish_reason": "COMPLETE"}, "stop"),
        ({"finish_reason": "model_length"}, "length"),
        ({"finish_reason": "model_context_window_exceeded"}, "length"),
        ({"finish_reason": "RECITATION"}, "content-filter"),
        ({"finish_reason": "PROHIBITED_CONTENT"}, "content-filter"),
        ({"finish_reason": "IMAGE_SAFETY"}, "content-filter"),
        ({"finish_reason": "content_filter: PROHIBITED_CONTENT"}, "content-filter"),
        ({"finish_reason": "TOOL_CALL"}, "tool-calls"),
        ({"finish_reason": "MALFORMED_FUNCTION_CALL"}, "error"),
        ({"finish_reason": "error"}, "error"),
        ({"finish_reason": "network_error"}, "error"),
        ({"finish_reason": "insufficient_system_resource"}, "error"),
        ({"finish_reason": "sensitive"}, "content-filter"),
        ({"finish_reason": "MODEL_ARMOR"}, "content-filter"),
        ({"finish_reason": "eos_token"}, "stop"),
        ({"finish_reason": "abort"}, "other"),
        ({"finish_reason": "pause_turn"}, "other"),
        ({"finish_reason": None, "stopReason": "max_tokens"}, "length"),
        ({"finish_reason": None, "stop_reason": "end_turn"}, "stop"),
        ({"finish_reason": "length", "stop_reason": "###"}, "length"),
    ],
)
async def test_every_finish_reason_is_translated(
    service: Service, vendor: Vendor, ending: Event, expected: str
) -> None:
    last = chunk({"index": 0, "delta": {}, **ending})
    message = await message_of(service, vendor, delta(content="x"), last)

    assert message["metadata"]["finishReason"] == expected


async def test_the_reason_may_stand_beside_the_choice(service: Service, vendor: Vendor) -> None:
    last = chunk({"index": 0, "delta": {}}, done_reason="length")
    message = await message_of(service, vendor, delta(content="x"), last)

    assert message["metadata"]["finishReason"] == "length"


async def test_an_answer_that_a_filter_left_empty_says_so(service: Service, vendor: Vendor) -> None:
    message = await message_of(service, vendor, delta("content_filter"))

    assert shown(message) == [("text", "The model refused to answer.")]
    assert message["metadata"]["finishReason"] == "content-filter"


@pytest.mark.parametrize(
    "feedback",
    [
        {"prompt_feedback": {"block_reason": "SAFETY"}},
        {"promptFeedback": {"blockReason": "SAFETY", "blockReasonMessage": ""}},
    ],
)
async def test_a_prompt_that_was_blocked_is_told(
    service: Service, vendor: Vendor, feedback: Event
) -> None:
    message = await message_of(service, vendor, chunk(**feedback))

    assert shown(message) == [("text", "The model refused to answer. (SAFETY)")]
    assert message["metadata"]["finishReason"] == "content-filter"


@pytest.mark.parametrize(
    ("last", "code", "reason"),
    [
        (
            chunk({"index": 0, "delta": {}, "error": {"code": 502, "message": "gone"}}),
            "502",
            "gone",
        ),
        (chunk({"index": 0, "delta": {}, "error": "gone"}), None, "gone"),
        (chunk(x_groq={"id": "r", "error": "over capacity"}), None, "over capacity"),
        (
            {"object": "error", "message": "gone", "type": "BadRequest", "choices": []},
            "BadRequest",
            "gone",
        ),
    ],
)
async def test_an_error_in_any_place_fails_the_response(
    service: Service, vendor: Vendor, last: Event, code: str | None, reason: str
) -> None:
    with pytest.raises(ResponseFailed) as caught:
        await message_of(service, vendor, delta(content="x"), last)

    assert (caught.value.code, caught.value.reason) == (code, reason)


@pytest.mark.parametrize(
    "last",
    [
        chunk(x_groq={"usage": {"prompt_tokens": 2, "completion_tokens": 3}}),
        chunk({"index": 0, "delta": {}, "usage": {"prompt_tokens": 2, "completion_tokens": 3}}),
        chunk(usage={"prompt_tokens": 2, "completion_tokens": 3}),
    ],
)
async def test_usage_in_any_place_is_counted(service: Service, vendor: Vendor, last: Event) -> None:
    message = await message_of(service, vendor, delta("stop", content="x"), last)

    assert message["metadata"]["usage"] == {"inputTokens": 2, "outputTokens": 3}


@pytest.mark.parametrize(
    ("deltas", "kind", "value"),
    [
        ([{"hologram": "ab"}, {"hologram": "cd"}], "delta.hologram", "abcd"),
        ([{"hologram": {"x": "ab"}}], "delta.hologram", {"x": "ab"}),
        (
            [{"content": [{"type": "reference", "reference_ids": [1]}]}],
            "delta.content",
            {"type": "reference", "reference_ids": [1]},
        ),
        ([{"tool_calls": ["f()"]}], "delta.tool_calls", "f()"),
        ([{"content": 7}], "delta.content", 7),
    ],
)
async def test_a_value_that_nobody_reads_is_kept_once(
    service: Service,
    vendor: Vendor,
    caplog: pytest.LogCaptureFixture,
    deltas: list[Event],
    kind: str,
    value: Any,
) -> None:
    message = await message_of(service, vendor, *(delta(**each) for each in deltas), STOP)

    [part] = parts(message, "data-unread")
    assert part["data"] == {"sdk": "openai", "kind": kind, "value": value}
    assert [record.getMessage() for record in caplog.records if kind in record.getMessage()] == [
        f"cannot read {kind!r} in an answer of openai: it is kept as a data-unread part"
    ]


async def test_an_unknown_field_beside_the_delta_is_reported(
    service: Service, vendor: Vendor, caplog: pytest.LogCaptureFixture
) -> None:
    beside = chunk({"index": 0, "delta": {}, "hologram": "secret"}, score=0.5)
    await message_of(service, vendor, delta(content="x"), beside, beside, STOP)

    assert [record.getMessage() for record in caplog.records] == [
        "cannot read 'field hologram' in an answer of openai: it is left out"
    ]


async def test_what_a_search_has_found_is_kept_once(service: Service, vendor: Vendor) -> None:
    found = {"images": [{"image_url": "https://a.test/1.png"}], "related_questions": ["Why?"]}
    last = chunk({"index": 0, "delta": {}, "finish_reason": "stop"}, **found)
    message = await message_of(service, vendor, chunk(**found), delta(content="x"), last)

    kept = {part["data"]["kind"]: part["data"]["value"] for part in parts(message, "data-unread")}
    assert kept == {
        "field images": [{"image_url": "https://a.test/1.png"}],
        "field related_questions": ["Why?"],
    }
    assert service.statistics().unread == {"openai": 2}


@pytest.mark.parametrize("call_id", ["c1", "c2"])
async def test_a_call_is_answered_under_each_of_its_ids(
    service: Service, vendor: Vendor, call_id: str
) -> None:
    pieces = [called(id="c1", name="f", arguments=""), called(id="c2", arguments="{}"), CALLED]
    message = await message_of(service, vendor, *pieces, results={call_id: 1})

    [part] = parts(message, "dynamic-tool")
    assert (part["toolCallId"], part["output"]) == ("c1", 1)


async def test_a_choice_besides_the_first_is_reported(
    service: Service, vendor: Vendor, caplog: pytest.LogCaptureFixture
) -> None:
    second = {"index": 1, "delta": {"content": "other"}, "finish_reason": "stop"}
    async with service.publisher("chat") as pub:
        stream = await stream_of(vendor, delta(content="x"), chunk(second), STOP)
        async for _ in capture(stream, pub):
            pass

    assert "a choice besides the first" in caplog.text


@pytest.mark.parametrize(
    ("last", "expected"),
    [
        (delta("length"), "length"),
        (delta("content_filter"), "content-filter"),
        (delta("error"), "error"),
        (chunk(promptFeedback={"blockReason": "SAFETY"}), "content-filter"),
        (delta("stop"), "stop"),
    ],
    ids=["cut", "refused", "failed", "blocked", "whole"],
)
async def test_a_stop_with_every_chunk_hides_no_cut(
    service: Service, vendor: Vendor, last: Event, expected: str
) -> None:
    message = await message_of(service, vendor, delta("stop", content="Hel"), last)

    assert message["metadata"]["finishReason"] == expected
    assert shown(message)[0] == ("text", "Hel")


async def test_a_vendors_own_reason_tells_of_a_cut(service: Service, vendor: Vendor) -> None:
    ending = {"index": 0, "delta": {}, "finish_reason": "stop"}
    last = chunk({**ending, "native_finish_reason": "MAX_TOKENS"})
    message = await message_of(service, vendor, delta(content="Hel"), last)

    assert message["metadata"]["finishReason"] == "length"


async def test_a_field_beside_the_function_of_a_call_is_counted(
    service: Service, vendor: Vendor
) -> None:
    piece = {"index": 0, "id": "c1", "function": {"name": "f", "arguments": "{}"}}
    await message_of(service, vendor, delta(tool_calls=[{**piece, "thought": "hm"}]), CALLED)

    assert service.statistics().unread == {"openai": 1}


async def test_an_index_may_be_a_text(service: Service, vendor: Vendor) -> None:
    def pieces(*given: tuple[str, Event]) -> Event:
        listed = [{"index": index, "function": function} for index, function in given]
        return chunk({"index": "0", "delta": {"tool_calls": listed}})

    message = await message_of(
        service,
        vendor,
        pieces(("0", {"name": "f", "arguments": '{"x"'}), ("1", {"name": "g", "arguments": "{"})),
        pieces(("0", {"arguments": ":1}"}), ("1", {"arguments": "}"})),
        CALLED,
    )

    assert [(name, given) for _, name, given in calls(message)] == [("f", {"x": 1}), ("g", {})]


async def test_arguments_that_are_repeated_with_other_spaces_are_taken_once(
    service: Service, vendor: Vendor
) -> None:
    once = called(id="c1", name="f", arguments={"x": 1})
    again = called(id="c1", name="f", arguments='{ "x": 1 }')
    message = await message_of(service, vendor, once, again, CALLED)

    assert calls(message) == [("c1", "f", {"x": 1})]


def passed_on(**fields: Any) -> Event:
    return delta(provider_specific_fields=fields)


def search(*numbers: int) -> list[Event]:
    found = [{"type": "web_search_result", "url": f"https://a.test/{n}"} for n in numbers]
    return [{"type": "web_search_tool_result", "tool_use_id": "s1", "content": found}]


async def test_search_results_that_litellm_repeats_are_sources_once(
    service: Service, vendor: Vendor
) -> None:
    events = [
        passed_on(web_search_results=search(1)),
        passed_on(web_search_results=[*search(1), *search(2)]),
        passed_on(citations=[{"url": "https://a.test/3", "title": "C"}]),
    ]
    message = await message_of(service, vendor, *events, STOP)

    urls = [source["url"] for source in parts(message, "source-url")]
    assert urls == ["https://a.test/1", "https://a.test/2", "https://a.test/3"]
    assert parts(message, "data-unread") == []


@pytest.mark.parametrize("beside", [{}, {"reasoning_content": "deep"}])
async def test_thoughts_that_litellm_passes_on_are_shown_once_with_their_signature(
    service: Service, vendor: Vendor, beside: Event
) -> None:
    block = {"type": "thinking", "thinking": "deep", "index": 0}
    signed = {"type": "thinking", "thinking": "", "signature": "sig", "index": 0}
    events = [
        delta(**beside, provider_specific_fields={"thinking_blocks": [block]}),
        passed_on(thinking_blocks=[signed]),
        delta(content="Hi"),
    ]
    message = await message_of(service, vendor, *events, STOP)

    assert shown(message) == [("reasoning", "deep"), ("text", "Hi")]
    [thought] = parts(message, "reasoning")
    assert thought["providerMetadata"]["litellm"]["thinking_blocks"] == [
        {**block, "signature": "sig"}
    ]


async def test_other_fields_that_litellm_passes_on_are_kept_as_they_were_last(
    service: Service, vendor: Vendor
) -> None:
    logs = [{"type": "code_interpreter_call", "outputs": text} for text in ("a", "b")]
    events = [
        passed_on(code_interpreter_results=logs[:1], container={"id": "c"}),
        passed_on(code_interpreter_results=logs),
        chunk({"index": 0, "delta": {}}, provider_specific_fields={"grounding": "blue"}),
        passed_on(web_search_results=[{"type": "web_search_tool_result", "content": {"e": 1}}]),
    ]
    message = await message_of(service, vendor, *events, STOP)

    kept = {part["data"]["kind"]: part["data"]["value"] for part in parts(message, "data-unread")}
    assert kept == {
        "field code_interpreter_results": logs,
        "field grounding": "blue",
        "field web_search_results": {"type": "web_search_tool_result", "content": {"e": 1}},
    }


async def test_a_signature_of_a_call_that_litellm_passes_on_goes_back(
    service: Service, vendor: Vendor
) -> None:
    function = {"name": "f", "arguments": "{}"}
    fields = {"provider_specific_fields": {"thought_signature": "sig"}}
    piece = {"index": 0, "id": "c1", "function": function, **fields}
    message = await message_of(service, vendor, delta(tool_calls=[piece]), STOP)

    [call] = parts(message, "dynamic-tool")
    assert call["callProviderMetadata"] == {"google": {"thoughtSignature": "sig"}}
