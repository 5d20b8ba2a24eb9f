"""Runs of AG-UI events, stored and ended. A real client reads such endings in tests/clients."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from monostream_ai import DurableStreamService, create_service
from monostream_ai.ag_ui import AGUIProtocol, Event
from monostream_ai.errors import InvalidChunk, StreamStopped

STARTED: Event = {"type": "RUN_STARTED", "threadId": "c", "runId": "r"}
FINISHED: Event = {"type": "RUN_FINISHED", "threadId": "c", "runId": "r"}
OPEN: list[Event] = [
    STARTED,
    {"type": "STEP_STARTED", "stepName": "plan"},
    {"type": "TEXT_MESSAGE_START", "messageId": "m", "role": "assistant"},
]
CLOSING: list[Event] = [
    {"type": "TEXT_MESSAGE_END", "messageId": "m"},
    {"type": "STEP_FINISHED", "stepName": "plan"},
]


@pytest.fixture
async def service() -> AsyncIterator[DurableStreamService[Event]]:
    async with create_service("memory://", AGUIProtocol()) as service:
        yield service


async def test_a_run_that_returns_is_finished(service: DurableStreamService[Event]) -> None:
    async with service.publisher("c") as pub:
        await pub.write(*OPEN)

    assert await service.chunks("c") == [*OPEN, *CLOSING, FINISHED]


async def test_a_run_that_raises_ends_with_a_masked_error(
    service: DurableStreamService[Event],
) -> None:
    with pytest.raises(RuntimeError):
        async with service.publisher("c") as pub:
            await pub.write(*OPEN)
            raise RuntimeError("secret")

    [*before, error] = await service.chunks("c")
    assert before == [*OPEN, *CLOSING]
    assert error == {"type": "RUN_ERROR", "message": "An error occurred."}


async def test_a_run_that_is_stopped_is_cancelled(service: DurableStreamService[Event]) -> None:
    with pytest.raises(StreamStopped):
        async with service.publisher("c") as pub:
            await pub.write(*OPEN)
            await service.stop("c")
            await pub.write({"type": "TEXT_MESSAGE_END", "messageId": "m"})

    cancelled = {**FINISHED, "outcome": {"type": "cancelled"}}
    assert await service.chunks("c") == [*OPEN, *CLOSING, cancelled]


async def test_an_end_that_the_program_writes_is_completed(
    service: DurableStreamService[Event],
) -> None:
    async with service.publisher("c") as pub:
        await pub.write(*OPEN, {**FINISHED, "result": 1})

    assert await service.chunks("c") == [*OPEN, *CLOSING, {**FINISHED, "result": 1}]
    assert (await service.status("c")).state == "closed"


async def test_a_bad_event_is_named_and_nothing_of_its_write_is_stored(
    service: DurableStreamService[Event],
) -> None:
    with pytest.raises(InvalidChunk, match=r"\$\.messageId"):
        async with service.publisher("c") as pub:
            await pub.write(STARTED, {"type": "TEXT_MESSAGE_END"})

    assert await service.chunks("c") == [{"type": "RUN_ERROR", "message": "An error occurred."}]


def test_deltas_of_one_message_are_merged() -> None:
    first = {"type": "TEXT_MESSAGE_CONTENT", "messageId": "m", "delta": "a"}
    merge = AGUIProtocol().merge

    assert merge(first, {**first, "delta": "b"}) == [{**first, "delta": "ab"}]
    for other in ({**first, "messageId": "n"}, {**first, "timestamp": 1}, CLOSING[0]):
        assert merge(first, other) == [first, other]


def test_a_step_is_closed_for_the_agent_that_opened_it() -> None:
    transcript = AGUIProtocol().transcript()
    for event in (
        STARTED,
        {"type": "SUBAGENT_STARTED", "subagentRunId": "s", "name": "n"},
        {"type": "STEP_STARTED", "stepName": "plan"},
        {"type": "STEP_STARTED", "stepName": "plan", "subagentRunId": "s"},
        {"type": "STEP_FINISHED", "stepName": "plan"},
    ):
        transcript.feed(event)

    assert transcript.ending("lost", "Gone.") == [
        {"type": "STEP_FINISHED", "stepName": "plan", "subagentRunId": "s"},
        {"type": "SUBAGENT_ERROR", "subagentRunId": "s", "message": "Gone."},
        {"type": "RUN_ERROR", "message": "Gone."},
    ]
