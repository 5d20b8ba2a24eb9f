"""Messages of a page as Gemini takes them: in order, as the SDK's chat would send them back."""

from __future__ import annotations

import json
from typing import Any

import pytest
from google.genai.types import Content

from monostream_ai import DurableStreamService, InvalidArgument
from monostream_ai.google_genai import capture, to_google_contents
from monostream_ai.ui_messages import Chunk, reduce_chunks
from tests.google_genai.test_capture import answer, client_of

Service = DurableStreamService[Chunk]

IMAGE = {"inlineData": {"mimeType": "image/png", "data": "AQID"}}
ANSWERS = {
    "text": [answer({"text": "Hello "}), answer({"text": "there"}, finish="STOP")],
    "signed text": [
        answer({"text": "Hm.", "thought": True, "thoughtSignature": "YWE="}),
        answer({"text": "Hello"}),
        answer({"text": "", "thoughtSignature": "YmI="}, finish="STOP"),
    ],
    "code": [
        answer({"text": "I count."}),
        answer(
            {"executableCode": {"code": "1+1", "language": "PYTHON"}, "thoughtSignature": "YWE="}
        ),
        answer({"codeExecutionResult": {"outcome": "OUTCOME_OK", "output": "2"}}),
        answer({"text": "Two."}, finish="STOP"),
    ],
    "failed code": [
        answer({"executableCode": {"code": "1/0", "language": "PYTHON"}}),
        answer({"codeExecutionResult": {"outcome": "OUTCOME_FAILED", "output": "Zero"}}),
        answer({"text": "It fails."}, finish="STOP"),
    ],
    "tools of the server": [
        answer(
            {
                "toolCall": {"id": "s1", "toolType": "GOOGLE_SEARCH_WEB", "args": {"q": "Rome"}},
                "thoughtSignature": "YWE=",
            }
        ),
        answer(
            {
                "toolResponse": {
                    "id": "s1",
                    "toolType": "GOOGLE_SEARCH_WEB",
                    "response": {"found": "Rome is warm"},
                },
                "thoughtSignature": "YmI=",
            }
        ),
        answer({"text": "Warm."}, finish="STOP"),
    ],
    "signed images": [
        answer({**IMAGE, "thought": True, "thoughtSignature": "YWE="}),
        answer({"text": "See:", "thoughtSignature": "YmI="}),
        answer({**IMAGE, "thoughtSignature": "Y2M="}, finish="STOP"),
    ],
}
CALLS = answer(
    {"text": "I look."},
    {"functionCall": {"name": "ask", "args": {"city": "Rome"}}, "thoughtSignature": "YWE="},
    {"functionCall": {"id": "f2", "name": "ask", "args": {"city": "Oslo"}}},
    finish="STOP",
)


async def recorded(
    service: Service, answers: list[Any], **results: Any
) -> tuple[Any, list[dict[str, Any]]]:
    """Return the message, and the contents that the SDK's own chat keeps of the same answer."""
    async with client_of(answers) as client, service.publisher("chat", message_id="m1") as pub:
        chat = client.aio.chats.create(model="gemini-2.5-flash")
        events = capture(await chat.send_message_stream("Hi"), pub)
        async for _ in events:
            pass
        for call_id, output in results.items():
            events.tool_result(call_id.replace("_", "-"), output=output)
    # As the page sends it.
    message = json.loads(json.dumps(reduce_chunks(await service.chunks("chat"))))
    kept = [part for content in chat.get_history()[1:] for part in content.parts or []]
    return message, joined([part.model_dump(exclude_none=True) for part in kept])


def joined(parts: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Join texts that came in pieces, as the SDK sends each piece back."""
    found: list[dict[str, Any]] = []
    for part in parts:
        last = found[-1] if found else {}
        if "text" in part and "text" in last and part.get("thought") == last.get("thought"):
            found[-1] = {**last, **part, "text": last["text"] + part["text"]}
        else:
            found.append(part)
    return found


@pytest.mark.parametrize("name", ANSWERS)
async def test_an_answer_comes_back_as_the_sdk_sends_it_back(service: Service, name: str) -> None:
    message, wanted = await recorded(service, ANSWERS[name])
    [said] = to_google_contents([message])

    assert said["role"] == "model"
    assert Content.model_validate(said).model_dump(exclude_none=True)["parts"] == wanted


async def test_calls_come_back_with_their_signatures_and_results(service: Service) -> None:
    message, wanted = await recorded(service, [CALLS], call_1={"degrees": 21}, f2="rain")
    said, results = to_google_contents([message])

    assert Content.model_validate(said).model_dump(exclude_none=True)["parts"] == wanted
    assert results == {
        "role": "user",
        "parts": [
            {"function_response": {"name": "ask", "response": {"degrees": 21}}},
            {"function_response": {"id": "f2", "name": "ask", "response": {"result": "rain"}}},
        ],
    }


def test_files_of_a_user_become_parts() -> None:
    parts = [
        {"type": "text", "text": "See"},
        {"type": "file", "url": "data:image/png;base64,AAAA", "mediaType": "image/png"},
        {"type": "file", "url": "https://a.example/a.pdf", "mediaType": "application/pdf"},
    ]
    [said] = to_google_contents([{"id": "u1", "role": "user", "parts": parts}])
    assert said["parts"] == [
        {"text": "See"},
        {"inline_data": {"data": b"\0\0\0", "mime_type": "image/png"}},
        {"file_data": {"file_uri": "https://a.example/a.pdf", "mime_type": "application/pdf"}},
    ]


async def test_a_signature_that_comes_without_a_text_belongs_to_the_text_before(
    service: Service,
) -> None:
    signed = answer({"thoughtSignature": "YWE="}, finish="STOP")
    message, _ = await recorded(service, [answer({"text": "Hello"}), signed])
    [said] = to_google_contents([message])
    assert said["parts"] == [{"text": "Hello", "thought_signature": b"aa"}]


def of_model(*parts: dict[str, Any], **options: Any) -> list[Any]:
    return to_google_contents([{"id": "m1", "role": "assistant", "parts": list(parts)}], **options)


def test_a_stored_file_of_the_model_is_named_unless_the_provider_has_it() -> None:
    url = "https://a.example/a.png"
    part = {"type": "file", "url": url, "mediaType": "image/png"}

    [said] = of_model(part)
    assert said["parts"] == [{"text": "A file (image/png) that the user sees."}]
    [said] = of_model(part, file_ids=[url])
    assert said["parts"] == [{"file_data": {"file_uri": url, "mime_type": "image/png"}}]


@pytest.mark.parametrize("data", ["A" * 257, "", "%%%"])
def test_a_file_of_the_model_that_cannot_be_decoded_is_named(data: str) -> None:
    [said] = of_model(
        {"type": "file", "url": f"data:image/png;base64,{data}", "mediaType": "image/png"}
    )
    [part] = said["parts"]
    assert part["text"].startswith("A file (image/png")


def test_an_image_of_a_thought_goes_back_only_with_a_signature() -> None:
    part = {"type": "reasoning-file", "url": "data:image/png;base64,AAAA", "mediaType": "image/png"}
    assert of_model(part) == []


def test_data_of_the_model_goes_back_only_where_data_is_allowed() -> None:
    part = {"type": "file", "url": "data:image/png;base64,AAAA", "mediaType": "image/png"}
    [said] = of_model(part, url_schemes=["https"])
    assert said["parts"] == [{"text": "A file (image/png) that the user sees."}]


@pytest.mark.parametrize(
    ("held", "url"),
    [
        ({"type": "image", "data": "AAAA", "mimeType": "image/png"}, "data:image/png;base64,AAAA"),
        ({"type": "stored-file", "mediaType": "image/png", "url": "/f/1"}, "/f/1"),
    ],
)
def test_a_file_in_the_result_of_a_tool_is_given_once(held: dict[str, str], url: str) -> None:
    call = {
        "type": "tool-look",
        "toolCallId": "c1",
        "state": "output-available",
        "input": {},
        "output": [held],
    }
    said, _ = of_model(call, {"type": "file", "url": url, "mediaType": "image/png"})
    assert [[*part] for part in said["parts"]] == [["function_call"]]


@pytest.mark.parametrize(
    "output",
    [
        {"type": "image", "data": "A" * 257, "mimeType": "image/png"},
        {"type": "image", "url": f"data:image/png;base64,{'A' * 257}"},
    ],
)
def test_base64_of_an_impossible_length_in_a_result_is_no_file(output: dict[str, str]) -> None:
    call = {"type": "tool-look", "toolCallId": "c1", "state": "output-available", "input": {}}
    _, results = of_model({**call, "output": output})
    assert results["parts"][0]["function_response"]["response"] == output


def test_calls_of_other_providers_stay_away() -> None:
    call = {"type": "tool-web_search", "toolCallId": "ws_1", "providerExecuted": True, "input": {}}
    code = {**call, "type": "tool-code_execution", "state": "output-available", "output": {}}
    waiting = {**call, "state": "input-available"}
    [said] = of_model({"type": "text", "text": "Hi"}, code, waiting)
    assert said["parts"] == [{"text": "Hi"}]


def test_a_signature_that_is_no_base64_stays_away() -> None:
    state = {"google": {"thoughtSignature": "not base64"}}
    parts = [{"type": "text", "text": "Hi", "providerMetadata": state}]
    [said] = to_google_contents([{"id": "m1", "role": "assistant", "parts": parts}])
    assert said["parts"] == [{"text": "Hi"}]


def test_a_system_message_is_refused() -> None:
    with pytest.raises(InvalidArgument, match="system_instruction="):
        to_google_contents([], allow_system=True)
