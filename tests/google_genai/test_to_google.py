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


def test_a_signature_that_is_no_base64_stays_away() -> None:
    state = {"google": {"thoughtSignature": "not base64"}}
    parts = [{"type": "text", "text": "Hi", "providerMetadata": state}]
    [said] = to_google_contents([{"id": "m1", "role": "assistant", "parts": parts}])
    assert said["parts"] == [{"text": "Hi"}]


def test_a_system_message_is_refused() -> None:
    with pytest.raises(InvalidArgument, match="system_instruction="):
        to_google_contents([], allow_system=True)
