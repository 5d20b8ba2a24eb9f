"""Pydantic AI: record the chunks of its own adapter for the AI SDK.

The `pydantic_ai` package itself is not imported.
"""

from __future__ import annotations

import json
from typing import Any

from monostream_ai._writing.publisher import Publisher
from monostream_ai.errors import InvalidArgument
from monostream_ai.recording.capture import Capture, consume_stream, record
from monostream_ai.recording.message import Recording
from monostream_ai.recording.model_output import ModelOutput, ResponseFailed, TruncatedStream
from monostream_ai.recording.streams import E, Stream
from monostream_ai.ui_messages import Chunk
from monostream_ai.ui_messages.chunks import SHAPES
from monostream_ai.ui_messages.file_hook import Files

__all__ = ["Capture", "ResponseFailed", "TruncatedStream", "capture", "consume"]

_SDK_VERSION = 6
"""The release of `ai` whose chunks are asked for. Older pages get them through their profile."""


def capture(stream: Stream[E], pub: Publisher[Chunk], *, files: Files | None = None) -> Capture[E]:
    """Iterate over the chunks of `VercelAIAdapter`, and record them as they are.

        async for chunk in capture(adapter.run_stream(), pub): ...

    The message keeps the publisher's id, and the publisher's block ends it.

    Args:
        stream: The result of `adapter.run_stream()`, or of `transform_stream` of its event stream;
            or any chunks of the AI SDK, as dicts.
        files: As for `record`.

    Raises:
        TypeError: `stream` is no stream, or `pub` is no publisher.
        InvalidArgument (from `anext`): This is no chunk, such as an event of `run_stream_events`.
        InvalidChunk (from `anext`): A client would refuse this chunk.
        ResponseFailed (from `anext`, at the end): The run failed or was cancelled. The error's text
            is for the program; the page gets a masked one.
    """
    return record(stream, pub, ChunkMapper, files=files)


async def consume(stream: Stream[E], pub: Publisher[Chunk], *, files: Files | None = None) -> None:
    """Record a stream to its end, and return when it is durable; otherwise like `capture`."""
    await consume_stream(stream, pub, ChunkMapper, files=files)


class ChunkMapper:
    """Passes chunks on, except those that begin and end a message."""

    def __init__(self, recording: Recording) -> None:
        self.output = ModelOutput(recording)
        self._builder = recording.builder

    def feed(self, event: Any) -> list[Chunk]:
        if self.output.failure is not None:
            return []
        chunk = _chunk_of(event)
        kind = chunk["type"]
        if kind == "error":
            return self.output.fail(ResponseFailed(None, str(chunk.get("errorText") or "")))
        if kind == "abort":
            return self.output.fail(ResponseFailed("abort", str(chunk.get("reason") or "")))
        if kind == "done":
            return []
        told = chunk.get("messageMetadata") if kind in ("start", "finish") else None
        chunks = self._builder.metadata(told) if told else []
        if kind == "start":
            return [*self._builder.start(), *chunks]
        if kind == "finish":
            return [*chunks, *self.output.finish(str(chunk.get("finishReason") or "stop"))]
        return self._builder.chunk(chunk)


def _chunk_of(event: Any) -> Chunk:
    """Return a chunk as JSON. The adapter leaves out a value of None, though a client wants it."""
    encode = getattr(event, "encode", None)
    if callable(encode) and not isinstance(event, str):
        kind = getattr(event, "type", None)
        event = {"type": "done"} if kind == "done" else json.loads(encode(_SDK_VERSION))
    if not isinstance(event, dict) or not isinstance(event.get("type"), str):
        raise InvalidArgument(
            f"{type(event).__name__} is no chunk of the AI SDK: capture adapter.run_stream(), "
            "or the events through transform_stream"
        )
    shape = SHAPES.get(event["type"])
    missing = {} if shape is None else {k: None for k, v in shape.required.items() if v == "value"}
    return {**missing, **event}
