"""Streams written down in a test, sent through the real SDK."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

import openai

from monostream_ai.openai import capture
from monostream_ai.ui_messages import reduce_chunks
from tests.openai.storing import Service, check_message
from tests.openai.vendor import OPTIONS, Vendor

Event = dict[str, Any]


def delta(reason: str | None = None, **fields: Any) -> Event:
    """Return a chunk of a chat completion with these fields in its delta."""
    return chunk({"index": 0, "delta": fields, "finish_reason": reason})


def chunk(*choices: Event, **fields: Any) -> Event:
    return {"id": "c", "object": "chat.completion.chunk", "choices": list(choices), **fields}


def called(index: int | None = 0, **fields: Any) -> Event:
    """Return a chunk with one piece of a tool call: `id`, and `name` and `arguments`."""
    function = {key: value for key, value in fields.items() if key in ("name", "arguments")}
    place = {} if index is None else {"index": index}
    rest = {key: value for key, value in fields.items() if key not in function}
    return delta(tool_calls=[{**place, **rest, "type": "function", "function": function}])


def event(kind: str, **fields: Any) -> Event:
    return {"type": f"response.{kind}", **fields}


def created(**fields: Any) -> Event:
    return event("created", response={"id": "resp_1", "status": "in_progress", **fields})


def completed(*output: Event, **fields: Any) -> Event:
    response = {"id": "resp_1", "status": "completed", "output": list(output), **fields}
    return event("completed", response=response)


def body(events: Iterable[Event]) -> bytes:
    return b"".join(b"data: " + json.dumps(each).encode() + b"\n\n" for each in events)


async def stream_of(vendor: Vendor, *events: Event) -> Any:
    """Return the SDK's stream of these events; the first one tells the API."""
    vendor.answer_with(body(events))
    client = openai.AsyncOpenAI(**OPTIONS)
    if "choices" in events[0]:
        return await client.chat.completions.create(model="m", messages=[], stream=True)
    return await client.responses.create(model="m", input="Hi", stream=True)


async def message_of(
    service: Service, vendor: Vendor, *events: Event, results: Event | None = None, **options: Any
) -> Any:
    """Return the message that is stored for these events.

    Args:
        results: The results of tools, by call id, which are recorded after the stream.
    """
    stream = await stream_of(vendor, *events)
    async with service.publisher("chat", message_id="m1") as pub:
        captured = capture(stream, pub, **options)
        async for _ in captured:
            pass
        for call_id, output in (results or {}).items():
            captured.tool_result(call_id, output=output)
    chunks = await service.chunks("chat")
    check_message(chunks)
    return reduce_chunks(chunks)


def shown(message: Any) -> list[tuple[str, str]]:
    """Return the texts and thoughts of a message, each with its kind."""
    return [
        (part["type"], part["text"])
        for part in message["parts"]
        if part["type"] in ("text", "reasoning")
    ]


def parts(message: Any, kind: str) -> list[Any]:
    return [part for part in message["parts"] if part["type"] == kind]


def calls(message: Any) -> list[tuple[str, str, Any]]:
    """Return id, name and input of the calls."""
    return [
        (part["toolCallId"], part["toolName"], part.get("input"))
        for part in parts(message, "dynamic-tool")
    ]
