"""Whatever happens after any event, the stored message is whole and has one ending."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from monostream_ai.openai import capture
from tests.openai.recordings import NAMES, events_of
from tests.openai.storing import Service, record, stored

COMPLETE = ("response.completed", "response.incomplete")


def prefixes(name: str) -> list[list[dict[str, Any]]]:
    events = events_of(name)
    return [events[:count] for count in range(len(events) + 1)]


def is_complete(events: list[dict[str, Any]]) -> bool:
    """Whether the last response that has begun is complete."""
    complete = False
    for event in events:
        if event.get("type") == "response.created":
            complete = False
        reasons = [
            choice.get("finish_reason")
            for choice in event.get("choices", [])
            if choice["index"] == 0
        ]
        complete = complete or any(reasons) or event.get("type") in COMPLETE
    return complete


def has_failed(events: list[dict[str, Any]]) -> bool:
    return any(
        event.get("error") or event.get("type") in ("error", "response.failed") for event in events
    )


@pytest.mark.sweep(6)
@pytest.mark.parametrize("name", NAMES)
async def test_a_stream_that_is_cut_is_an_error_and_a_complete_one_is_finished(
    service: Service, name: str
) -> None:
    for events in prefixes(name):
        error = await record(service, events)
        ending = (await stored(service))[-1]["type"]

        assert (ending, error is None) == (
            ("finish", True) if is_complete(events) else ("error", False)
        )


@pytest.mark.sweep(6)
@pytest.mark.parametrize("name", NAMES)
async def test_a_loop_that_is_left_ends_the_message(service: Service, name: str) -> None:
    for events in prefixes(name)[1:]:
        async with service.publisher("chat", message_id="m1") as pub:
            left = len(events)
            async for _ in capture(events_of(name), pub):
                left -= 1
                if not left:
                    break
        expected = "finish" if is_complete(events) else "error" if has_failed(events) else "abort"

        assert (await stored(service))[-1]["type"] == expected


@pytest.mark.sweep(6)
@pytest.mark.parametrize("name", NAMES)
async def test_a_cancelled_task_aborts_the_message(service: Service, name: str) -> None:
    for events in prefixes(name):
        reached = asyncio.Event()
        task = asyncio.create_task(_record_and_hang(service, events, reached))
        await reached.wait()
        task.cancel()
        await asyncio.wait([task])

        assert (await stored(service))[-1]["type"] == "abort"


async def _record_and_hang(
    service: Service, events: list[dict[str, Any]], reached: asyncio.Event
) -> None:
    async def hanging() -> AsyncIterator[dict[str, Any]]:
        for event in events:
            yield event
        reached.set()
        await asyncio.Event().wait()

    await record(service, hanging())
