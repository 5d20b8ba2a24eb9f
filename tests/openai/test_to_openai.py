"""UI messages become OpenAI's formats, checked against the SDK's own types.

U: rows of the integration reference.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from openai.types.chat import ChatCompletionMessageParam
from openai.types.responses import ResponseInputItemParam
from pydantic import TypeAdapter

from monostream_ai.errors import InvalidArgument
from monostream_ai.openai import capture, to_openai_input, to_openai_messages
from monostream_ai.ui_messages import reduce_chunks
from tests.openai.recordings import events_of
from tests.openai.storing import Service, record, stored
from tests.openai.streaming import completed, created, delta, event

STEP = {"type": "step-start"}
CHAT: TypeAdapter[Any] = TypeAdapter(list[ChatCompletionMessageParam])
INPUT: TypeAdapter[Any] = TypeAdapter(list[ResponseInputItemParam])
DATA = "data:image/png;base64,AA=="

both = pytest.mark.parametrize("convert", [to_openai_messages, to_openai_input])
Convert = Callable[..., list[Any]]


def text(value: str) -> dict[str, Any]:
    return {"type": "text", "text": value, "state": "done"}


def user(*parts: dict[str, Any]) -> dict[str, Any]:
    return {"id": "u1", "role": "user", "parts": list(parts)}


def assistant(*parts: dict[str, Any]) -> dict[str, Any]:
    return {"id": "a1", "role": "assistant", "parts": list(parts)}


def file(media_type: str, url: str, **keys: Any) -> dict[str, Any]:
    return user(text("see"), {"type": "file", "mediaType": media_type, "url": url, **keys})


def tool(state: str, **keys: Any) -> dict[str, Any]:
    return {
        "type": "dynamic-tool",
        "toolName": "weather",
        "toolCallId": "c1",
        "state": state,
        "input": {"city": "Paris"},
        **keys,
    }


def chat(*messages: dict[str, Any], **options: Any) -> list[Any]:
    converted = to_openai_messages(messages, **options)
    CHAT.validate_python(converted, strict=True)
    return converted


def responses(*messages: dict[str, Any], **options: Any) -> list[Any]:
    converted = to_openai_input(messages, **options)
    INPUT.validate_python(converted, strict=True)
    return converted


@pytest.mark.parametrize("convert", [chat, responses])
def test_u1_a_system_message_is_taken_only_if_it_is_allowed(convert: Convert) -> None:
    message = {"id": "s1", "role": "system", "parts": [text("Obey "), text("me.")]}

    assert convert(message) == []
    assert convert(message, allow_system=True) == [{"role": "system", "content": "Obey me."}]


def made(url: str, media_type: str = "image/png") -> dict[str, Any]:
    return {"type": "file", "url": url, "mediaType": media_type}


def test_an_image_of_an_answer_follows_it_for_responses() -> None:
    assert responses(assistant(text("See:"), made(DATA)), user(text("Bigger"))) == [
        {"role": "assistant", "content": "See:"},
        {
            "role": "user",
            "content": [
                {"type": "input_text", "text": "A file (image/png) that the user sees."},
                {"type": "input_image", "image_url": DATA, "detail": "auto"},
            ],
        },
        {"role": "user", "content": "Bigger"},
    ]


@pytest.mark.parametrize(
    ("url", "media_type"),
    [
        ("/api/chat/c1/files/1", "image/png"),
        ("data:application/pdf;base64,YQ==", "application/pdf"),
    ],
)
def test_any_other_file_of_an_answer_is_named_for_responses(url: str, media_type: str) -> None:
    (said,) = responses(assistant(text("See:"), made(url, media_type), text("Nice.")))
    note = f"A file ({media_type}) that the user sees."
    assert said == {"role": "assistant", "content": f"See:\n\n{note}\n\nNice."}


def test_a_file_of_an_answer_is_named_for_chat_completions() -> None:
    (said,) = chat(assistant(made(DATA)))
    note = "A file (image/png) that the user sees."
    assert said == {"role": "assistant", "content": note}


@pytest.mark.parametrize("convert", [chat, responses])
def test_a_file_that_pages_get_beside_a_result_is_not_named_again(convert: Convert) -> None:
    call = tool("output-available", output=[{"type": "image", "data": "AA==", "mimeType": "i/p"}])
    shown = made("data:i/p;base64,AA==", "i/p")
    assert convert(assistant(call, shown)) == convert(assistant(call))


def test_a_file_behind_a_call_begins_no_message_of_its_own() -> None:
    called, _ = chat(assistant(text("See:"), tool("output-available", output=1), made(DATA)))
    assert called["content"] == "See:\n\nA file (image/png) that the user sees."


@pytest.mark.parametrize("convert", [chat, responses])
def test_u2_a_user_text_is_a_plain_string(convert: Convert) -> None:
    assert convert(user(text("hi")), user(text(""))) == [{"role": "user", "content": "hi"}]


@pytest.mark.parametrize(
    ("media_type", "url", "part"),
    [
        (
            "image/png",
            "https://a/b.png",
            {"type": "image_url", "image_url": {"url": "https://a/b.png"}},
        ),
        ("image/png", DATA, {"type": "image_url", "image_url": {"url": DATA}}),
        (
            "audio/mpeg",
            "data:;base64,AA==",
            {"type": "input_audio", "input_audio": {"data": "AA==", "format": "mp3"}},
        ),
        (
            "application/pdf",
            "data:application/pdf,a%20b",
            {
                "type": "file",
                "file": {"file_data": "data:application/pdf;base64,YSBi", "filename": "file"},
            },
        ),
    ],
)
def test_u3_a_file_becomes_a_part_of_a_chat_message(
    media_type: str, url: str, part: dict[str, Any]
) -> None:
    (message,) = chat(file(media_type, url))

    assert message["content"] == [{"type": "text", "text": "see"}, part]


@pytest.mark.parametrize(
    ("media_type", "url", "part"),
    [
        ("image/png", DATA, {"type": "input_image", "image_url": DATA, "detail": "auto"}),
        (
            "application/pdf",
            "https://a/b.pdf",
            {"type": "input_file", "file_url": "https://a/b.pdf"},
        ),
        (
            "text/csv",
            "data:,a",
            {"type": "input_file", "file_data": "data:text/csv;base64,YQ==", "filename": "n.csv"},
        ),
    ],
)
def test_u3_a_file_becomes_a_part_of_a_responses_message(
    media_type: str, url: str, part: dict[str, Any]
) -> None:
    (message,) = responses(file(media_type, url, filename="n.csv"))

    assert message["content"] == [{"type": "input_text", "text": "see"}, part]


@pytest.mark.parametrize(
    ("convert", "media_type", "url"),
    [
        (to_openai_messages, "application/pdf", "https://a/b.pdf"),
        (to_openai_messages, "audio/wav", "https://a/b.wav"),
        (to_openai_messages, "audio/ogg", "data:,a"),
        (to_openai_messages, "video/mp4", "data:,a"),
        (to_openai_input, "audio/wav", "data:,a"),
        (to_openai_input, "video/mp4", "https://a/b.mp4"),
    ],
)
def test_u3_a_file_that_the_api_does_not_take_is_refused_by_its_place(
    convert: Convert, media_type: str, url: str
) -> None:
    with pytest.raises(
        InvalidArgument, match=r"messages\[0\]\.parts\[1\] is a .* that the API does not take"
    ):
        convert([file(media_type, url)])


FROM_ELSEWHERE = ["http://a", "file:///etc/hosts", "data:image/png;base64", 1]


@both
@pytest.mark.parametrize("role", ["user", "assistant"])
@pytest.mark.parametrize(
    ("media_type", "url"),
    [("video/mp4", "data:,a"), *(("image/png", url) for url in FROM_ELSEWHERE)],
)
def test_a_refused_file_of_an_earlier_question_is_named_and_the_chat_goes_on(
    convert: Convert, media_type: str, url: Any, role: str
) -> None:
    last = {"id": "m", "role": role, "parts": [text("And now?")]}

    question, answer = convert([file(media_type, url), last])

    said = [part["text"] for part in question["content"]]
    assert said == ["see", f"A file ({media_type}) that you cannot read."]
    assert "And now?" in str(answer)


@both
@pytest.mark.parametrize(
    "url",
    [
        "http://a",
        "file:///etc/passwd",
        "javascript:x",
        "data:image/png;base64",
        "data:x;base64,%%",
        1,
    ],
)
def test_u10_a_file_from_elsewhere_is_refused(convert: Convert, url: Any) -> None:
    with pytest.raises(InvalidArgument, match=r"messages\[1\]\.parts\[1\]"):
        convert([user(text("a")), file("image/png", url)])


def test_u4_each_step_of_a_chat_is_an_answer_followed_by_its_results() -> None:
    parts = [
        STEP,
        text("Let me "),
        text("see."),
        tool("output-available", output={"temp": 21}),
        STEP,
        text("Warm."),
    ]
    function = {"name": "weather", "arguments": '{"city":"Paris"}'}

    assert chat(assistant(*parts)) == [
        {
            "role": "assistant",
            "content": "Let me see.",
            "tool_calls": [{"id": "c1", "type": "function", "function": function}],
        },
        {"role": "tool", "tool_call_id": "c1", "content": '{"temp":21}'},
        {"role": "assistant", "content": "Warm."},
    ]


def test_u4_each_step_of_a_response_is_text_calls_and_results() -> None:
    second = tool("output-available", output="15:00") | {
        "type": "tool-clock",
        "toolCallId": "c2",
        "input": "UTC",
    }
    parts = [
        STEP,
        text("Let me see."),
        tool("output-available", output={"temp": 21}),
        second,
        STEP,
        text("Warm."),
    ]

    assert responses(assistant(*parts)) == [
        {"role": "assistant", "content": "Let me see."},
        {
            "type": "function_call",
            "call_id": "c1",
            "name": "weather",
            "arguments": '{"city":"Paris"}',
        },
        {"type": "function_call", "call_id": "c2", "name": "clock", "arguments": '{"input":"UTC"}'},
        {"type": "function_call_output", "call_id": "c1", "output": '{"temp":21}'},
        {"type": "function_call_output", "call_id": "c2", "output": "15:00"},
        {"role": "assistant", "content": "Warm."},
    ]


def test_an_answer_that_only_calls_has_no_text() -> None:
    assert chat(assistant(tool("output-available", output=None)))[0]["content"] is None
    assert responses(assistant(tool("output-available", output=None)))[0]["type"] == "function_call"


@pytest.mark.parametrize(
    ("part", "told"),
    [
        (tool("output-error", errorText="broke"), "broke"),
        (tool("output-error"), "The tool failed."),
        (tool("output-denied", approval={"id": "x", "approved": False, "reason": "no"}), "no"),
        (tool("output-denied", approval={"id": "x", "approved": False}), "Tool execution denied."),
        (
            tool("approval-responded", approval={"id": "x", "approved": False}),
            "Tool execution denied.",
        ),
    ],
)
def test_u6_the_model_learns_of_a_failure(part: dict[str, Any], told: str) -> None:
    assert chat(assistant(part))[1]["content"] == responses(assistant(part))[1]["output"] == told


@pytest.mark.parametrize("convert", [chat, responses])
@pytest.mark.parametrize(
    "part",
    [
        tool("input-streaming"),
        tool("input-available"),
        tool("approval-requested", approval={"id": "x"}),
        tool("approval-responded", approval={"id": "x", "approved": True}),
        tool("approval-responded", approval={"id": "x", "approved": "false"}),
        tool("output-available", output=1, providerExecuted=True),
        tool("output-available", output=1) | {"toolCallId": 7},
        {"type": "reasoning", "text": "hm", "state": "done"},
        {"type": "source-url", "sourceId": "s", "url": "https://a"},
        {"type": "data-x", "data": 1},
        {"type": "some-new-thing"},
        {"type": "text", "text": 7},
        {},
    ],
)
def test_u7_u8_u9_parts_that_a_model_may_not_see_are_left_out(
    convert: Convert, part: dict[str, Any]
) -> None:
    assert convert(assistant(STEP, part)) == []


@both
def test_u9_data_parts_are_converted_on_demand(convert: Convert) -> None:
    parts = [{"type": "data-place", "data": "Rome"}, {"type": "data-secret", "data": 1}]
    kind = "text" if convert is to_openai_messages else "input_text"

    def hook(part):
        return {"type": kind, "text": part["data"]} if part["type"] == "data-place" else None

    assert convert([user(*parts)]) == []
    assert convert([user(*parts)], convert_data_part=hook) == [
        {"role": "user", "content": [{"type": kind, "text": "Rome"}]}
    ]


@both
@pytest.mark.parametrize(
    "messages",
    [
        "hi",
        {"id": "u1"},
        [7],
        [{"role": "user"}],
        [{"role": "user", "parts": [7]}],
        [{"role": "robot", "parts": []}],
    ],
)
def test_anything_but_a_list_of_ui_messages_is_refused(convert: Convert, messages: Any) -> None:
    with pytest.raises(InvalidArgument):
        convert(messages)


@both
def test_u10_messages_over_the_limit_of_a_chat_are_refused(convert: Convert) -> None:
    history = [user(text("ü")), assistant(tool("output-available", output="12345", input={}))]

    assert len(convert(history, max_bytes=2 + 2 + 5)) == 3
    with pytest.raises(InvalidArgument, match=r"messages\[1\] exceeds the size limit of this chat"):
        convert(history, max_bytes=2 + 2 + 4)


ENCRYPTED = {"itemId": "rs_1", "reasoningEncryptedContent": "gAAAA"}


def thought(value: str, **state: Any) -> dict[str, Any]:
    return {"type": "reasoning", "text": value, "state": "done", "providerMetadata": state}


def test_encrypted_reasoning_goes_back_in_its_place() -> None:
    parts = [
        STEP,
        thought("First.", openai={"itemId": "rs_1"}),
        thought("Then.", openai=ENCRYPTED),
        tool("output-available", output=1),
        STEP,
        thought("", openai={**ENCRYPTED, "itemId": "rs_2"}),
        thought("unsigned", openai={"itemId": "rs_3"}),
        thought("foreign", anthropic={"signature": "x"}),
        text("Warm."),
    ]

    items = responses(assistant(*parts))

    assert [item.get("type", "message") for item in items] == [
        "reasoning",
        "function_call",
        "function_call_output",
        "reasoning",
        "message",
    ]
    assert items[0] == {
        "type": "reasoning",
        "id": "rs_1",
        "summary": [
            {"type": "summary_text", "text": "First."},
            {"type": "summary_text", "text": "Then."},
        ],
        "encrypted_content": "gAAAA",
    }
    assert items[3]["summary"] == []


def test_text_before_and_behind_a_call_keeps_its_order() -> None:
    message = assistant(text("a"), tool("output-available", output=1), text("b"))

    assert [item.get("content") or item["type"] for item in responses(message)] == [
        "a",
        "function_call",
        "b",
        "function_call_output",
    ]
    assert [(item["role"], item["content"]) for item in chat(message)] == [
        ("assistant", "a"),
        ("tool", "1"),
        ("assistant", "b"),
    ]


def test_a_custom_call_goes_back_as_one() -> None:
    part = tool("output-available", output="ok", input="print(1)") | {
        "callProviderMetadata": {"openai": {"type": "custom_tool_call"}}
    }

    assert responses(assistant(part)) == [
        {"type": "custom_tool_call", "call_id": "c1", "name": "weather", "input": "print(1)"},
        {"type": "custom_tool_call_output", "call_id": "c1", "output": "ok"},
    ]
    assert chat(assistant(part))[0]["tool_calls"] == [
        {"id": "c1", "type": "custom", "custom": {"name": "weather", "input": "print(1)"}}
    ]


def test_state_of_other_servers_goes_back_with_a_chat_message() -> None:
    details = [{"type": "reasoning.encrypted", "data": "x"}]
    signed = tool("output-available", output=1) | {
        "callProviderMetadata": {"google": {"thoughtSignature": "sig"}}
    }

    [message, _] = chat(assistant(thought("hm", openrouter={"reasoning_details": details}), signed))

    assert message["reasoning_details"] == details
    assert message["tool_calls"][0]["extra_content"] == {"google": {"thought_signature": "sig"}}


@pytest.mark.parametrize(
    "image",
    [
        {"type": "input_image", "image_url": DATA},
        {"type": "image_url", "image_url": {"url": DATA}},
        {"type": "image", "data": "AA==", "mimeType": "image/png"},
        {"type": "image", "base64": "AA==", "mime_type": "image/png"},
        {"type": "media", "data": "AA==", "mediaType": "image/png"},
    ],
)
@pytest.mark.parametrize("wrapped", ["list", "alone", "MCP", "AI SDK"])
def test_an_image_of_a_tool_is_no_base64_text(image: dict[str, Any], wrapped: str) -> None:
    output: Any = {
        "list": [{"type": "text", "text": "see"}, image],
        "alone": image,
        "MCP": {"content": [{"type": "text", "text": "see"}, image], "isError": False},
        "AI SDK": {"type": "content", "value": [{"type": "text", "text": "see"}, image]},
    }[wrapped]
    part = tool("output-available", output=output)
    said = [] if wrapped == "alone" else [{"type": "input_text", "text": "see"}]

    assert responses(assistant(part))[1]["output"] == [
        *said,
        {"type": "input_image", "image_url": DATA, "detail": "auto"},
    ]
    assert "AA==" not in chat(assistant(part))[1]["content"]
    assert "image/png" in chat(assistant(part))[1]["content"]


def test_a_result_without_files_stays_json() -> None:
    output = [{"type": "text", "text": "see"}]
    part = tool("output-available", output=output)

    assert responses(assistant(part))[1]["output"] == '[{"type":"text","text":"see"}]'


@both
def test_a_file_id_is_taken_only_if_this_user_may_name_it(convert: Convert) -> None:
    by_url = file("application/pdf", "file-1")
    by_reference = file("application/pdf", "data:,a", providerReference={"openai": "file-1"})

    for message in (by_url, by_reference):
        [said] = convert([message], file_ids={"file-1"})
        part = said["content"][1]
        assert (part.get("file") or part)["file_id"] == "file-1"
    with pytest.raises(InvalidArgument, match=r"messages\[0\]\.parts\[1\]"):
        convert([by_url], file_ids={"file-2"})
    with pytest.raises(InvalidArgument):
        convert([by_url])


def test_an_image_is_named_by_its_id_in_a_response() -> None:
    [message] = responses(file("image/png", "file-1"), file_ids=["file-1"])

    assert message["content"][1] == {
        "type": "input_image",
        "file_id": "file-1",
        "detail": "auto",
    }
    with pytest.raises(InvalidArgument, match="images by URL"):
        chat(file("image/png", "file-1"), file_ids=["file-1"])


@pytest.mark.parametrize(
    "name",
    ["responses/reasoning_that_is_encrypted", "responses/reasoning_summary"],
)
async def test_the_state_of_a_recorded_answer_goes_back(service: Service, name: str) -> None:
    await record(service, events_of(name))
    message = {"role": "assistant", **reduce_chunks(await stored(service))}

    [reasoning] = [item for item in responses(message) if item.get("type") == "reasoning"]

    assert reasoning["id"] == "rs_1"
    assert reasoning["encrypted_content"].startswith("gAAAA")


async def test_the_state_of_openrouters_thoughts_goes_back(service: Service) -> None:
    detail = {"type": "reasoning.text", "index": 0}
    await record(
        service,
        [
            delta(reasoning="Hm", reasoning_details=[{**detail, "text": "Hm"}]),
            delta(reasoning=".", reasoning_details=[{**detail, "text": ".", "signature": "s"}]),
            delta(content="Hi"),
            delta("stop"),
        ],
    )
    message = {"role": "assistant", **reduce_chunks(await stored(service))}

    [said] = chat(message)

    assert said["content"] == "Hi"
    assert said["reasoning_details"] == [{**detail, "text": "Hm.", "signature": "s"}]


async def test_the_thoughts_that_deepseek_wants_go_back(service: Service) -> None:
    piece = {"index": 0, "id": "c1", "function": {"name": "f", "arguments": "{}"}}
    async with service.publisher("chat", message_id="m1") as pub:
        asking = [delta(reasoning_content="H"), delta(reasoning_content="m", content="So")]
        events = capture([*asking, delta("tool_calls", tool_calls=[piece])], pub)
        async for _ in events:
            pass
        events.tool_result("c1", output=1)
        answer = [delta(reasoning_content="Aha"), delta(content="Hi"), delta("stop")]
        async for _ in capture(answer, pub):
            pass
    message = {"role": "assistant", **reduce_chunks(await stored(service))}

    called, _, said = chat(message)

    assert (called["content"], called["reasoning_content"]) == ("So", "Hm")
    assert (said["content"], said["reasoning_content"]) == ("Hi", "Aha")


async def test_thoughts_in_any_other_field_stay_away(service: Service) -> None:
    await record(service, [delta(reasoning="Hm"), delta(content="Hi"), delta("stop")])
    message = {"role": "assistant", **reduce_chunks(await stored(service))}

    assert chat(message) == [{"role": "assistant", "content": "Hi"}]


async def test_the_signature_of_geminis_call_goes_back(service: Service) -> None:
    piece = {"index": 0, "id": "c1", "function": {"name": "f", "arguments": "{}"}}
    piece |= {"extra_content": {"google": {"thought_signature": "sig"}}}
    async with service.publisher("chat", message_id="m1") as pub:
        events = capture([delta("tool_calls", tool_calls=[piece])], pub)
        async for _ in events:
            pass
        events.tool_result("c1", output=1)
    message = {"role": "assistant", **reduce_chunks(await stored(service))}

    [called, _] = chat(message)

    assert called["tool_calls"][0]["extra_content"] == {"google": {"thought_signature": "sig"}}


@pytest.mark.parametrize(
    "output",
    [DATA, {"screenshot": DATA, "title": "A page"}, "iVBORw0KGgo" + "A" * 1001],
    ids=["data URL", "in an object", "base64"],
)
def test_a_file_in_any_form_is_no_base64_text(output: Any) -> None:
    part = tool("output-available", output=output)

    for item in (responses(assistant(part))[1]["output"], chat(assistant(part))[1]["content"]):
        assert "A file (image/png) that the user sees." in item
        assert "AA" not in item


def test_a_stored_file_is_given_as_a_reference() -> None:
    reference = {"type": "stored-file", "mediaType": "image/png", "url": "/api/chat/c1/files/ab"}
    part = tool("output-available", output=[{"type": "text", "text": "see"}, reference])

    assert json.loads(responses(assistant(part))[1]["output"])[1] == reference
    assert json.loads(chat(assistant(part))[1]["content"])[1] == reference


@both
def test_the_size_of_a_result_counts_its_files(convert: Convert) -> None:
    part = tool("output-available", output=[{"type": "image", "base64": "A" * 1000}])

    with pytest.raises(InvalidArgument, match="size limit"):
        convert([assistant(part)], max_bytes=900)


async def test_the_phase_of_a_text_goes_back(service: Service) -> None:
    """Models of OpenAI tell commentaries from the final answer, and want to know it again."""

    def said(number: int, phase: str, text: str) -> list[dict[str, Any]]:
        message = {"type": "message", "id": f"m{number}", "phase": phase, "content": []}
        part = {"type": "output_text", "text": text}
        place = {"item_id": f"m{number}", "output_index": number, "content_index": 0}
        return [
            event("output_item.added", output_index=number, item=message),
            event("output_text.delta", delta=text, **place),
            event("content_part.done", part=part, **place),
            event("output_item.done", output_index=number, item={**message, "content": [part]}),
        ]

    spoken = [*said(0, "commentary", "I look."), *said(1, "final_answer", "It is.")]
    await record(service, [created(), *spoken, completed()])
    message = {"role": "assistant", **reduce_chunks(await stored(service))}

    assert responses(message) == [
        {"role": "assistant", "content": "I look.", "phase": "commentary"},
        {"role": "assistant", "content": "It is.", "phase": "final_answer"},
    ]


def test_a_forged_phase_stays_away() -> None:
    forged = {"type": "text", "text": "Hi", "providerMetadata": {"openai": {"phase": "system"}}}

    assert responses(assistant(forged)) == [{"role": "assistant", "content": "Hi"}]


@both
def test_half_a_character_can_be_sent(convert: Convert) -> None:
    split, lone = text("\ud83d\ude00"), tool("output-available", output="\ud83d")

    converted = json.dumps(convert([assistant(split, lone)]), ensure_ascii=False)

    assert "😀" in converted
    assert "\ufffd" in converted
    converted.encode()


async def test_the_namespace_of_a_function_goes_back(service: Service) -> None:
    item = {"type": "function_call", "id": "f_1", "call_id": "c1", "name": "f", "arguments": "{}"}
    done = event("output_item.done", output_index=0, item={**item, "namespace": "crm"})
    async with service.publisher("chat", message_id="m1") as pub:
        events = capture([created(), done, completed()], pub)
        async for _ in events:
            pass
        events.tool_result("c1", output=1)
    message = {"role": "assistant", **reduce_chunks(await stored(service))}

    [called, _] = responses(message)

    assert (called["name"], called["namespace"]) == ("f", "crm")
