"""Recording the events of a stream while they pass through."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import suppress
from types import TracebackType
from typing import Any, Final, Generic, Self

from monostream_ai._writing.publisher import Publisher
from monostream_ai.errors import MASKED_ERROR_TEXT, InvalidChunk, StreamClosed
from monostream_ai.openai.events import EventMapper
from monostream_ai.openai.recording import Recording
from monostream_ai.openai.sources import E, Stream, check_stream, events_of
from monostream_ai.ui_messages import Chunk, UIMessageBuilder, to_json_value
from monostream_ai.ui_messages.size_limit import push_fitting

AHEAD: Final = 2 * 1024 * 1024
"""Characters that a stream may be ahead of the store before it waits for it, which keeps it below
`MAX_PUSHED_BYTES`.

No model speaks so fast; a stream that is read from a file may.
"""
FRAME: Final = 128
"""Characters allowed for a chunk's keys and ids. Deltas of a text need none: those that wait are
merged.
"""
NESTED: Final = 256 * 1024
"""Characters allowed for a value that is no text, since measuring it would take longer."""


def capture(
    stream: Stream[E],
    pub: Publisher[Chunk],
    *,
    encrypted_reasoning: bool = False,
    other_items: bool = False,
) -> Capture[E]:
    """Return an async iterator over the stream's own events that records them to an open publisher
    as UI message chunks.

        async for event in capture(await client.responses.create(..., stream=True), pub): ...

    Takes what `chat.completions` and `responses` return for `create(stream=True)` and for
    `stream()`, from the async or the sync client, and any iterable of such events or of dicts.
    Several streams, one after another, make one message.

    Args:
        encrypted_reasoning: Keep the encrypted reasoning of a response, which is large, as
            `providerMetadata`.
        other_items: Send output items that have no chunks of their own, such as approval requests,
            as `data-openai-item`.

    Raises:
        TypeError: `stream` is no stream: `stream=True` or an `await` is missing.
    """
    check_stream(stream)
    return Capture(stream, pub, encrypted_reasoning=encrypted_reasoning, other_items=other_items)


async def consume(
    stream: Stream[E],
    pub: Publisher[Chunk],
    *,
    encrypted_reasoning: bool = False,
    other_items: bool = False,
) -> None:
    """Record a stream to its end, and return when it is durable. Arguments and errors are those of
    `capture`.
    """
    async for _ in capture(
        stream, pub, encrypted_reasoning=encrypted_reasoning, other_items=other_items
    ):
        pass


class Capture(Generic[E]):
    """An async iterator that passes events through and records them; made by `capture`.

    When the loop ends by itself, the response is complete and durable, and leaving the publisher's
    block writes `finish` with the model's reason. Everything else closes the HTTP stream. An error
    of the stream closes what it left open and goes on: unless it is caught, say to try again, the
    block records it as an error, and a cancellation as its abort. A loop that is left before the
    response is complete, as by `break`, ends the version at once: with the abort, or the error if
    the model had reported one. Keep no reference to the iterator then, or use `async with` or
    `aclose`, which need no garbage collector to see it.

    Raises (from `anext`):
        TruncatedStream: The stream ended before the response was complete, which the SDK does not
            tell.
        ResponseFailed: The model reported an error, which the SDK yields as an event; raised at the
            end of the stream.
        StreamClosed, StreamStopped, Fenced, StoreUnavailable: As `pub.write`.
        Whatever the stream raises.
    """

    def __init__(
        self,
        stream: Stream[E],
        pub: Publisher[Chunk],
        *,
        encrypted_reasoning: bool,
        other_items: bool,
    ) -> None:
        self._over = False
        self._pub = pub
        self._events: AsyncGenerator[E, None] = events_of(stream)
        self._options = {"encrypted_reasoning": encrypted_reasoning, "other_items": other_items}
        self._recording: Recording | None = None
        self._mapper: EventMapper | None = None
        self._ahead = 0

    def tool_result(self, call_id: str, *, output: Any = None, error: str | None = None) -> None:
        """Record what a tool that the program ran itself has returned, before the next stream is
        captured.

        A call whose arguments are not valid JSON shows that as its error already, and keeps it.

        Args:
            call_id: The id that the model gave the call.
            output: Any value; it is shown as JSON.
            error: What a user may read about the tool's failure, instead of an output.

        Raises:
            InvalidChunk: This message has no such call, or the call has its result already.
        """
        if self._recording is None:
            raise InvalidChunk(
                "$.toolCallId", f"nothing was captured yet, so there is no call {call_id!r}"
            )
        builder, published = self._recording.builder, self._recording.calls.find(call_id) or call_id
        if published in self._recording.refused_calls:
            return
        result = (
            builder.tool_output(published, to_json_value(output))
            if error is None
            else builder.tool_error(published, error)
        )
        self._push(result)

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> E:
        if self._over:
            raise StopAsyncIteration
        try:
            mapper = self._mapper or await self._begin()
            if self._pub.closed:
                await self._pub.flush()
                raise StreamClosed(self._pub.stream_id, self._pub.version)
            event = await anext(self._events)
            self._push(mapper.feed(event))
            if self._ahead > AHEAD:
                await self._catch_up()
        except StopAsyncIteration:
            await self._end()
            raise
        except BaseException:
            self._give_up()
            await self._events.aclose()
            raise
        return event

    async def aclose(self) -> None:
        """Close the HTTP stream; if the response is not complete, end the version."""
        self._leave()
        await self._events.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if error is not None:
            # The publisher's block sees the error too, and records it as what it is.
            self._give_up()
        await self.aclose()

    def __del__(self) -> None:
        # `break` only drops the iterator. The HTTP stream is closed by the event loop, as of any
        # generator that is dropped.
        if not self._over and not _is_cancelled():
            with suppress(RuntimeError):  # the loop is closed: nothing can be stored any more
                self._leave()

    async def _begin(self) -> EventMapper:
        pub = self._pub
        await pub.flush()
        # A tool loop captures several streams to one publisher, and they make one message.
        recording = pub._adapter_state.get(Recording)
        if recording is None:
            recording = pub._adapter_state[Recording] = Recording(
                UIMessageBuilder(message_id=pub.message_id, send_start=pub.next_id == 0)
            )
        self._recording, self._mapper = recording, EventMapper(recording, **self._options)
        return self._mapper

    async def _catch_up(self) -> None:
        self._ahead = 0
        await self._pub.flush()

    async def _end(self) -> None:
        self._give_up()
        await self._pub.flush()
        if self._mapper is not None and self._mapper.output.failure is not None:
            raise self._mapper.output.failure from None

    def _give_up(self) -> None:
        """Record no more. What is not complete is closed; the ending is left to the publisher's
        block.
        """
        over, self._over = self._over, True
        if not over and self._mapper is not None and not self._mapper.output.complete:
            self._push(self._mapper.output.fail())

    def _leave(self) -> None:
        """Record no more, and end the version if the response is not complete: the block cannot
        know that it is not.
        """
        over, self._over = self._over, True
        if (
            over
            or self._recording is None
            or self._mapper is None
            or self._mapper.output.complete
            or self._pub.closed
        ):
            return
        builder = self._recording.builder
        self._push(
            builder.abort()
            if self._mapper.output.failure is None
            else builder.error(MASKED_ERROR_TEXT)
        )

    def _push(self, chunks: list[Chunk]) -> None:
        push_fitting(self._pub, chunks, refuse=True)
        self._ahead += sum(map(_weight, chunks))


def _weight(chunk: Chunk) -> int:
    if chunk["type"] in ("text-delta", "reasoning-delta"):
        return len(chunk["delta"])
    texts = sum(len(value) for value in chunk.values() if isinstance(value, str))
    return FRAME + texts + NESTED * sum(isinstance(value, dict | list) for value in chunk.values())


def _is_cancelled() -> bool:
    """Whether the current task is being cancelled: its publisher's block then decides how the
    version ends.
    """
    try:
        task = asyncio.current_task()
    except RuntimeError:
        return False
    return task is not None and task.cancelling() > 0
