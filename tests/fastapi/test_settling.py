"""A replay shows each step and each approval as it ended, to clients that cannot be told later."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import pytest

from monostream_ai.chats.streaming.replays.settling import (
    MAX_HELD_CHARACTERS,
    SettledSteps,
    as_answered,
)
from monostream_ai.fastapi import ChatTurn
from monostream_ai.json_text import encode_json
from monostream_ai.ui_messages import Chunk, reduce_chunks
from tests.fastapi.chat_client import chunks_in, question, types_in, user_message
from tests.fastapi.conftest import NewService, Serve
from tests.fastapi.replies import Held, store_answer

NOTHING: Chunk = {"type": "message-metadata", "messageMetadata": None}
START: Chunk = {"type": "start", "messageId": "m"}
STEP: Chunk = {"type": "start-step"}
STEP_ENDS: Chunk = {"type": "finish-step"}
RESET: Chunk = {"type": "reset-step"}
CALL: Chunk = {"type": "tool-input-available", "toolCallId": "c", "toolName": "pay", "input": {}}
ASKED: Chunk = {"type": "tool-approval-request", "approvalId": "a", "toolCallId": "c"}
APPROVED: Chunk = {"type": "tool-approval-response", "approvalId": "a", "approved": True}
REFUSED: Chunk = {**APPROVED, "approved": False}
DENIED: Chunk = {"type": "tool-output-denied", "toolCallId": "c"}
RESULT: Chunk = {"type": "tool-output-available", "toolCallId": "c", "output": 1}


def text(name: str) -> list[Chunk]:
    delta = {"type": "text-delta", "id": name, "delta": f"Text {name}."}
    return [{"type": "text-start", "id": name}, delta, {"type": "text-end", "id": name}]


def replayed(
    *chunks: Chunk, pages: int = 1, profile: Any = "any", first: int = 0
) -> list[tuple[int, Chunk]]:
    """Return the ids and chunks of a replay that reads so many chunks at once."""
    settled, sent = SettledSteps(profile, goes_on=first > 0), list[tuple[int, Chunk]]()
    for start in range(0, len(chunks), pages):
        page = chunks[start : start + pages]
        ids = range(first + start, first + start + len(page))
        last = start + pages >= len(chunks)
        passed = settled.feed(ids, [*map(encode_json, page)], last=last)
        sent += [(id, json.loads(payload)) for id, payload in zip(*passed, strict=True)]
    return sent


def chunks_of(pairs: Sequence[tuple[int, Chunk]]) -> list[Chunk]:
    return [chunk for _, chunk in pairs]


@pytest.mark.parametrize("pages", [1, 2, 100])
@pytest.mark.parametrize("profile", ["any", "v5", "v6", "v7"])
def test_an_attempt_that_was_taken_back_is_left_out(profile: Any, pages: int) -> None:
    chunks = [
        START,
        STEP,
        *text("a"),
        {"type": "data-state", "id": "s", "data": 1},
        CALL,
        STEP_ENDS,
        STEP,
        *text("b"),
        {**CALL, "toolCallId": "d"},
        {**ASKED, "toolCallId": "d"},
        APPROVED,
        {**RESULT, "toolCallId": "d"},
        {"type": "source-url", "sourceId": "u", "url": "https://u"},
        {"type": "data-new", "id": "n", "data": 1},
        {"type": "data-unnamed", "data": 1},
        {"type": "file", "url": "data:,a", "mediaType": "text/plain"},
        RESET,
        *text("c"),
        RESET,
        *text("d"),
        STEP_ENDS,
    ]
    sent = replayed(*chunks, profile=profile, pages=pages)

    assert reduce_chunks(chunks_of(sent)) == reduce_chunks(chunks)
    assert RESET not in chunks_of(sent)
    assert [id for id, _ in sent] == sorted(id for id, _ in sent)


@pytest.mark.parametrize("pages", [1, 3])
def test_the_effects_of_an_attempt_elsewhere_stay(pages: int) -> None:
    chunks = [
        START,
        STEP,
        CALL,
        {"type": "data-state", "id": "s", "data": 1},
        STEP_ENDS,
        STEP,
        *text("a"),
        {"type": "data-state", "id": "s", "data": 2},
        {"type": "data-flash", "data": 1, "transient": True},
        {"type": "message-metadata", "messageMetadata": {"tokens": 3}},
        RESULT,
        RESET,
        STEP_ENDS,
    ]
    sent = chunks_of(replayed(*chunks, pages=pages))

    assert sent == [*chunks[:6], *chunks[9:13], STEP_ENDS]
    assert reduce_chunks(sent) == reduce_chunks(chunks)


def test_a_client_that_goes_on_misses_nothing_of_the_steps_it_has() -> None:
    data = {"type": "data-state", "id": "s", "data": 2}

    sent = replayed(*text("a")[1:], *text("b"), data, RESET, *text("c"), first=7)

    # The text that it has begun is shown whole; it cannot be taken back.
    assert chunks_of(sent) == [*text("a")[1:], data, *text("c")]


def test_a_step_passes_once_the_next_begins() -> None:
    settled = SettledSteps("any")
    pages = [[START, STEP, *text("a")], [STEP_ENDS], [STEP, *text("b")]]
    passed, first = list[int](), 0
    for page in pages:
        ids = range(first, first + len(page))
        passed.append(len(settled.feed(ids, [*map(encode_json, page)], last=False)[0]))
        first += len(page)

    assert passed == [1, 0, 5]


def test_a_long_step_is_not_held_back() -> None:
    delta = encode_json({"type": "text-delta", "id": "t", "delta": "x" * 1000})
    settled, held = SettledSteps("any"), 0
    for id in range(1000):
        held += 1 - len(settled.feed([id], [delta], last=False)[0])
        assert held * len(delta) <= MAX_HELD_CHARACTERS

    assert held < 1000


@pytest.mark.parametrize("pages", [1, 2, 100])
@pytest.mark.parametrize("steps", [[], [STEP_ENDS, STEP]])
@pytest.mark.parametrize(
    ("answer", "seen"), [(APPROVED, [NOTHING, NOTHING]), (REFUSED, [ASKED, DENIED])]
)
def test_an_answered_request_does_not_ask(
    pages: int, steps: list[Chunk], answer: Chunk, seen: list[Chunk]
) -> None:
    sent = chunks_of(replayed(START, STEP, CALL, ASKED, *steps, answer, *text("t"), pages=pages))

    assert sent == [START, STEP, CALL, seen[0], *steps, seen[1], *text("t")]


def test_a_request_without_an_answer_asks() -> None:
    assert chunks_of(replayed(START, STEP, CALL, ASKED, STEP_ENDS))[3] == ASKED


def test_a_client_of_v7_reads_answers_itself() -> None:
    chunks = [START, STEP, CALL, ASKED, APPROVED]

    assert chunks_of(replayed(*chunks, profile="v7")) == chunks


def test_the_chunks_of_a_message_stay_as_many() -> None:
    chunks = [CALL, ASKED, APPROVED, {**ASKED, "approvalId": "b"}, {**REFUSED, "approvalId": "b"}]

    sent = [json.loads(payload) for payload in as_answered([*map(encode_json, chunks)])]

    assert sent == [CALL, NOTHING, NOTHING, chunks[3], DENIED]


@pytest.mark.parametrize("counts", [False, True])
@pytest.mark.parametrize(("approved", "asks"), [(True, False), (False, True)])
async def test_a_page_that_comes_back_is_not_asked_what_was_answered(
    new_service: NewService, serve: Serve, approved: bool, asks: bool, counts: bool
) -> None:
    held = Held()
    service = new_service()
    client = await serve(service, held)
    part = {**CALL, "type": "tool-pay", "state": "approval-requested", "approval": {"id": "a"}}
    del part["toolName"]
    earlier = {"id": "a1", "role": "assistant", "parts": [{"type": "step-start"}, part]}
    await store_answer(service, earlier)
    part |= {"state": "approval-responded", "approval": {"id": "a", "approved": approved}}
    body = {"id": "c1", "messages": [user_message(), earlier], "messageId": "a1"}
    params = {"startIndex": "0"} if counts else {}
    async with client.ask(body):
        await held.started.wait()
        async with client.http.stream("GET", "/api/chat/c1/stream", params=params) as resumed:
            held.go_on.set()
            types = types_in((await resumed.aread()).decode())

    assert ("tool-approval-request" in types, "tool-output-denied" in types) == (asks, asks)


async def test_a_replay_whose_page_is_all_held_back_goes_on(
    new_service: NewService, serve: Serve
) -> None:
    held = Held()

    async def reply(turn: ChatTurn) -> None:
        delta = {"type": "text-delta", "id": "t", "delta": "x"}
        await turn.pub.write(STEP, CALL, {"type": "text-start", "id": "t"}, *[delta] * 5000)
        await held(turn)

    client = await serve(new_service(), reply)
    async with client.ask(question()):
        await held.started.wait()
        async with client.resume() as resumed:
            held.go_on.set()
            sent = chunks_in(await resumed.rest())

    assert sum(len(chunk["delta"]) for chunk in sent if chunk["type"] == "text-delta") >= 5000
