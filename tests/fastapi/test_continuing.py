from __future__ import annotations

import re
from typing import Any

import pytest

from monostream_ai.fastapi import ChatTurn, chat_publisher
from monostream_ai.ui_messages import MessageReducer, UIMessage, reduce_chunks
from tests.fastapi.chat_client import OpenStream, chunks_in, question, user_message
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


STATIC = {"toolCallId": "c1", "type": "tool-ask", "input": {"city": "Rome"}}


@pytest.mark.parametrize("profile", ["v5", "v6", "v7"])
@pytest.mark.parametrize("call", [CALL, STATIC], ids=["dynamic", "static"])
@pytest.mark.parametrize(
    "result",
    [
        {"type": "tool-output-available", "toolCallId": "c1", "output": 7},
        {"type": "tool-output-error", "toolCallId": "c1", "errorText": "No."},
    ],
)
async def test_a_continuation_that_tells_its_call_again_is_replayed_once(
    new_service: NewService, serve: Serve, result: Any, call: dict[str, Any], profile: str
) -> None:
    service = new_service()
    asked = {**call, "state": "approval-requested", "approval": {"id": "p1"}}
    await store_answer(service, message([*PARTS[:3], asked]))
    again = {"type": "tool-input-available", "toolName": "ask", "input": call["input"]}
    held = Held(
        *({**chunk, "toolCallId": "c1", "dynamic": call is CALL} for chunk in (again, result))
    )
    client = await serve(service, held)
    approved = {"state": "approval-responded", "approval": {"id": "p1", "approved": True}}
    decided = message([*PARTS[:3], {**asked, **approved}])
    url = f"/api/chat/c1/stream?profile={profile}"
    async with client.ask({"id": "c1", "messages": [user_message(), decided]}) as answer:
        await held.started.wait()
        async with client.http.stream("GET", url) as response:
            held.go_on.set()
            replay = await OpenStream(response).rest()
        new = chunks_in(await answer.rest())

    reducer = MessageReducer(decided)
    for chunk in new:
        reducer.feed(chunk)
    whole = chunks_in(replay)
    assert [chunk["type"] for chunk in whole].count("reasoning-start") == 1
    assert texts(reduce_chunks(whole)) == texts(reducer.message)
    events = [event for event in replay.split("\n\n") if "data: {" in event]
    for cut in range(2, len(events)):
        seen = "\n\n".join(events[:cut])
        if ids := re.findall("^id: (.+)$", seen, re.MULTILINE):
            headers = {"Last-Event-ID": ids[-1]}
            rest = await client.http.get(url, headers=headers)
            both = chunks_in(seen) + chunks_in(rest.text)
            assert texts(reduce_chunks(both)) == texts(reduce_chunks(whole))


def texts(message: Any) -> list[tuple[str, Any, Any]]:
    return [
        (part["type"], part.get("text") or part.get("state"), part.get("output"))
        for part in message["parts"]
    ]


@pytest.mark.parametrize("stored", [True, False])
async def test_a_continuation_without_a_start_is_replayed_behind_its_message(
    new_service: NewService, serve: Serve, stored: bool
) -> None:
    service = new_service()
    asked = message([*PARTS[:3], {**CALL, "state": "input-available"}])
    await store_answer(service, asked)
    client = await serve(service, Held())
    transient = {"type": "data-note", "data": 1, "transient": True}
    result = {"type": "tool-output-available", "toolCallId": "c1", "output": 7, "dynamic": True}

    pub = chat_publisher(service, "c1", message_id="a1", messages=[user_message(), asked])
    async with pub:
        if stored:
            await pub.write(transient)
        async with client.resume() as resumed:
            await pub.write(result)
            await pub.close()
            whole = reduce_chunks(chunks_in(await resumed.rest()))

    reducer = MessageReducer(asked)
    for chunk in await service.chunks("chat:c1"):
        reducer.feed(chunk)
    assert texts_and_results(whole) == texts_and_results(reducer.message)


def texts_and_results(message: UIMessage) -> list[Any]:
    return [(part["type"], part.get("text"), part.get("output")) for part in message["parts"]]
