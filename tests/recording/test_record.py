"""A stream of any SDK, recorded by a mapper of a few lines."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import pytest

from monostream_ai import DurableStreamService, InvalidChunk
from monostream_ai.openai import capture
from monostream_ai.recording import (
    ModelOutput,
    Recording,
    ResponseFailed,
    TruncatedStream,
    consume_stream,
    record,
    record_sync,
)
from monostream_ai.threads import SyncPublisher
from monostream_ai.ui_messages import Chunk, reduce_chunks
from monostream_ai.ui_messages.model_output import StreamedCall
from tests.openai.recordings import events_of
from tests.openai.storing import check_message

Service = DurableStreamService[Chunk]


class LineMapper:
    def __init__(self, recording: Recording) -> None:
        self.output = ModelOutput(recording)

    def feed(self, event: str) -> list[Chunk]:
        if event == "END":
            return self.output.finish("stop")
        if event == "FAIL":
            return self.output.fail(ResponseFailed("busy", "try later"))
        return self.output.speech.text(None, event)


async def message_of(service: Service) -> dict[str, Any]:
    chunks = await service.chunks("chat")
    check_message(chunks)
    return reduce_chunks(chunks)


async def test_events_pass_through_and_are_recorded(service: Service) -> None:
    async with service.publisher("chat") as pub:
        seen = [event async for event in record(["Hello ", "there", "END"], pub, LineMapper)]

    assert seen == ["Hello ", "there", "END"]
    [_, part] = (await message_of(service))["parts"]
    assert part["text"] == "Hello there"


async def test_two_sdks_make_one_message(service: Service) -> None:
    async with service.publisher("chat") as pub:
        await consume_stream(["Hi", "END"], pub, LineMapper)
        async for _ in capture(events_of("chat/text"), pub):
            pass
        await consume_stream(["Bye", "END"], pub, LineMapper)

    texts = [part["text"] for part in (await message_of(service))["parts"] if "text" in part]
    assert (texts[0], texts[-1], len(texts)) == ("Hi", "Bye", 3)


@pytest.mark.parametrize(
    ("events", "error"), [(["Hel"], TruncatedStream), (["Hel", "FAIL"], ResponseFailed)]
)
async def test_an_answer_that_is_not_whole_is_an_error(
    service: Service, events: list[str], error: type[Exception]
) -> None:
    with pytest.raises(error):
        async with service.publisher("chat") as pub:
            await consume_stream(events, pub, LineMapper)

    assert (await service.chunks("chat"))[-1]["type"] == "error"


@pytest.mark.parametrize("ends", [True, False], ids=["read to its end", "left"])
@pytest.mark.parametrize("kind", ["async", "sync"])
async def test_a_manager_that_opens_a_stream_is_left(
    service: Service, kind: str, ends: bool
) -> None:
    left = []

    @asynccontextmanager
    async def opening() -> AsyncIterator[Any]:
        yield ["Hel", "lo", "END"]
        left.append("async")

    @contextmanager
    def opening_in_a_thread() -> Iterator[Any]:
        yield ["Hel", "lo", "END"]
        left.append("sync")

    stream = opening() if kind == "async" else opening_in_a_thread()
    async with service.publisher("chat") as pub:
        async with record(stream, pub, LineMapper) as events:
            async for _ in events:
                if not ends:
                    break

    assert left == [kind]
    assert (await service.chunks("chat"))[-1]["type"] == ("finish" if ends else "abort")


async def test_a_question_about_a_call_is_recorded(service: Service) -> None:
    class Calling(LineMapper):
        """Makes a call of each event, all with the id `c`."""

        def feed(self, event: str) -> list[Chunk]:
            if event == "END":
                return super().feed(event)
            call = StreamedCall("c", "send")
            return [*self.output.announce(call), *self.output.call_with_json(call, event)]

    async with service.publisher("chat") as pub:
        with pytest.raises(InvalidChunk, match="nothing was captured"):
            record([], pub, Calling).ask_approval("c")
        for arguments in ('{"to": 1}', '{"to": 2}', "{no JSON"):
            async for _ in (events := record([arguments, "END"], pub, Calling)):
                pass
            events.ask_approval("c", reason="It costs money.")
        with pytest.raises(InvalidChunk):
            events.ask_approval("other")

    calls = [part for part in (await message_of(service))["parts"] if "toolCallId" in part]
    assert [(call["toolCallId"], call["state"]) for call in calls] == [
        ("c", "approval-requested"),
        ("c#2", "approval-requested"),
        ("c#3", "output-error"),
    ]
    assert [call["approval"]["requestReason"] for call in calls[:2]] == ["It costs money."] * 2


async def test_an_error_of_the_mapper_ends_the_version_and_closes_the_stream(
    service: Service,
) -> None:
    closed = asyncio.Event()

    async def events() -> AsyncIterator[Any]:
        try:
            yield "Hel"
            yield 5
        finally:
            closed.set()

    with pytest.raises(InvalidChunk):
        async with service.publisher("chat") as pub:
            await consume_stream(events(), pub, LineMapper)

    assert closed.is_set()
    assert (await service.chunks("chat"))[-1]["type"] == "error"


async def test_a_mapper_that_raises_in_the_middle_leaves_a_message_that_pages_read(
    service: Service,
) -> None:
    class Halfway(LineMapper):
        def feed(self, event: str) -> list[Chunk]:
            return [*super().feed(event), *self._fail_at(event)]

        def _fail_at(self, event: str) -> list[Chunk]:
            if event == "lo":
                raise ValueError("no")
            return []

    async with service.publisher("chat") as pub:
        for lines in (["lo"], ["Hel", "lo"]):
            with pytest.raises(ValueError, match="no"):
                await consume_stream(lines, pub, Halfway)
        await consume_stream(["Hello", "END"], pub, LineMapper)

    texts = [part["text"] for part in (await message_of(service))["parts"] if "text" in part]
    assert texts == ["", "Hel", "Hello"]


async def test_leaving_early_ends_the_version_with_abort(service: Service) -> None:
    async with service.publisher("chat") as pub:
        async with record(["Hel", "lo", "END"], pub, LineMapper) as events:
            async for _ in events:
                break

    assert (await service.chunks("chat"))[-1]["type"] == "abort"


async def test_a_mapper_that_is_made_already_is_refused(service: Service) -> None:
    async with service.publisher("chat") as pub:
        with pytest.raises(TypeError, match="pass a class or function"):
            record(["END"], pub, 5)  # type: ignore[arg-type]


def test_a_sync_program_records_with_the_same_mapper(tmp_path: Path) -> None:
    url = f"sqlite+aiosqlite:///{tmp_path / 'chat.db'}"
    with SyncPublisher(url, "chat") as pub:
        assert list(record_sync(["Hello", "END"], pub, LineMapper)) == ["Hello", "END"]
