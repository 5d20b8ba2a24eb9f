"""Records the events of Anthropic's messages while they pass through to the program."""

from __future__ import annotations

from monostream_ai._writing.publisher import Publisher
from monostream_ai.anthropic.mapper import AnthropicMapper
from monostream_ai.recording.capture import Capture, consume_stream, record
from monostream_ai.recording.streams import E, Stream
from monostream_ai.recording.sync_capture import SyncCapture, record_sync
from monostream_ai.threads import SyncPublisher
from monostream_ai.ui_messages import Chunk
from monostream_ai.ui_messages.file_hook import Files


def capture(stream: Stream[E], pub: Publisher[Chunk], *, files: Files | None = None) -> Capture[E]:
    """Iterate over the stream's own events, and record them to an open publisher as chunks.

        async for event in capture(client.messages.stream(...), pub): ...

    Several streams, one after another, make one message.

    Args:
        stream: The result of `messages.create(stream=True)` or `messages.stream()`, also of
            `beta.messages`, from the async or the sync client; or any iterable of such events, also
            as dicts.
        files: As for `record`.

    Raises:
        TypeError: `stream` is no stream: `stream=True` or an `await` is missing. Or `pub` is no
            publisher.
        InvalidArgument (from `anext`): The first event is not Anthropic's.
    """
    return record(stream, pub, AnthropicMapper, files=files)


async def consume(stream: Stream[E], pub: Publisher[Chunk], *, files: Files | None = None) -> None:
    """Record a stream to its end, and return when it is durable; otherwise like `capture`."""
    await consume_stream(stream, pub, AnthropicMapper, files=files)


def capture_sync(
    stream: Stream[E], pub: SyncPublisher, *, files: Files | None = None
) -> SyncCapture[E]:
    """Iterate over the stream's own events, and record them to a `SyncPublisher`.

        for event in capture_sync(client.messages.create(..., stream=True), pub): ...

    Arguments and errors are those of `capture`.

    Raises:
        PublisherClosed: The publisher's `with` block has not begun, or has ended.
    """
    return record_sync(stream, pub, AnthropicMapper, files=files)
