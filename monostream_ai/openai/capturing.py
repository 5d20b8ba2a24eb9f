"""Records the events of an OpenAI stream while they pass through to the program.

The mapping to chunks is in `events`, `chat` and `responses`.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

from monostream_ai._writing.publisher import Publisher
from monostream_ai.openai.events import EventMapper
from monostream_ai.recording.capture import Capture, record
from monostream_ai.recording.streams import E, Stream
from monostream_ai.recording.sync_capture import SyncCapture, record_sync
from monostream_ai.threads import SyncPublisher
from monostream_ai.ui_messages import Chunk
from monostream_ai.ui_messages.file_hook import Files
from monostream_ai.ui_messages.protocol import note_continued


def capture(
    stream: Stream[E],
    pub: Publisher[Chunk],
    *,
    encrypted_reasoning: bool = True,
    other_items: bool = False,
    continued: Mapping[str, Any] | None = None,
    files: Files | None = None,
) -> Capture[E]:
    """Iterate over the stream's own events, and record them to an open publisher as chunks.

        async for event in capture(await client.responses.create(..., stream=True), pub): ...

    Several streams, one after another, make one message.

    Args:
        stream: The result of `create(stream=True)` or `stream()` of `chat.completions`,
            `completions` or `responses`, from the async or the sync client; or any iterable of such
            events, also as dicts. A background response that was cut goes on with the result of
            `responses.retrieve(id, stream=True, starting_after=…)`.
        encrypted_reasoning: Keep the encrypted reasoning that a response has when its request
            includes it, as `providerMetadata`: `to_openai_input` gives it back. It is large.
        other_items: Send output items that have no chunks of their own, such as the tools of an MCP
            server, as `data-openai-item`. Otherwise those of an unknown type are `data-unread`.
        continued: The assistant `UIMessage` that this version goes on with, as after an approval:
            its calls can get their results, and its usage is added. A turn of the chat routes knows
            its message already.
        files: As for `record`.

    Raises:
        TypeError: `stream` is no stream: `stream=True` or an `await` is missing. Or `pub` is no
            publisher.
        InvalidArgument (from `anext`, at the end): No event was OpenAI's. The text names the
            capture to use.
    """
    mapper = partial(EventMapper, encrypted_reasoning=encrypted_reasoning, other_items=other_items)
    events = record(stream, pub, mapper, files=files)
    if continued is not None:
        note_continued(pub, continued)
    return events


async def consume(
    stream: Stream[E],
    pub: Publisher[Chunk],
    *,
    encrypted_reasoning: bool = True,
    other_items: bool = False,
    continued: Mapping[str, Any] | None = None,
    files: Files | None = None,
) -> None:
    """Record a stream to its end, and return when it is durable.

    Arguments and errors are those of `capture`.
    """
    events = capture(
        stream,
        pub,
        encrypted_reasoning=encrypted_reasoning,
        other_items=other_items,
        continued=continued,
        files=files,
    )
    async for _ in events:
        pass


def capture_sync(
    stream: Stream[E],
    pub: SyncPublisher,
    *,
    encrypted_reasoning: bool = True,
    other_items: bool = False,
    continued: Mapping[str, Any] | None = None,
    files: Files | None = None,
) -> SyncCapture[E]:
    """Iterate over the stream's own events, and record them to a `SyncPublisher`.

        for event in capture_sync(client.responses.create(..., stream=True), pub): ...

    Arguments and errors are those of `capture`.

    Raises:
        PublisherClosed: The publisher's `with` block has not begun, or has ended.
    """
    mapper = partial(EventMapper, encrypted_reasoning=encrypted_reasoning, other_items=other_items)
    events = record_sync(stream, pub, mapper, files=files)
    if continued is not None:
        note_continued(pub.publisher, continued)
    return events
