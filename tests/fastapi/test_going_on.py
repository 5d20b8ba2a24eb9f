"""With `on_lost="continue"` a turn goes on in its version, where its process broke off (G3)."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from langchain_core.language_models import FakeListChatModel

from monostream_ai import DurableStreamService, PublisherLost
from monostream_ai.fastapi import ChatTurn
from monostream_ai.ui_messages import reduce_chunks
from tests.fastapi.chat_client import chunks_in, question, types_in
from tests.fastapi.conftest import NewService, Serve

LEASE = 0.4

HALF = [
    {"type": "start", "messageId": "m1"},
    {"type": "start-step"},
    {"type": "text-start", "id": "t"},
    {"type": "text-delta", "id": "t", "delta": "The capital of "},
]
WHOLE = "The capital of France is Paris."


async def break_off(
    service: DurableStreamService[Any], *chunks: Any, attempt: int = 1, **options: Any
) -> None:
    """Begin a turn, and leave it open as if its process died."""
    options = {"message_id": "m1", "request": question(), "watched": True, **options}
    pub = await service.publisher("chat:c1", attempt=attempt, **options).open()
    if chunks:
        await pub.write(*chunks)
    # A publisher that is dropped stops renewing its lease, like one whose process was killed.


TOLD = [
    *HALF[:2],
    {"type": "tool-input-available", "toolCallId": "c", "toolName": "look", "input": {}},
    {"type": "tool-output-available", "toolCallId": "c", "output": 7},
]


class GoesOn:
    """Says the rest of `WHOLE`, whatever of it is written."""

    def __init__(self) -> None:
        self.turns: list[ChatTurn] = []

    async def __call__(self, turn: ChatTurn) -> None:
        self.turns.append(turn)
        rest = WHOLE.removeprefix(turn.written.text)
        lead = [] if turn.written else HALF[1:3]
        delta = {"type": "text-delta", "id": "t", "delta": rest}
        await turn.pub.write(*lead, delta, {"type": "text-end", "id": "t"})


def said(chunks: list[Any]) -> list[str]:
    return [part["text"] for part in reduce_chunks(chunks)["parts"] if part["type"] == "text"]


async def test_readers_see_a_pause_and_nothing_else(new_service: NewService, serve: Serve) -> None:
    services = [new_service(lease=LEASE) for _ in range(3)]
    reply = GoesOn()
    clients = [await serve(service, reply, on_lost="continue") for service in services]
    await break_off(services[0], *HALF)

    bodies = await asyncio.gather(*(client.get() for client in clients for _ in range(3)))

    assert len({body.text for body in bodies}) == 1
    assert said(chunks_in(bodies[0].text)) == [WHOLE]
    assert [chunk["type"] for chunk in await services[0].chunks("chat:c1")].count("start") == 1
    assert [(turn.version, turn.attempt) for turn in reply.turns] == [(0, 2)]


async def test_a_turn_knows_what_is_written(new_service: NewService, serve: Serve) -> None:
    service, reply = new_service(lease=LEASE), GoesOn()
    client = await serve(service, reply, on_lost="continue")
    call = {"toolCallId": "c", "toolName": "look", "input": {}}
    await break_off(
        service,
        *HALF[:2],
        {"type": "tool-input-available", **call},
        {"type": "tool-output-available", "toolCallId": "c", "output": {"found": 1}},
        *HALF[2:],
    )

    await client.get()

    [turn] = reply.turns
    assert turn.written.chunks == (await service.chunks("chat:c1"))[:6]
    assert turn.written.text == "The capital of "
    assert turn.written.results == {"c": {"found": 1}}
    assert turn.written.message["id"] == "m1"
    assert (await turn.previous()).chunks == turn.written.chunks
    assert turn.messages == question()["messages"]


async def test_nothing_is_written_before_a_first_run(new_service: NewService, serve: Serve) -> None:
    reply = GoesOn()
    client = await serve(new_service(), reply, on_lost="continue")

    assert said(chunks_in((await client.post(question())).text)) == [WHOLE]
    [turn] = reply.turns
    assert not turn.written
    assert not await turn.previous()


@pytest.mark.parametrize("count", range(5))
async def test_a_turn_goes_on_wherever_it_broke_off(
    new_service: NewService, serve: Serve, count: int
) -> None:
    service = new_service(lease=LEASE)
    client = await serve(service, GoesOn(), on_lost="continue")
    # Before its first part there is nothing to go on with, and the reply begins a step.
    await break_off(service, *HALF[: count if count > 2 else min(count, 1)])
    await lost(service)

    body = (await client.get()).text

    assert chunks_in(body)[0] == HALF[0]
    assert said(chunks_in(body)) == [WHOLE]
    assert types_in(body)[-1] == "finish"


async def test_a_turn_that_is_lost_again_goes_on_again(
    new_service: NewService, serve: Serve
) -> None:
    service = new_service(lease=LEASE)
    attempts: list[int] = []

    async def reply(turn: ChatTurn) -> None:
        attempts.append(turn.attempt)
        written = turn.written.text
        delta = {"type": "text-delta", "id": "t", "delta": WHOLE.removeprefix(written)[:9]}
        await turn.pub.write(delta)
        if turn.attempt < 4:
            # As a process that dies: the lease lapses, and nothing ends the version.
            await turn.pub.release()

    client = await serve(service, reply, on_lost="continue", max_attempts=4)
    await break_off(service, *HALF)

    body = (await client.get()).text

    assert attempts == [2, 3, 4]
    assert said(chunks_in(body)) == [WHOLE]
    assert types_in(body)[-1] == "finish"


async def test_a_turn_that_is_lost_too_often_ends_with_an_error(
    new_service: NewService, serve: Serve
) -> None:
    service, reply = new_service(lease=LEASE), GoesOn()
    client = await serve(service, reply, on_lost="continue", max_attempts=3)
    await break_off(service, *HALF, attempt=3)

    body = (await client.get()).text

    assert said(chunks_in(body)) == ["The capital of "]
    assert types_in(body)[-2:] == ["error", "finish"]
    assert reply.turns == []


async def test_a_turn_that_was_stopped_does_not_go_on(
    new_service: NewService, serve: Serve
) -> None:
    service, reply = new_service(lease=LEASE), GoesOn()
    client = await serve(service, reply, on_lost="continue")
    await break_off(service, *HALF)
    await service.stop("chat:c1")

    assert (await client.get()).status_code == 204
    assert reply.turns == []


async def test_a_page_that_comes_back_gets_the_rest_after_its_cursor(
    new_service: NewService, serve: Serve
) -> None:
    service = new_service(lease=LEASE)
    client = await serve(service, GoesOn(), on_lost="continue")
    await break_off(service, *HALF)
    await lost(service)

    body = (await client.get(headers={"last-event-id": "0.3"})).text

    assert types_in(body) == ["text-delta", "text-end", "finish-step", "finish"]


async def test_a_turn_without_readers_goes_on_by_a_sweep(
    new_service: NewService, serve: Serve
) -> None:
    service = new_service(lease=LEASE)
    await break_off(service, *HALF)
    await lost(service)
    await serve(service, GoesOn(), on_lost="continue", sweep_interval=0.1)

    async with asyncio.timeout(10):
        while (await service.status("chat:c1")).state == "open":
            await asyncio.sleep(0.02)
    assert said(await service.chunks("chat:c1")) == [WHOLE]


async def test_a_model_goes_on_from_a_prompt_that_ends_with_the_text(
    new_service: NewService, serve: Serve
) -> None:
    service, prompts = new_service(lease=LEASE), []

    async def reply(turn: ChatTurn) -> None:
        prompts.append(turn.langchain_messages(with_written=True))
        model = FakeListChatModel(responses=["France is Paris."])
        await model.ainvoke(prompts[-1], config={"callbacks": [turn.callback]})

    client = await serve(service, reply, on_lost="continue")
    await break_off(service, *HALF)
    await lost(service)

    body = (await client.get()).text

    assert [message.text for message in prompts[0]] == ["hi", "The capital of"]
    assert prompts[0][-1].type == "ai"
    assert said(chunks_in(body)) == [WHOLE]


async def test_the_prompt_comes_before_the_callback(new_service: NewService, serve: Serve) -> None:
    service, errors = new_service(lease=LEASE), []

    async def reply(turn: ChatTurn) -> None:
        assert turn.callback
        try:
            turn.langchain_messages(with_written=True)
        except RuntimeError as error:
            errors.append(str(error))
        await turn.pub.write({"type": "text-end", "id": "t"})

    client = await serve(service, reply, on_lost="continue")
    await break_off(service, *HALF)
    await lost(service)
    await client.get()

    assert errors == ["call langchain_messages(with_written=True) before turn.callback"]


async def test_a_retried_turn_knows_the_results_of_its_predecessor(
    new_service: NewService, serve: Serve
) -> None:
    service, results = new_service(lease=LEASE), []

    async def reply(turn: ChatTurn) -> None:
        assert not turn.written
        results.append((await turn.previous()).results)
        await turn.pub.write({"type": "text-start", "id": "t"})

    client = await serve(service, reply, on_lost="retry")
    call = {"toolCallId": "c", "toolName": "look", "input": {}}
    await break_off(
        service,
        *HALF[:2],
        {"type": "tool-input-available", **call},
        {"type": "tool-output-available", "toolCallId": "c", "output": 7},
    )
    await lost(service)

    assert types_in((await client.get()).text)[-1] == "finish"
    assert results == [{"c": 7}]


@pytest.mark.parametrize("first", [HALF[:0], HALF[:2], TOLD[:3], TOLD])
async def test_results_outlive_an_attempt_that_dies_before_it_repeats_them(
    new_service: NewService, serve: Serve, first: list[Any]
) -> None:
    service, results = new_service(lease=LEASE), []

    async def reply(turn: ChatTurn) -> None:
        previous = await turn.previous()
        results.append((turn.attempt, previous.results, previous.chunks))
        await turn.pub.write({"type": "text-start", "id": "t"})

    client = await serve(service, reply, on_lost="retry", max_attempts=4)
    # The turn before, whose results are none of this one's.
    async with service.publisher("chat:c1", message_id="m1") as pub:
        await pub.write(
            *[{**chunk, "toolCallId": "old"} for chunk in TOLD if "toolCallId" in chunk]
        )
    await break_off(service, *TOLD)
    await break_off(service, *first, attempt=2)
    await break_off(service, *HALF[:1], attempt=3)
    await lost(service)
    await client.get()

    assert results == [(4, {"c": 7}, HALF[:1])]


async def test_a_turn_may_have_had_several_attempts_in_its_first_version(
    new_service: NewService, serve: Serve
) -> None:
    service, results = new_service(lease=LEASE), []

    async def reply(turn: ChatTurn) -> None:
        results.append((turn.version, turn.attempt, (await turn.previous()).results))

    client = await serve(service, reply, on_lost="retry", max_attempts=4)
    # As of a worker that had handed it over.
    await break_off(service, *TOLD, attempt=2)
    await lost(service)
    await client.get()

    assert results == [(1, 3, {"c": 7})]


async def test_results_outlive_a_change_from_retrying_to_going_on(
    new_service: NewService, serve: Serve
) -> None:
    service, results = new_service(lease=LEASE), []

    async def reply(turn: ChatTurn) -> None:
        previous = await turn.previous()
        results.append((previous.results, previous.chunks))

    await break_off(service, *TOLD)
    await break_off(service, *HALF[:3], attempt=2)
    await lost(service)
    client = await serve(service, reply, on_lost="continue")
    await client.get()

    assert results == [({"c": 7}, HALF[:3])]


async def lost(service: DurableStreamService[Any]) -> None:
    """Wait until the publisher is declared lost."""
    with pytest.raises(PublisherLost):
        async for _ in service.subscribe("chat:c1"):
            pass
