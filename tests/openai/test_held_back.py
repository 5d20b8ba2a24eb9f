"""The end of a message shows what a response that never ended had held back."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from monostream_ai.openai import TruncatedStream, capture, consume
from monostream_ai.ui_messages import reduce_chunks
from tests.openai.storing import Service, stored
from tests.openai.streaming import Event, calls, created, delta, event, parts, shown

CODE: Event = {"type": "code_interpreter_call", "id": "ci_1", "status": "in_progress"}
PLACE: Event = {"item_id": "ci_1", "output_index": 0}
# A server that does not tell whether the response can be retrieved.
EVENTS = [
    created(),
    event("output_item.added", item=CODE, output_index=0),
    event("code_interpreter_call_code.delta", delta="print(", **PLACE),
    event("function_call_arguments.delta", delta='{"x": "hal', item_id="f_1", output_index=1),
    event("hologram.delta", delta="blue"),
]


HELD = ["blue", "print(", '{"x": "hal']


def held(message: Any) -> list[Any]:
    unread = [part["data"]["value"] for part in parts(message, "data-unread")]
    return [*unread, *(call[2] for call in calls(message) if isinstance(call[2], str))]


async def message_of(service: Service) -> Any:
    return reduce_chunks(await stored(service))


async def test_after_an_error(service: Service) -> None:
    with pytest.raises(TruncatedStream):
        async with service.publisher("chat", message_id="m1") as pub:
            await consume(EVENTS, pub)

    assert held(await message_of(service)) == HELD


async def test_after_an_error_that_the_program_catches(service: Service) -> None:
    async with service.publisher("chat", message_id="m1") as pub:
        with pytest.raises(TruncatedStream):
            await consume(EVENTS, pub)

    assert held(await message_of(service)) == HELD


async def test_after_a_loop_that_is_left(service: Service) -> None:
    async with service.publisher("chat", message_id="m1") as pub:
        async with capture(EVENTS, pub) as events:
            left = len(EVENTS)
            async for _ in events:
                left -= 1
                if not left:
                    break

    assert held(await message_of(service)) == HELD


async def test_after_an_error_of_the_program(service: Service) -> None:
    with pytest.raises(ZeroDivisionError):
        async with service.publisher("chat", message_id="m1") as pub:
            async for each in capture(EVENTS, pub):
                if each is EVENTS[-1]:
                    raise ZeroDivisionError

    assert held(await message_of(service)) == HELD


async def test_after_a_cancellation(service: Service) -> None:
    reached = asyncio.Event()

    async def hanging() -> AsyncIterator[Event]:
        for each in EVENTS:
            yield each
        reached.set()
        await asyncio.Event().wait()

    async def run() -> None:
        async with service.publisher("chat", message_id="m1") as pub:
            await consume(hanging(), pub)

    task = asyncio.create_task(run())
    await reached.wait()
    task.cancel()
    await asyncio.wait([task])

    assert held(await message_of(service)) == HELD


async def test_a_call_that_was_cut_by_the_program_keeps_its_arguments(service: Service) -> None:
    piece = {"index": 0, "id": "c1", "function": {"name": "f", "arguments": '{"x": "hal'}}
    events = [delta(content="Hi"), delta(tool_calls=[piece])]
    async with service.publisher("chat", message_id="m1") as pub:
        async with capture(events, pub) as captured:
            await anext(captured)
            await anext(captured)

    assert calls(await message_of(service)) == [("c1", "f", '{"x": "hal')]


async def test_what_an_item_had_when_it_was_announced(service: Service) -> None:
    items = [
        {"type": "function_call", "id": "f_1", "call_id": "c1", "name": "f", "arguments": "[1"},
        {**CODE, "code": "print(1)"},
        {"type": "message", "id": "m_1", "content": [{"type": "output_text", "text": "Hello"}]},
        {"type": "hologram", "id": "h_1", "color": "blue"},
    ]
    added = [event("output_item.added", item=item) for item in items]
    with pytest.raises(TruncatedStream):
        async with service.publisher("chat", message_id="m1") as pub:
            await consume([created(background=False), *added], pub)

    message = await message_of(service)
    assert calls(message) == [
        ("c1", "f", "[1"),
        ("ci_1", "code_interpreter", '{"code":"print(1)"}'),
    ]
    assert shown(message) == [("text", "Hello")]
    assert held(message)[0] == items[3]


async def test_a_refusal_behind_a_gap_is_a_refusal(service: Service) -> None:
    def piece(number: int, text: str) -> Event:
        place = {"item_id": "m", "output_index": 0, "content_index": 0}
        return event("refusal.delta", delta=text, sequence_number=number, **place)

    first = [{**created(), "sequence_number": 0}, piece(1, "I ")]
    last = event("completed", response={"id": "resp_1"}, sequence_number=9)
    async with service.publisher("chat", message_id="m1") as pub:
        with pytest.raises(TruncatedStream):
            await consume(first, pub)
        await consume([piece(3, "not"), last], pub)

    message = await message_of(service)
    assert shown(message) == [("text", "I not")]
    assert message["metadata"]["finishReason"] == "content-filter"
