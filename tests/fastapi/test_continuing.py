from __future__ import annotations

import re
from typing import Any

from monostream_ai.fastapi import ChatTurn
from monostream_ai.ui_messages import reduce_chunks
from tests.fastapi.chat_client import chunks_in, question, user_message
from tests.fastapi.conftest import NewService, Serve
from tests.fastapi.replies import Held, store_answer

CALL = {"toolCallId": "c1", "toolName": "ask", "type": "dynamic-tool", "input": {"city": "Rome"}}
PARTS: list[dict[str, Any]] = [
    {"type": "step-start"},
    {"type": "reasoning", "id": "r1", "text": "Hm.", "state": "done"},
    {
        "type": "text",
        "text": "Let me ask.",
        "state": "done",
        "providerMetadata": {"openai": {"itemId": "i"}},
    },
    {**CALL, "state": "output-available", "output": None},
    {
        "type": "tool-look",
        "toolCallId": "c2",
        "state": "output-error",
        "input": {},
        "errorText": "No.",
        "providerExecuted": True,
    },
    {
        "type": "tool-look",
        "toolCallId": "c3",
        "state": "output-error",
        "input": None,
        "errorText": "Not JSON.",
    },
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


async def test_a_continuation_streams_new_chunks_and_replays_the_whole_message(
    new_service: NewService, serve: Serve
) -> None:
    service, held = new_service(), Held()
    await store_answer(service, message(PARTS[:4]))
    earlier = reduce_chunks(await service.chunks("chat:c1"))["parts"]

    async def reply(turn: ChatTurn) -> None:
        await turn.pub.write({"type": "start-step"})
        await held(turn)

    client = await serve(service, reply)
    body = {
        "id": "c1",
        "messages": [user_message(), message(PARTS[:4])],
        "trigger": "submit-message",
        "messageId": "a1",
    }
    async with client.ask(body) as asked, client.resume() as resumed:
        await held.started.wait()
        held.go_on.set()
        new, whole = chunks_in(await asked.rest()), chunks_in(await resumed.rest())

    assert [new[0], whole[0]] == [{"type": "start", "messageId": "a1"}] * 2
    added = reduce_chunks(new)["parts"]
    assert earlier[:4] == PARTS[:4]
    assert reduce_chunks(whole)["parts"] == earlier + added
    assert whole[-len(new) + 1 :] == new[1:]
    assert [chunk["type"] for chunk in whole].count("start") == 1


async def test_a_replay_of_a_continuation_can_be_cut_anywhere(
    new_service: NewService, serve: Serve
) -> None:
    service, held = new_service(), Held()
    await store_answer(service, message(PARTS[:4]))
    client = await serve(service, held)
    body = {
        "id": "c1",
        "messages": [user_message(), message(PARTS[:4])],
        "trigger": "submit-message",
        "messageId": "a1",
    }
    async with client.ask(body) as asked, client.resume() as resumed:
        await held.started.wait()
        held.go_on.set()
        await asked.rest()
        whole = await resumed.rest()

    events = [event for event in whole.split("\n\n") if "data: {" in event]
    for cut in range(1, len(events)):
        seen = "\n\n".join(events[:cut])
        ids = re.findall("^id: (.+)$", seen, re.MULTILINE)
        # A client that has no event id yet replays everything.
        rest = await client.get(headers={"Last-Event-ID": ids[-1]}) if ids else None
        both = chunks_in(whole) if rest is None else chunks_in(seen) + chunks_in(rest.text)
        assert reduce_chunks(both)["parts"] == reduce_chunks(chunks_in(whole))["parts"]


async def test_the_next_question_replays_no_earlier_message(
    new_service: NewService, serve: Serve
) -> None:
    held = Held()
    client = await serve(new_service(), held)
    body = question() | {"messages": [message(PARTS[:4]), user_message()]}

    async with client.ask(body) as asked, client.resume() as resumed:
        held.go_on.set()
        assert chunks_in(await asked.rest()) == chunks_in(await resumed.rest())
