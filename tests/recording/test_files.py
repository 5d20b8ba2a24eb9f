"""Files of an answer reach the page: in the message, by a hook, or as a text that says why not."""

from __future__ import annotations

import asyncio
import functools
import logging
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from monostream_ai import DurableStreamService, create_service
from monostream_ai.errors import InvalidNumber
from monostream_ai.recording import ModelOutput, Recording, consume_stream, record, record_sync
from monostream_ai.threads import SyncPublisher
from monostream_ai.ui_messages import Chunk, FileHook, reduce_chunks
from monostream_ai.ui_messages.model_output import StreamedCall
from tests.filing import (
    BARELY,
    LARGE,
    LARGE_BASE64,
    SMALL,
    SMALL_BASE64,
    SMALL_URL,
    Shelf,
    as_base64,
    image,
    refuses,
)
from tests.openai.storing import check_message

Service = DurableStreamService[Chunk]

LARGE_URL = f"data:image/png;base64,{LARGE_BASE64}"
NOT_STORED = "A file (image/png, 2.0 MB) could not be stored."
TOO_LARGE = "A file (image/png, 2.0 MB) is too large to show."


class FileMapper:
    """Takes texts, data URLs, and results of tools as objects."""

    def __init__(self, recording: Recording) -> None:
        self.output = ModelOutput(recording)
        self._recording = recording
        self._calls = 0

    def feed(self, event: Any) -> list[Chunk]:
        if event == "END":
            return self.output.finish("stop")
        if isinstance(event, dict):
            self._calls += 1
            call = StreamedCall(f"c{self._calls}", "look")
            chunks = self.output.call_with(call, {})
            return chunks + self._recording.builder.tool_output(f"c{self._calls}", event["result"])
        if event.startswith("data:"):
            media_type = event[5:].partition(";")[0]
            return [*self.output.speech.end(), *self._recording.file(event, media_type)]
        return self.output.speech.text(None, event)


async def message_of(service: Service) -> dict[str, Any]:
    chunks = await service.chunks("chat")
    check_message(chunks)
    return reduce_chunks(chunks)


async def record_all(service: Service, *events: Any, files: Any = None) -> dict[str, Any]:
    async with service.publisher("chat") as pub:
        await consume_stream([*events, "END"], pub, FileMapper, files=files)
    return await message_of(service)


def shown(message: dict[str, Any]) -> list[tuple[str, Any]]:
    keys = ("text", "url", "output")
    parts = [part for part in message["parts"] if part["type"] != "step-start"]
    return [(p["type"], next((p[key] for key in keys if key in p), None)) for p in parts]


async def test_a_large_file_is_stored_in_its_place(service: Service) -> None:
    shelf = Shelf()
    message = await record_all(service, "Look: ", LARGE_URL, "nice", files=shelf)
    assert shown(message) == [
        ("text", "Look: "),
        ("file", "https://files.test/1"),
        ("text", "nice"),
    ]
    assert shelf.files == [(LARGE, "image/png")]


async def test_a_small_file_stays_in_the_message(service: Service) -> None:
    shelf = Shelf()
    message = await record_all(service, SMALL_URL, files=shelf)
    assert (shown(message), shelf.files) == ([("file", SMALL_URL)], [])


@pytest.mark.parametrize(
    ("content", "options", "stored"),
    [(BARELY, {}, True), (BARELY[:-3], {}, False), (SMALL, {"over": 0}, True)],
)
async def test_the_size_decides(
    service: Service, content: bytes, options: dict[str, Any], stored: bool
) -> None:
    shelf = Shelf()
    url = f"data:image/png;base64,{as_base64(content)}"
    await record_all(service, url, files=FileHook(shelf, **options))
    assert len(shelf.files) == stored


async def test_without_a_hook_a_text_says_that_a_file_is_too_large(service: Service) -> None:
    assert shown(await record_all(service, LARGE_URL, "Hi")) == [
        ("text", TOO_LARGE),
        ("text", "Hi"),
    ]


async def test_a_file_that_cannot_be_stored_leaves_a_text_and_a_log_line(
    service: Service, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING, "monostream_ai"):
        message = await record_all(service, LARGE_URL, "Hi", files=refuses)
    assert shown(message) == [("text", NOT_STORED), ("text", "Hi")]
    assert "the bucket is gone" in caplog.text
    assert LARGE_BASE64[:100] not in caplog.text


@pytest.mark.parametrize(
    "url", [None, 7, "", "javascript:alert(1)", LARGE_URL, "ftp://a.test/", "https://a b"], ids=repr
)
async def test_a_hook_must_return_a_url(service: Service, url: Any) -> None:
    async def store(content: bytes, media_type: str) -> Any:
        return url

    assert shown(await record_all(service, LARGE_URL, files=store)) == [("text", NOT_STORED)]


async def test_a_hook_that_takes_too_long_is_given_up(service: Service) -> None:
    async def store(content: bytes, media_type: str) -> str:
        await asyncio.Event().wait()
        return ""

    message = await record_all(service, LARGE_URL, files=FileHook(store, timeout=0.01))
    assert shown(message) == [("text", NOT_STORED)]


async def test_bytes_that_are_no_base64_leave_a_text(service: Service) -> None:
    url = f"data:image/png;base64,{'A' * 100_001}"
    assert "could not be stored" in shown(await record_all(service, url, files=Shelf()))[0][1]


async def test_later_captures_of_a_publisher_use_the_hook_too(service: Service) -> None:
    async with service.publisher("chat") as pub:
        await consume_stream(["Hi", "END"], pub, FileMapper, files=Shelf())
        await consume_stream([LARGE_URL, "END"], pub, FileMapper)
    assert ("file", "https://files.test/1") in shown(await message_of(service))


async def test_a_page_sees_the_text_before_a_file_that_is_being_stored(service: Service) -> None:
    begun, gate = asyncio.Event(), asyncio.Event()

    async def store(content: bytes, media_type: str) -> str:
        begun.set()
        await gate.wait()
        return "/f/1"

    async def events() -> AsyncIterator[str]:
        for event in ("Look", LARGE_URL, "nice", "END"):
            yield event

    async with service.publisher("chat") as pub:
        recording = asyncio.create_task(
            consume_stream(events(), pub, FileMapper, files=FileHook(store))
        )
        await begun.wait()
        async with service.subscribe("chat", timeout=5.0) as reader:
            seen = [await anext(reader) for _ in range(4)]
            assert seen[3]["delta"] == "Look"
        gate.set()
        await recording
    assert shown(await message_of(service)) == [
        ("text", "Look"),
        ("file", "/f/1"),
        ("text", "nice"),
    ]


async def test_a_stop_does_not_wait_for_a_file(service: Service) -> None:
    begun, cancelled = asyncio.Event(), asyncio.Event()

    async def store(content: bytes, media_type: str) -> str:
        begun.set()
        try:
            await asyncio.Event().wait()
        finally:
            cancelled.set()
        return ""

    async def answer() -> None:
        async with service.publisher("chat") as pub:
            async for _ in record(["Look", LARGE_URL, "END"], pub, FileMapper, files=store):
                pass

    answering = asyncio.create_task(answer())
    await begun.wait()
    await service.stop("chat")
    await asyncio.wait([answering])
    await cancelled.wait()
    assert shown(await message_of(service))[0] == ("text", "Look")


RESULTS: dict[str, Any] = {
    "MCP": {"content": [{"type": "text", "text": "see"}, {"type": "image", "data": LARGE_BASE64}]},
    "data URL": LARGE_URL,
    "base64": {"screenshot": LARGE_BASE64},
}


@pytest.mark.parametrize("result", RESULTS.values(), ids=RESULTS)
async def test_an_image_of_a_tool_is_stored_and_shown(service: Service, result: Any) -> None:
    shelf = Shelf()
    message = await record_all(service, {"result": result}, "Hi", files=shelf)
    [(_, output), file, text] = shown(message)
    assert file == ("file", "https://files.test/1")
    assert text == ("text", "Hi")
    assert shelf.files == [(LARGE, "image/png")]
    reference = {"type": "stored-file", "mediaType": "image/png", "url": "https://files.test/1"}
    assert str(reference)[1:-1] in str(output)
    assert LARGE_BASE64[:100] not in str(message)


@pytest.mark.parametrize("result", RESULTS.values(), ids=RESULTS)
@pytest.mark.parametrize(("files", "text"), [(None, TOO_LARGE), (refuses, NOT_STORED)])
async def test_an_image_of_a_tool_that_is_not_stored_leaves_texts(
    service: Service, result: Any, files: Any, text: str
) -> None:
    message = await record_all(service, {"result": result}, files=files)
    [(_, output), beside] = shown(message)
    assert beside == ("text", text)
    assert text in str(output)
    assert LARGE_BASE64[:100] not in str(message)


@pytest.mark.parametrize("files", [None, Shelf()], ids=["alone", "hook"])
async def test_a_small_image_of_a_tool_is_shown_and_kept(service: Service, files: Any) -> None:
    result = [{"type": "image", "data": SMALL_BASE64, "mimeType": "image/png"}]
    message = await record_all(service, {"result": result}, files=files)
    assert [value for _, value in shown(message)] == [result, SMALL_URL]


async def test_a_result_of_several_images_keeps_those_that_are_stored(service: Service) -> None:
    shelf = Shelf()

    async def store(content: bytes, media_type: str) -> str:
        if content[8] == 1:
            raise ConnectionError
        return await shelf(content, media_type)

    contents = [image(200_000, mark) for mark in range(3)] + [SMALL]
    parts = [{"type": "image", "data": as_base64(content)} for content in contents]
    message = await record_all(service, {"result": parts}, files=store)
    [(_, output), *beside] = shown(message)
    assert [part["type"] for part in output] == ["stored-file", "text", "stored-file", "image"]
    assert [kind for kind, _ in beside] == ["file", "text", "file", "file"]
    assert len(shelf.files) == 2


async def test_an_image_that_two_tools_return_is_shown_once(service: Service) -> None:
    result = {"result": [{"type": "image", "data": SMALL_BASE64}]}
    message = await record_all(service, result, result)
    assert [kind for kind, _ in shown(message)].count("file") == 1


async def test_the_result_of_a_tool_that_the_program_ran_may_hold_an_image(
    service: Service,
) -> None:
    class CallMapper(FileMapper):
        def feed(self, event: Any) -> list[Chunk]:
            if event == "CALL":
                return self.output.call_with(StreamedCall("c1", "look"), {})
            return super().feed(event)

    async with service.publisher("chat") as pub:
        events = record(["CALL", "END"], pub, CallMapper, files=Shelf())
        async for _ in events:
            pass
        events.tool_result("c1", output={"type": "image", "data": LARGE_BASE64})
    assert ("file", "https://files.test/1") in shown(await message_of(service))


async def test_many_files_wait_for_their_storage_and_not_in_memory(service: Service) -> None:
    shelf = Shelf()
    urls = [f"data:image/png;base64,{as_base64(image(4_000_000, n))}" for n in range(14)]
    message = await record_all(service, *urls, files=shelf)
    assert [kind for kind, _ in shown(message)] == ["file"] * 14


async def test_a_sync_capture_stores_files_on_the_publishers_loop(tmp_path: Path) -> None:
    shelf, url = Shelf(), f"sqlite+aiosqlite:///{tmp_path / 'chat.db'}"

    def publish() -> None:
        with SyncPublisher(url, "chat") as pub:
            for _ in record_sync([LARGE_URL, "END"], pub, FileMapper, files=shelf):
                pass

    await asyncio.to_thread(publish)
    async with create_service(url) as service:
        assert shown(await message_of(service)) == [("file", "https://files.test/1")]
    assert shelf.files == [(LARGE, "image/png")]


async def generator(content: bytes, media_type: str) -> AsyncIterator[str]:
    yield ""


def sync(content: bytes, media_type: str) -> str:
    return "/f/1"


@pytest.mark.parametrize(
    "files", ["files", 7, generator, sync], ids=["text", "number", "generator", "sync"]
)
async def test_a_hook_must_be_an_async_function(service: Service, files: Any) -> None:
    async with service.publisher("chat") as pub:
        with pytest.raises(TypeError, match="files is"):
            record([], pub, FileMapper, files=files)


@pytest.mark.parametrize("options", [{"over": -1}, {"timeout": -1.0}, {"timeout": float("nan")}])
def test_a_hook_refuses_numbers_that_cannot_be(options: Any) -> None:
    with pytest.raises(InvalidNumber):
        FileHook(Shelf(), **options)


def test_a_partial_of_an_async_function_is_a_hook() -> None:
    assert repr(FileHook(functools.partial(refuses), over=7)) == "<FileHook over 7 characters>"
