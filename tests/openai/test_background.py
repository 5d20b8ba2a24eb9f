"""A background response that was cut goes on seamlessly in a stream with `starting_after`."""

from __future__ import annotations

from typing import Any

import httpx
import openai
import pytest

from monostream_ai.openai import TruncatedStream, capture, consume
from monostream_ai.ui_messages import reduce_chunks
from tests.openai.recordings import events_of
from tests.openai.storing import Service, check_message, stored
from tests.openai.streaming import Event, body, calls, created, event, parts, shown
from tests.openai.vendor import OPTIONS, Vendor

NAMES = [
    "responses/text",
    "responses/function_call",
    "responses/two_function_calls",
    "responses/reasoning_summary",
    "responses/reasoning_that_is_encrypted",
    "responses/web_search",
    "responses/code_interpreter",
    "responses/nothing_streamed",
    "responses/custom_tool_call",
]


async def whole(service: Service, name: str) -> Any:
    async with service.publisher("whole", message_id="m1") as pub:
        await consume(events_of(name), pub)
    return reduce_chunks(await service.chunks("whole"))


async def in_two(service: Service, first: list[Event], second: list[Event]) -> Any:
    async with service.publisher("chat", message_id="m1") as pub:
        with pytest.raises(TruncatedStream):
            await consume(first, pub)
        await consume(second, pub)
    chunks = await service.chunks("chat")
    check_message(chunks)
    return reduce_chunks(chunks)


@pytest.mark.sweep(3)
@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("overlap", [0, 1, 3])
async def test_a_response_cut_anywhere_is_the_same_message(
    service: Service, name: str, overlap: int
) -> None:
    events, expected = events_of(name), await whole(service, name)

    for cut in range(2, len(events) - 1):
        rest = events[max(cut - overlap, 1) :]
        assert await in_two(service, events[:cut], rest) == expected, cut


@pytest.mark.parametrize("name", NAMES)
async def test_a_response_that_is_sent_again_from_its_beginning_is_not_doubled(
    service: Service, name: str
) -> None:
    events, expected = events_of(name), await whole(service, name)

    assert await in_two(service, events[: len(events) // 2], events) == expected


@pytest.mark.sweep(3)
@pytest.mark.parametrize("name", NAMES)
async def test_events_lost_between_the_streams_leave_no_hole(service: Service, name: str) -> None:
    events, expected = events_of(name), await whole(service, name)

    for cut in range(2, len(events) - 2):
        message = await in_two(service, events[:cut], events[cut + 1 :])
        # The response repeats a lost item at its end, where it is shown. The state of thoughts
        # comes in an empty part.
        assert sorted(filter(all, shown(message))) == sorted(filter(all, shown(expected))), cut
        assert calls(message) == calls(expected), cut
        assert parts(message, "data-unread") == parts(expected, "data-unread"), cut


async def test_a_gap_whose_text_never_comes_whole_is_shown_as_it_is(service: Service) -> None:
    def piece(number: int, text: str) -> Event:
        place = {"item_id": "m", "output_index": 0, "content_index": 0}
        return event("output_text.delta", delta=text, sequence_number=number, **place)

    last = event("completed", response={"id": "resp_1"}, sequence_number=9)
    first = [{**created(), "sequence_number": 0}, piece(1, "a")]
    message = await in_two(service, first, [piece(3, "c"), piece(4, "d"), last])

    assert shown(message) == [("text", "acd")]


async def test_another_response_after_a_cut_is_a_step_of_its_own(service: Service) -> None:
    events = events_of("responses/text")
    other = [
        {**each, "response": {**each["response"], "id": "resp_2"}} if "response" in each else each
        for each in events
    ]

    message = await in_two(service, events[:6], other)

    assert [part["type"] for part in message["parts"]].count("step-start") == 2


async def test_a_chat_after_a_cut_response_closes_what_it_left_open(service: Service) -> None:
    message = await in_two(service, events_of("responses/text")[:6], events_of("chat/text"))

    assert [part["type"] for part in message["parts"]].count("step-start") == 2


async def test_a_broken_connection_is_continued_with_the_real_client(
    service: Service, vendor: Vendor
) -> None:
    events, expected = events_of("responses/text"), await whole(service, "responses/text")
    client = openai.AsyncOpenAI(**OPTIONS)
    vendor.answer_with(body(events[:6]))
    vendor.router.get(url__startswith=f"{OPTIONS['base_url']}/responses/resp_1").mock(
        return_value=httpx.Response(
            200, headers={"content-type": "text/event-stream"}, content=body(events[6:])
        )
    )

    async with service.publisher("chat", message_id="m1") as pub:
        stream: Any = await client.responses.create(
            model="m", input="Hi", stream=True, background=True
        )
        seen = 0
        try:
            async for each in capture(stream, pub):
                seen = each.sequence_number
        except TruncatedStream:
            rest: Any = await client.responses.retrieve("resp_1", stream=True, starting_after=seen)
            await consume(rest, pub)

    assert reduce_chunks(await stored(service)) == expected
