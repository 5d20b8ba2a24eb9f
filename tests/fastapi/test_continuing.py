from __future__ import annotations

from typing import Any

import pytest

from monostream_ai.fastapi import ChatTurn
from monostream_ai.fastapi.earlier_parts import earlier_payloads
from monostream_ai.json_text import decode_json
from monostream_ai.ui_messages import reduce_chunks
from tests.fastapi.chat_client import chunks_in, question, user_message
from tests.fastapi.conftest import NewService, Serve
from tests.fastapi.replies import Held

CALL = {"toolCallId": "c1", "toolName": "ask", "type": "dynamic-tool", "input": {"city": "Rome"}}
PARTS: list[dict[str, Any]] = [
    {"type": "step-start"},
    {"type": "reasoning", "id": "r1", "text": "Hm.", "state": "done"},
    {"type": "text", "text": "Let me ask.", "state": "done", "providerMetadata": {"openai": {"itemId": "i"}}},
    {**CALL, "state": "output-available", "output": None},
    {"type": "tool-look", "toolCallId": "c2", "state": "output-error", "input": {}, "errorText": "No.", "providerExecuted": True},
    {"type": "tool-look", "toolCallId": "c3", "state": "output-error", "input": None, "errorText": "Not JSON."},
    {"type": "step-start"},
    {**CALL, "toolCallId": "c4", "state": "input-available"},
    {**CALL, "toolCallId": "c5", "state": "approval-requested", "approval": {"id": "p1"}},
    {**CALL, "toolCallId": "c6", "state": "output-denied", "approval": {"id": "p2"}},
    {"type": "source-url", "sourceId": "s", "url": "https://example.com", "title": "Example"},
    {"type": "source-document", "sourceId": "d", "mediaType": "text/plain", "title": "Doc"},
    {"type": "file", "url": "data:text/plain,hi", "mediaType": "text/plain"},
    {"type": "data-progress", "id": "p", "data": {"done": 1}},
]


def message(parts: list[dict[str, Any]]) -> dict[str, Any]:
    return {"id": "a1", "role": "assistant", "parts": parts}


def replayed(parts: list[dict[str, Any]]) -> list[dict[str, Any]]:
    chunks = [{"type": "start", "messageId": "a1"}, *map(decode_json, earlier_payloads(message(parts)))]
    made: list[dict[str, Any]] = reduce_chunks(chunks)["parts"]
    return made


def test_the_parts_of_a_message_come_back_as_they_were() -> None:
    assert [part | {"state": "x"} for part in replayed(PARTS)] == [part | {"state": "x"} for part in PARTS]
    assert [part.get("state") for part in replayed(PARTS)] == [part.get("state") for part in PARTS]


def test_an_answered_approval_is_asked_for_until_its_outcome_comes() -> None:
    responded = {**CALL, "state": "approval-responded", "approval": {"id": "p1", "approved": True}}

    assert replayed([responded]) == [{**CALL, "state": "approval-requested", "approval": {"id": "p1"}}]


def test_no_client_tool_is_called_again_by_a_replay() -> None:
    types = [decode_json(payload)["type"] for payload in earlier_payloads(message([PARTS[3]]))]

    assert types == ["tool-input-start", "tool-input-delta", "tool-output-available"]


@pytest.mark.parametrize(
    "part",
    [
        {},
        {"type": 7},
        {"type": "text"},
        {"type": "text", "text": 7},
        {"type": "tool-look", "state": "output-available"},
        {"type": "dynamic-tool", "toolCallId": "c", "state": "output-available"},
        {"type": "dynamic-tool", "toolCallId": "c", "toolName": "n", "state": "input-available", "input": {"__proto__": 1}},
        {"type": "dynamic-tool", "toolCallId": "c", "toolName": "n", "state": "approval-requested", "approval": 7},
        {"type": "some-new-thing"},
    ],
)
def test_a_part_that_no_client_would_read_is_left_out(part: dict[str, Any]) -> None:
    assert replayed([part, *PARTS[:2]]) == PARTS[:2]


async def test_a_continuation_streams_what_is_new_and_replays_the_whole_message(new_service: NewService, serve: Serve) -> None:
    held = Held()

    async def reply(turn: ChatTurn) -> None:
        await turn.pub.write({"type": "start-step"})
        await held(turn)

    client = await serve(new_service(), reply)
    body = {"id": "c1", "messages": [user_message(), message(PARTS[:4])], "trigger": "submit-message", "messageId": "a1"}
    async with client.ask(body) as asked, client.resume() as resumed:
        await held.started.wait()
        held.go_on.set()
        new, whole = chunks_in(await asked.rest()), chunks_in(await resumed.rest())

    assert [new[0], whole[0]] == [{"type": "start", "messageId": "a1"}] * 2
    added = reduce_chunks(new)["parts"]
    assert reduce_chunks(whole)["parts"] == PARTS[:4] + added
    assert whole[-len(new) + 1 :] == new[1:]
    assert [chunk["type"] for chunk in whole].count("start") == 1


async def test_the_next_question_replays_no_earlier_message(new_service: NewService, serve: Serve) -> None:
    held = Held()
    client = await serve(new_service(), held)
    body = question() | {"messages": [message(PARTS[:4]), user_message()]}

    async with client.ask(body) as asked, client.resume() as resumed:
        held.go_on.set()
        assert chunks_in(await asked.rest()) == chunks_in(await resumed.rest())
