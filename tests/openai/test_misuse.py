"""A capture that is given the wrong thing, or used in the wrong way, is refused by name."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from monostream_ai import DurableStreamService, Fenced, PublisherClosed, StreamClosed, StreamStopped
from monostream_ai.errors import InvalidArgument
from monostream_ai.openai import TruncatedStream, capture, capture_sync, consume
from monostream_ai.recording import record
from monostream_ai.threads import SyncPublisher
from tests.openai.recordings import events_of
from tests.openai.storing import Service, stored


class Source:
    """A stream of two events that says whether it was closed."""

    def __init__(self) -> None:
        self.closed = False
        self.read = 0
        self.go_on = asyncio.Event()
        self.go_on.set()

    def __aiter__(self) -> Source:
        return self

    async def __anext__(self) -> dict[str, Any]:
        await self.go_on.wait()
        if self.read == 2:
            raise StopAsyncIteration
        self.read += 1
        reason = "stop" if self.read == 2 else None
        return {"choices": [{"index": 0, "delta": {"content": "x"}, "finish_reason": reason}]}

    async def close(self) -> None:
        self.closed = True


@pytest.mark.parametrize("name", ["service", "list", "nothing", "class", "sync publisher"])
async def test_a_capture_needs_a_publisher(service: Service, name: str) -> None:
    given: dict[str, Any] = {
        "service": service,
        "list": [],
        "nothing": None,
        "class": DurableStreamService,
        "sync publisher": SyncPublisher("memory://", "chat"),
    }
    with pytest.raises(TypeError, match="capture needs a [pP]ublisher, not"):
        capture(events_of("chat/text"), given[name])
    with pytest.raises(TypeError, match="capture needs a [pP]ublisher, not"):
        await consume(events_of("chat/text"), given[name])


async def test_swapped_arguments_are_refused(service: Service) -> None:
    async with service.publisher("chat") as pub:
        with pytest.raises(TypeError, match="not list"):
            capture(pub, events_of("chat/text"))  # type: ignore[arg-type]  # the fault tested


async def test_a_sync_capture_needs_a_sync_publisher(service: Service) -> None:
    async with service.publisher("chat") as pub:
        with pytest.raises(TypeError, match="sync capture needs a SyncPublisher, not Publisher"):
            capture_sync(events_of("chat/text"), pub)  # type: ignore[arg-type]  # the fault tested
    with pytest.raises(PublisherClosed):
        capture_sync(events_of("chat/text"), SyncPublisher("memory://", "chat"))


async def awaited(recording: Any) -> Any:
    """Stand in for a mapper that must not be async."""


@pytest.mark.parametrize("mapper", [None, object(), "OpenAI", awaited])
async def test_a_record_needs_a_mapper(service: Service, mapper: Any) -> None:
    async with service.publisher("chat") as pub:
        with pytest.raises(TypeError, match="mapper is"):
            record(events_of("chat/text"), pub, mapper)


async def test_a_capture_of_an_answer_that_has_ended_is_refused_and_closes_its_stream(
    service: Service,
) -> None:
    ended, stopped, fenced = [await service.publisher(name).open() for name in "abc"]
    await ended.close()
    await service.stop("b")
    newer = await service.publisher("c").open()
    unopened = service.publisher("d")

    for pub, error in (
        (ended, StreamClosed),
        (stopped, StreamStopped),
        (fenced, Fenced),
        (unopened, PublisherClosed),
    ):
        source = Source()
        if pub is fenced:
            with pytest.raises(error):
                await pub.write({"type": "start"})
        with pytest.raises(error):
            await consume(source, pub)
        assert (source.read, source.closed) == (0, True)
    await newer.release()


async def test_a_capture_that_is_left_unread_closes_its_stream(service: Service) -> None:
    source = Source()
    async with service.publisher("chat") as pub, capture(source, pub):
        pass

    assert source.closed


async def test_a_stream_that_was_captured_before_is_not_an_empty_success(service: Service) -> None:
    source = Source()
    async with service.publisher("first") as pub:
        await consume(source, pub)

    with pytest.raises(TruncatedStream):
        async with service.publisher("chat") as pub:
            await consume(source, pub)
    assert (await stored(service))[-1]["type"] == "error"


async def test_two_loops_over_one_capture_are_refused_and_the_first_goes_on(
    service: Service,
) -> None:
    source = Source()
    source.go_on.clear()
    async with service.publisher("chat") as pub:
        events = capture(source, pub)
        first = asyncio.create_task(_read(events))
        await asyncio.sleep(0)
        while not repr(pub).endswith("0 waiting>"):
            await asyncio.sleep(0)
        with pytest.raises(RuntimeError, match="two loops at once"):
            await anext(events)
        source.go_on.set()
        assert len(await first) == 2

    assert source.closed


async def _read(events: AsyncIterator[Any]) -> list[Any]:
    return [event async for event in events]


async def test_a_tool_has_an_output_or_an_error(service: Service) -> None:
    async with service.publisher("chat", message_id="m1") as pub:
        asked = capture(events_of("chat/tool_call"), pub)
        async for _ in asked:
            pass
        with pytest.raises(InvalidArgument, match="'call_1' has an output and an error"):
            asked.tool_result("call_1", output=1, error="no such city")
        with pytest.raises(InvalidArgument):
            asked.tool_result("call_1", error=LookupError("x"))  # type: ignore[arg-type]
        asked.tool_result("call_1", output=1)
