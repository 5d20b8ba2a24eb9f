"""Images and sounds that a model makes are stored by a hook, in both APIs."""

from __future__ import annotations

from typing import Any

import pytest

from monostream_ai.openai import consume
from monostream_ai.ui_messages import FileHook, reduce_chunks
from tests.filing import LARGE, LARGE_BASE64, Shelf
from tests.openai.storing import Service, check_message
from tests.openai.streaming import (
    Event,
    completed,
    created,
    delta,
    event,
    message_of,
    parts,
    shown,
    stream_of,
)
from tests.openai.vendor import Vendor

LARGE_URL = f"data:image/png;base64,{LARGE_BASE64}"
IMAGE = {"type": "image_url", "image_url": {"url": LARGE_URL}}
GENERATED = {"id": "ig_1", "type": "image_generation_call", "status": "completed"}


@pytest.mark.parametrize(
    "events",
    [
        [delta(content="Look"), delta(images=[IMAGE]), delta(content="nice"), delta("stop")],
        [delta(content=["Look", IMAGE, "nice"]), delta("stop")],
    ],
    ids=["beside the text", "in the content"],
)
async def test_an_image_of_a_chat_completion_is_stored(
    service: Service, vendor: Vendor, events: list[Event]
) -> None:
    shelf = Shelf()
    message = await message_of(service, vendor, *events, files=shelf)
    assert [part["url"] for part in parts(message, "file")] == ["https://files.test/1"]
    assert "".join(text for kind, text in shown(message) if kind == "text") == "Looknice"
    assert shelf.files == [(LARGE, "image/png")]


async def test_a_generated_image_is_stored_once(service: Service, vendor: Vendor) -> None:
    shelf = Shelf()
    item = {**GENERATED, "result": LARGE_BASE64}
    done = event("output_item.done", item=item, output_index=0)
    message = await message_of(service, vendor, created(), done, completed(item), files=shelf)
    assert [part["url"] for part in parts(message, "file")] == ["https://files.test/1"]
    assert len(shelf.files) == 1
    assert LARGE_BASE64[:100] not in str(message)


async def test_a_long_sound_is_stored_and_its_transcript_shown(
    service: Service, vendor: Vendor
) -> None:
    shelf = Shelf()
    events = [delta(audio={"id": "a", "transcript": "Hello"}), delta(audio={"data": LARGE_BASE64})]
    message = await message_of(service, vendor, *events, delta("stop"), files=shelf)
    assert ("text", "Hello") in shown(message)
    [file] = parts(message, "file")
    assert (file["url"], file["mediaType"]) == ("https://files.test/1", "audio/wav")


@pytest.mark.parametrize(
    "output",
    [
        LARGE_URL,
        {"type": "input_image", "image_url": LARGE_URL},
        {"content": [{"type": "image", "data": LARGE_BASE64, "mimeType": "image/png"}]},
    ],
    ids=["data URL", "Responses", "MCP"],
)
async def test_an_image_in_a_result_of_the_program_is_stored(
    service: Service, vendor: Vendor, output: Any
) -> None:
    call = {"id": "fc_1", "call_id": "call_1", "type": "function_call", "name": "look"}
    item = {**call, "arguments": "{}"}
    message = await message_of(
        service, vendor, created(), completed(item), files=Shelf(), results={"call_1": output}
    )
    assert [part["url"] for part in parts(message, "file")] == ["https://files.test/1"]
    assert LARGE_BASE64[:100] not in str(message)


async def test_consume_takes_a_hook_too(service: Service, vendor: Vendor) -> None:
    stream = await stream_of(vendor, delta(images=[IMAGE]), delta("stop"))
    async with service.publisher("chat") as pub:
        await consume(stream, pub, files=FileHook(Shelf()))
    chunks = await service.chunks("chat")
    check_message(chunks)
    assert [part["url"] for part in parts(reduce_chunks(chunks), "file")] == [
        "https://files.test/1"
    ]
