"""A program without an event loop captures the sync client's streams."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import openai
import pytest

from monostream_ai import StreamStopped, create_service
from monostream_ai.openai import TruncatedStream, capture_sync
from monostream_ai.threads import SyncPublisher
from monostream_ai.ui_messages import Chunk, reduce_chunks
from tests.openai.recordings import events_of
from tests.openai.storing import check_message, texts
from tests.openai.vendor import Vendor


@pytest.fixture
def url(tmp_path: Path) -> str:
    return f"sqlite+aiosqlite:///{tmp_path / 'chat.db'}"


async def stored(url: str) -> list[Chunk]:
    async with create_service(url) as service:
        chunks = await service.chunks("chat")
    check_message(chunks)
    return chunks


async def in_a_program(work: Callable[[], Any]) -> Any:
    """Run the work where no event loop is."""
    return await asyncio.to_thread(work)


@pytest.mark.parametrize("name", ["chat/text", "responses/text"])
async def test_events_pass_through_and_are_stored(url: str, vendor: Vendor, name: str) -> None:
    client = openai.OpenAI(api_key="sk-test", base_url="https://api.openai.com/v1", max_retries=0)

    def program() -> tuple[list[Any], list[Any]]:
        with SyncPublisher(url, "chat", message_id="m1") as pub:
            passed = list(capture_sync(vendor.answer_sync(client, name), pub))
        return passed, list(vendor.answer_sync(client, name))

    passed, expected = await in_a_program(program)
    assert passed == expected
    assert reduce_chunks(await stored(url))["id"] == "m1"


async def test_a_loop_that_is_left_aborts_the_version(url: str) -> None:
    def program() -> None:
        with SyncPublisher(url, "chat") as pub:
            for event in capture_sync(events_of("chat/text"), pub):
                if event["choices"] and event["choices"][0]["delta"].get("content"):
                    break

    await in_a_program(program)
    assert [chunk["type"] for chunk in await stored(url)][-1] == "abort"


async def test_a_with_block_ends_as_the_loop_does(url: str) -> None:
    def program() -> None:
        with SyncPublisher(url, "chat") as pub, capture_sync(events_of("chat/text"), pub) as events:
            next(events)
            raise LookupError("mine")

    with pytest.raises(LookupError):
        await in_a_program(program)
    assert [chunk["type"] for chunk in await stored(url)][-1] == "error"


async def test_a_truncated_stream_raises(url: str) -> None:
    def program() -> None:
        with SyncPublisher(url, "chat") as pub:
            list(capture_sync(events_of("chat/text")[:2], pub))

    with pytest.raises(TruncatedStream):
        await in_a_program(program)
    assert [chunk["type"] for chunk in await stored(url)][-1] == "error"


async def test_tools_that_the_program_runs_get_their_results(url: str) -> None:
    def program() -> None:
        with SyncPublisher(url, "chat") as pub:
            events = capture_sync(events_of("responses/function_call"), pub)
            calls = [
                event["item"]["call_id"]
                for event in events
                if event["type"] == "response.output_item.done"
            ]
            events.tool_result(calls[0], output={"temperature": 20})
            list(capture_sync(events_of("responses/text"), pub))

    await in_a_program(program)
    parts = reduce_chunks(await stored(url))["parts"]
    assert [part["output"] for part in parts if part["type"] == "dynamic-tool"] == [
        {"temperature": 20}
    ]
    assert texts(await stored(url)) != []


async def test_its_repr_shows_the_capture(url: str) -> None:
    def program() -> None:
        with SyncPublisher(url, "chat") as pub:
            events = capture_sync(events_of("chat/text"), pub)
            assert repr(events) == f"<SyncCapture by <Capture of {pub.publisher!r} open>>"
            list(events)

    await in_a_program(program)


async def test_a_stop_from_elsewhere_ends_the_loop(url: str) -> None:
    started, stopped = asyncio.Event(), asyncio.Event()
    loop = asyncio.get_running_loop()

    def endless() -> Any:
        start, *_ = events_of("chat/text")
        yield start
        loop.call_soon_threadsafe(started.set)
        asyncio.run_coroutine_threadsafe(stopped.wait(), loop).result()
        while True:
            yield start

    def program() -> None:
        with SyncPublisher(url, "chat") as pub:
            for _ in capture_sync(endless(), pub):
                pass

    running = asyncio.create_task(in_a_program(program))
    await started.wait()
    async with create_service(url) as service:
        assert await service.stop("chat")
    stopped.set()
    with pytest.raises(StreamStopped):
        await running
