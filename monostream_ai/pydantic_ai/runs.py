"""Records a run as the chunks that Pydantic AI's own adapter for the AI SDK makes."""

from __future__ import annotations

import asyncio
import json
import types
from collections.abc import AsyncIterator, Generator, Sequence
from contextlib import suppress
from typing import Any, Final

from monostream_ai._extras import needs

with needs("pydantic-ai-slim", "pydantic-ai", by=__package__):
    from pydantic_ai.messages import BinaryContent, CachePoint
    from pydantic_ai.run import AgentRunResultEvent
    from pydantic_ai.ui.vercel_ai import VercelAIEventStream
    from pydantic_ai.ui.vercel_ai.response_types import BaseChunk, DoneChunk
    from pydantic_core import PydanticSerializationError

from monostream_ai._writing.publisher import Publisher
from monostream_ai.errors import InvalidArgument
from monostream_ai.recording.capture import Capture, consume_stream, record
from monostream_ai.recording.message import Recording
from monostream_ai.recording.model_output import ModelOutput, ResponseFailed
from monostream_ai.recording.streams import E, Stream
from monostream_ai.ui_messages import Chunk, to_json_value
from monostream_ai.ui_messages.browser_safety import is_link
from monostream_ai.ui_messages.chunks import SHAPES
from monostream_ai.ui_messages.file_hook import Files
from monostream_ai.ui_messages.open_parts import PartKind

SDK_VERSION: Final = 6
"""The release of `ai` whose chunks are asked for. Older pages get them through their profile."""


def capture(stream: Stream[E], pub: Publisher[Chunk], *, files: Files | None = None) -> Capture[E]:
    """Iterate over the events of a run, and record them to an open publisher as chunks.

        async for event in capture(agent.run_stream_events("Hi!"), pub): ...

    The chunks are those of `VercelAIAdapter`. The message keeps the publisher's id, and the
    publisher's block ends it.

    Args:
        stream: The result of `agent.run_stream_events(...)`, or any events of Pydantic AI that end
            with an `AgentRunResultEvent`; or chunks, such as those of `adapter.run_stream()`, as
            objects or dicts.
        files: As for `record`.

    Raises:
        TypeError: `stream` is no stream, or `pub` is no publisher.
        InvalidArgument (from `anext`): This is neither an event of Pydantic AI nor a chunk.
        InvalidChunk (from `anext`): A client would refuse this chunk.
        TruncatedStream (from `anext`, at the end): The events ended without the result of the run.
        ResponseFailed (from `anext`, at the end): The chunks say that the run failed or was
            cancelled. The error's text is for the program; the page gets a masked one. A run whose
            events are captured raises its own error.
    """
    return record(stream, pub, RunMapper, files=files)


async def consume(stream: Stream[E], pub: Publisher[Chunk], *, files: Files | None = None) -> None:
    """Record a stream to its end, and return when it is durable; otherwise like `capture`."""
    await consume_stream(stream, pub, RunMapper, files=files)


class RunMapper:
    """Passes the chunks of a run on, except those that begin and end a message."""

    def __init__(self, recording: Recording) -> None:
        self.output = ModelOutput(recording)
        self._builder = recording.builder
        self._unread = recording.unread("pydantic-ai")
        self._adapter: _Adapter | None = None

    def feed(self, event: Any) -> list[Chunk]:
        made = [event] if isinstance(event, BaseChunk | dict) else self._made_of(event)
        chunks = [_json_of(each) for each in made if not isinstance(each, DoneChunk)]
        sent = [sent for chunk in chunks for sent in self._chunk(chunk)]
        if getattr(event, "event_kind", None) == "function_tool_result":
            of_metadata = any(not chunk["type"].startswith("tool-") for chunk in chunks)
            sent += self._beside_result(event, of_metadata)
        return sent

    def _made_of(self, event: Any) -> Sequence[BaseChunk]:
        """Return the chunks that the adapter makes of an event."""
        if not isinstance(getattr(event, "event_kind", None), str):
            raise InvalidArgument(
                f"{type(event).__name__} is neither an event of Pydantic AI nor a chunk: capture "
                "agent.run_stream_events(...) or adapter.run_stream()"
            )
        adapter = self._adapter or _Adapter()
        # A run that follows in the same stream has an adapter of its own.
        self._adapter = None if isinstance(event, AgentRunResultEvent) else adapter
        return adapter.feed(event)

    def _beside_result(self, event: Any, of_metadata: bool) -> list[Chunk]:
        """Show the content of a `ToolReturn`, which the adapter leaves out.

        Its metadata is for the program, except for chunks in it; anything else is only counted.
        """
        # Releases before 2 call the part `result`.
        part: Any = getattr(event, "part", None) or getattr(event, "result", None)
        metadata = getattr(part, "metadata", None)
        others = [each for each in _listed(metadata) if not isinstance(each, BaseChunk)]
        if others and (isinstance(metadata, list | tuple) or not of_metadata):
            self._unread.lose("metadata of a tool result")
        chunks: list[Chunk] = []
        texts: list[Any] = []
        for value in _listed(event.content):
            if isinstance(value, CachePoint):
                continue
            url = value.data_uri if isinstance(value, BinaryContent) else getattr(value, "url", "")
            if isinstance(url, str) and (url.startswith("data:") or is_link(url)):
                chunks += self._builder.file(url, media_type=value.media_type)
            else:
                texts.append(value)
        if not texts:
            return chunks
        data = {"toolCallId": part.tool_call_id, "content": to_json_value(texts)}
        return [*self._builder.data("tool-content", data), *chunks]

    def _chunk(self, chunk: Chunk) -> list[Chunk]:
        if self.output.failure is not None:
            return []
        kind = chunk["type"]
        if kind == "error":
            return self.output.fail(ResponseFailed(None, str(chunk.get("errorText") or "")))
        if kind == "abort":
            return self.output.fail(ResponseFailed("abort", str(chunk.get("reason") or "")))
        told = chunk.get("messageMetadata") if kind in ("start", "finish") else None
        chunks = self._builder.metadata(told) if told else []
        if kind == "start":
            return [*self._builder.start(), *chunks]
        if kind == "finish":
            # Not every model says why it ended.
            return [*chunks, *self.output.finish(str(chunk.get("finishReason") or "other"))]
        if kind == "start-step":
            # That of a lost publisher may be there already, and empty.
            return self._builder.start_step()
        return self._in_order(kind, chunk)

    def _in_order(self, kind: str, chunk: Chunk) -> list[Chunk]:
        """Send a chunk that a page would refuse here in another way: it would show nothing more.

        A server may change the id of a call in the middle of its input.
        """
        if kind == "finish-step":
            # An input that was never whole ends in its own step.
            return self._builder.finish_step()
        if kind in ("text-delta", "text-end", "reasoning-delta", "reasoning-end"):
            part: PartKind = "text" if kind.startswith("text") else "reasoning"
            begun = self._builder.is_open(part, str(chunk.get("id")))
            start: Chunk = {"type": f"{part}-start", "id": chunk.get("id")}
            before = [] if begun else self._builder.chunk(start)
            return [*before, *self._builder.chunk(chunk)]
        call = self._builder.call(str(chunk.get("toolCallId")))
        if kind == "tool-input-delta" and (call is None or call.state != "streaming"):
            # The whole input follows, or came before.
            return []
        if kind.startswith("tool-output-") and call is None:
            return self._unread.keep(kind, chunk)
        return self._builder.chunk(chunk)


def _listed(value: Any) -> Sequence[Any]:
    return value if isinstance(value, list | tuple) else () if value is None else (value,)


class _Adapter:
    """Makes the chunks of events, one event at a time, by the adapter of Pydantic AI.

    The adapter pulls its events from an async iterator. It awaits nothing else, so its coroutine is
    resumed by hand with each event.
    """

    def __init__(self) -> None:
        self._given: list[Any] = []
        self._made: list[BaseChunk] = []
        # It does not hold this object, so that dropping the one closes the other.
        self._running = _run(self._given, self._made)
        self._resume()

    def __del__(self) -> None:
        # The generators of a run that was left count as running. The event loop would try to close
        # them, which fails and is logged, so they end here. A `GeneratorExit` would not reach them.
        with suppress(StopIteration, RuntimeError, asyncio.CancelledError):
            self._running.throw(asyncio.CancelledError)

    def feed(self, event: Any) -> list[BaseChunk]:
        """Return the chunks of the next event, and with the result of the run those of its end."""
        self._given.append(event)
        self._resume()
        made = [*self._made]
        self._made.clear()
        return made

    def _resume(self) -> None:
        with suppress(StopIteration):
            self._running.send(None)


async def _run(given: list[Any], made: list[BaseChunk]) -> None:
    adapter: VercelAIEventStream[Any, Any] = VercelAIEventStream(None, sdk_version=SDK_VERSION)
    async for chunk in adapter.transform_stream(_events(given)):
        made.append(chunk)


async def _events(given: list[Any]) -> AsyncIterator[Any]:
    event = None
    while not isinstance(event, AgentRunResultEvent):
        await _next_event()
        event = given.pop()
        yield event


@types.coroutine
def _next_event() -> Generator[None, None, None]:
    yield


def _dumped(made: BaseChunk) -> Chunk:
    try:
        chunk: Chunk = json.loads(made.encode(SDK_VERSION))
    except PydanticSerializationError:
        # A text has half of a character, which some servers split.
        chunk = made.model_dump(mode="json", by_alias=True, exclude_none=True)
    return chunk


def _json_of(made: BaseChunk | Chunk) -> Chunk:
    """Return a chunk as JSON. The adapter leaves out a value of None, though a client wants it."""
    chunk = made if isinstance(made, dict) else _dumped(made)
    if not isinstance(chunk.get("type"), str):
        raise InvalidArgument(f"a dict with the type {chunk.get('type')!r:.80} is no chunk")
    shape = SHAPES.get(chunk["type"])
    missing = {} if shape is None else {k: None for k, v in shape.required.items() if v == "value"}
    return {**missing, **chunk}
