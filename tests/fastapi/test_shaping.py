"""A replay builds the same message and repeats no side effect (wire item 44)."""

from __future__ import annotations

import json
from typing import Any

import pytest

from monostream_ai.chats.streaming.replays.shaping import MAX_HELD_CHARACTERS, ReplayShape
from monostream_ai.fastapi import ChatTurn
from monostream_ai.json_text import encode_json
from monostream_ai.ui_messages import reduce_chunks
from tests.fastapi.chat_client import chunks_in, question
from tests.fastapi.conftest import NewService, Serve
from tests.fastapi.replies import Held

Chunk = dict[str, Any]
START: Chunk = {"type": "tool-input-start", "toolCallId": "c1", "toolName": "ask", "dynamic": True}
DELTA: Chunk = {
    "type": "tool-input-delta",
    "toolCallId": "c1",
    "inputTextDelta": '{"city": "Rome"}',
}
CALL: Chunk = {
    "type": "tool-input-available",
    **{k: v for k, v in START.items() if k != "type"},
    "input": {"city": "Rome"},
}
RESULT: Chunk = {"type": "tool-output-available", "toolCallId": "c1", "output": 7, "dynamic": True}
OTHER: Chunk = {**CALL, "toolCallId": "c2"}


def replayed(*chunks: Chunk, profile: Any = "v7", first: int = 0) -> list[tuple[int, Chunk]]:
    shape = ReplayShape(profile, goes_on=first > 0)
    pairs = [
        pair
        for id, chunk in enumerate(chunks, first)
        for pair in shape.feed(id, encode_json(chunk))
    ]
    return [(id, json.loads(payload)) for id, payload in [*pairs, *shape.flush()]]


def chunks_of(pairs: list[tuple[int, Chunk]]) -> list[Chunk]:
    return [chunk for _, chunk in pairs]


def test_a_call_with_its_result_does_not_run_again() -> None:
    assert replayed(START, DELTA, CALL, RESULT) == [(0, START), (1, DELTA), (3, RESULT)]


def test_a_call_that_was_not_streamed_gets_a_start_and_its_input() -> None:
    whole = {"type": "tool-input-delta", "toolCallId": "c1", "inputTextDelta": '{"city":"Rome"}'}

    # A client that resumes after the start alone gets the call itself: an id stands for every
    # payload sent in place of its chunk.
    assert replayed(OTHER, CALL, RESULT)[-3:] == [(0, START), (1, whole), (2, RESULT)]


def test_a_call_without_a_result_still_asks_the_client() -> None:
    assert chunks_of(replayed(START, DELTA, CALL)) == [START, DELTA, CALL]


def test_a_failed_call_does_not_run_again() -> None:
    error = {"type": "tool-output-error", "toolCallId": "c1", "errorText": "No.", "dynamic": True}

    assert CALL not in chunks_of(replayed(START, DELTA, CALL, error))


def test_the_order_of_parallel_calls_is_kept() -> None:
    answered = {**RESULT, "toolCallId": "c2"}

    shown = replayed(START, DELTA, CALL, OTHER, {"type": "text-start", "id": "t"}, answered, RESULT)

    assert [id for id, _ in shown] == sorted(id for id, _ in shown)
    assert [chunk["type"] for _, chunk in shown if chunk.get("toolCallId") == "c2"] == [
        "tool-input-start",
        "tool-input-delta",
        "tool-output-available",
    ]


@pytest.mark.parametrize(
    "chunks",
    [
        pytest.param([{**CALL, "providerExecuted": True}, RESULT], id="the provider ran it"),
        pytest.param(
            [START, {**DELTA, "inputTextDelta": '{"city": "Ro'}, CALL, RESULT],
            id="the deltas are not the input",
        ),
        pytest.param(
            [START, DELTA, {**CALL, "providerMetadata": {"a": {"b": 1}}}, RESULT],
            id="the start lacks its metadata",
        ),
        pytest.param([{**START, "inputEncoding": "text"}, CALL, RESULT], id="the input is text"),
        pytest.param(
            [START, DELTA, {**CALL, "unknown": 1}, RESULT], id="a key that a start cannot carry"
        ),
    ],
)
def test_a_call_that_cannot_be_rewritten_is_replayed_as_stored(chunks: list[Chunk]) -> None:
    assert chunks_of(replayed(*chunks)) == chunks


def test_clients_of_v5_get_the_metadata_of_a_call() -> None:
    metadata = {"providerMetadata": {"openai": {"itemId": "i"}}}
    chunks = [{**START, **metadata}, DELTA, {**CALL, **metadata}, RESULT]

    assert chunks_of(replayed(*chunks, profile="v5")) == chunks
    assert chunks_of(replayed(*chunks, profile="v7")) == [chunks[0], DELTA, RESULT]


def test_a_late_result_does_not_hold_everything_back() -> None:
    shape = ReplayShape("v7")
    shown = list[int]()
    text = {"type": "text-delta", "id": "t", "delta": "x" * 1000}
    for id, chunk in enumerate([CALL, *[text] * 1000, RESULT]):
        shown += [each for each, _ in shape.feed(id, encode_json(chunk))]
        assert id - len(shown) < MAX_HELD_CHARACTERS / 1000 + 2

    assert shown == [*range(1002)]


def test_transient_data_is_left_out() -> None:
    kept = [
        {"type": "data-a", "data": {"transient": True}},
        {"type": "data-a", "data": 1, "transient": False},
    ]

    assert chunks_of(replayed({"type": "data-a", "data": 1, "transient": True}, *kept)) == kept


def test_transient_data_is_new_to_a_client_that_resumes() -> None:
    chunks = [{"type": "data-a", "data": 1, "transient": True}, OTHER]

    assert chunks_of(replayed(*chunks, first=3)) == chunks


@pytest.mark.parametrize("had", range(5))
def test_a_client_that_resumes_builds_the_same_message_and_repeats_no_finished_call(
    had: int,
) -> None:
    chunks = [{"type": "start", "messageId": "m"}, START, DELTA, CALL, RESULT]

    rest = replayed(*chunks[had:], first=had)

    assert reduce_chunks([*chunks[:had], *chunks_of(rest)]) == reduce_chunks(chunks)
    assert CALL not in chunks_of(rest)
    assert [id for id, _ in rest] == sorted(id for id, _ in rest)


async def test_a_page_that_comes_back_sees_the_same_message_and_runs_no_tool(
    new_service: NewService, serve: Serve
) -> None:
    held = Held()

    async def reply(turn: ChatTurn) -> None:
        await turn.pub.write(
            {"type": "start-step"},
            START,
            DELTA,
            CALL,
            {"type": "data-note", "data": 1, "transient": True},
        )
        await turn.pub.write(RESULT, {"type": "finish-step"}, {"type": "start-step"}, OTHER)
        await held(turn)

    client = await serve(new_service(), reply)
    async with client.ask(question()) as asked:
        await held.started.wait()
        async with (
            client.resume() as resumed,
            client.http.stream("GET", "/api/chat/c1/stream?startIndex=0") as counted,
        ):
            held.go_on.set()
            live, shown = chunks_in(await asked.rest()), chunks_in(await resumed.rest())
            every = chunks_in((await counted.aread()).decode())

    assert reduce_chunks(shown) == reduce_chunks(live)
    assert [chunk["toolCallId"] for chunk in shown if chunk["type"] == "tool-input-available"] == [
        "c2"
    ]
    assert "data-note" not in [chunk["type"] for chunk in shown]
    assert every == live
