"""Records the events of a model's stream while they pass through to the program.

The mapping to chunks belongs to each SDK's own module; reading and closing is in `streams`.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable
from contextlib import suppress
from functools import partial
from types import TracebackType
from typing import Any, Final, Generic, Protocol, Self, TypeAlias

from monostream_ai._writing.publisher import Publisher
from monostream_ai.errors import MASKED_ERROR_TEXT, InvalidChunk, StreamClosed
from monostream_ai.recording.message import Recording, recording_of
from monostream_ai.recording.model_output import ModelOutput, leftovers_of
from monostream_ai.recording.overlap import Overlap
from monostream_ai.recording.streams import E, Stream, check_stream, close_stream, events_of
from monostream_ai.threads import SyncPublisher
from monostream_ai.types import Ending, check_function
from monostream_ai.ui_messages import Chunk
from monostream_ai.ui_messages.chunks import DELTA_KEYS
from monostream_ai.ui_messages.file_hook import Files, note_files
from monostream_ai.ui_messages.sinks import check_sink

AHEAD: Final = 2 * 1024 * 1024
"""Characters that a stream may be ahead of the store before it waits.

This keeps it below `MAX_WAITING`. No model writes so fast, but a stream read from a file may.
"""
FRAME: Final = 128
"""Characters assumed for the keys and ids of a chunk.

None for deltas, since waiting ones are merged.
"""
NESTED: Final = 256 * 1024
"""Characters assumed for an object or array, since measuring it would take longer."""


class Mapper(Protocol):
    """Turns the events of one stream of an SDK into chunks, without any I/O."""

    @property
    def output(self) -> ModelOutput:
        """The response that is running, or the last one.

        Its `complete` says whether the stream may end here, and its `failure` is raised at the end.
        """
        ...

    def feed(self, event: Any) -> list[Chunk]:
        """Return the chunks for the next event; never a `finish`, `error` or `abort`.

        Whatever it raises ends the capture like an error of the stream.
        """
        ...


NewMapper: TypeAlias = Callable[[Recording], Mapper]


def record(
    stream: Stream[E], pub: Publisher[Chunk], mapper: NewMapper, *, files: Files | None = None
) -> Capture[E]:
    """Iterate over the events of any SDK, and record them to an open publisher as chunks.

        async for event in record(stream, pub, MyMapper): ...

    Several streams, one after another, make one message, also from different SDKs.

    Args:
        stream: An async or sync iterable, or a context manager that opens one. It is closed at the
            end; a sync one is read in threads.
        mapper: A class or function that makes a new mapper for this stream. It is given the
            recording that all captures of the publisher share.
        files: Stores the large files of the answer, here and in later captures of this publisher:
            a `FileHook`, or an async function from bytes and media type to a URL. Without it, a
            file that is too large to store becomes a text that says so.

    Raises:
        TypeError: `stream` is no stream, `pub` is no publisher, `mapper` cannot be called, or
            `files` is not an async function.
    """
    check_stream(stream)
    check_publisher(pub)
    if not callable(mapper):
        raise TypeError(f"mapper is a {type(mapper).__name__}: pass a class or function")
    check_function("mapper", mapper)
    note_files(pub, files)
    return Capture(stream, pub, mapper)


async def consume_stream(
    stream: Stream[E], pub: Publisher[Chunk], mapper: NewMapper, *, files: Files | None = None
) -> None:
    """Record a stream to its end, and return when it is durable; otherwise like `record`."""
    async for _ in record(stream, pub, mapper, files=files):
        pass


class Capture(Generic[E]):
    """An async iterator that passes events through and records them; made by `record` or `capture`.

    When the loop ends by itself, the response is complete and durable, and leaving the publisher's
    block writes `finish` with the model's reason. In every other case the HTTP stream is closed:

    - An error of the stream closes the parts that it left open. Catch it to try again; if it leaves
      the publisher's block, the block records it as an error, and a cancellation as an abort.
    - Leaving the loop before the response is complete, as by `break`, ends the version at once: as
      an abort, or as an error if the model had reported one. This happens when the iterator is
      dropped, so keep no reference to it; or use `async with` or `aclose`, which do not depend on
      the garbage collector.

    Raises (from `anext`):
        TruncatedStream: The stream ended before the response was complete. The SDK does not report
            this.
        ResponseFailed: The model reported an error, which the SDK yields as an event. Raised at the
            end of the stream.
        StreamClosed, StreamStopped, Fenced, StoreUnavailable: As `pub.write`.
        RuntimeError: Two loops read it at once.
        Any error that the stream raises.
    """

    def __init__(
        self,
        stream: Stream[E],
        pub: Publisher[Chunk],
        mapper: NewMapper,
        overlap: Overlap | None = None,
    ) -> None:
        self._over = False
        self._overlap = overlap
        """The stored chunks that the stream may make again."""
        self._pub = pub
        self._stream: Stream[E] | None = stream
        """The stream until it is read. From then on `_events` closes it."""
        self._events: AsyncGenerator[E, None] = events_of(stream)
        self._reading = False
        self._new_mapper = mapper
        self._mapper: Mapper | None = None
        self._recording: Recording | None = None
        self._ahead = 0

    def __repr__(self) -> str:
        return f"<{type(self).__name__} of {self._pub!r} {self._state}>"

    def tool_result(self, call_id: str, *, output: Any = None, error: str | None = None) -> None:
        """Record the result of a tool that the program ran, before the next stream is captured.

        A call whose arguments are not valid JSON already has that as its error, and keeps it.

        Args:
            call_id: The id that the model gave the call.
            output: Any value; it is shown as JSON.
            error: Text about the failure of the tool, shown to the user instead of an output.

        Raises:
            InvalidArgument: Both an output and an error are given.
            InvalidChunk: This message has no such call, or the call has its result already.
        """
        recording = self._recording_with(call_id)
        self._push(recording.tool_result(call_id, output=output, error=error))

    def ask_approval(self, call_id: str, *, reason: str | None = None) -> None:
        """Ask the user whether a call may run. A turn that ends then goes on with the decision:
        see `ChatTurn.run_approved`.

        Nobody is asked about a call whose arguments are not valid JSON; that is its error.

        Args:
            call_id: The id that the model gave the call.
            reason: Text for the page, as `approval.requestReason`.

        Raises:
            InvalidChunk: This message has no such call, or the call has its result already.
        """
        self._push(self._recording_with(call_id).ask_approval(call_id, reason=reason))

    def _recording_with(self, call_id: str) -> Recording:
        if self._recording is None:
            raise InvalidChunk(
                "$.toolCallId", f"nothing was captured yet, so there is no call {call_id!r}"
            )
        return self._recording

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> E:
        if self._over:
            raise StopAsyncIteration
        if self._reading:
            raise RuntimeError(f"{self!r} is read by two loops at once: use one")
        self._reading = True
        try:
            return await self._next()
        finally:
            self._reading = False

    async def _next(self) -> E:
        try:
            mapper = self._mapper or await self._begin()
            if self._pub.closed:
                await self._pub.flush()
                raise StreamClosed(self._pub.stream_id, self._pub.version)
            self._stream = None
            event = await anext(self._events)
            self._push(self._chunks_of(mapper, event))
            if self._ahead > AHEAD:
                await self._catch_up()
        except StopAsyncIteration:
            await self._end()
            raise
        except BaseException:
            self._give_up()
            await self._close()
            raise
        return event

    def _chunks_of(self, mapper: Mapper, event: E) -> list[Chunk]:
        if self._recording is not None:
            self._recording._catch_up()
        noted = [] if self._recording is None else self._recording.builder.note_anew()
        try:
            return mapper.feed(event)
        except BaseException:
            # Its chunks are lost, but the message counts their parts as begun, and will end them.
            self._push(noted)
            raise

    async def aclose(self) -> None:
        """Close the HTTP stream; if the response is not complete, end the version."""
        self._leave()
        await self._close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if error is not None:
            # The publisher's block sees the same error and records it as the ending.
            self._give_up()
        await self.aclose()

    def __del__(self) -> None:
        # `break` only drops the iterator. The event loop closes the HTTP stream, as it does for any
        # generator that is dropped.
        if not self._over and not _is_cancelled():
            with suppress(RuntimeError):  # the loop is closed: nothing can be stored any more
                self._leave()

    @property
    def _state(self) -> str:
        if self._mapper is not None and self._mapper.output.complete:
            return "complete"
        if self._mapper is not None and self._mapper.output.failure is not None:
            return "failed"
        return "closed" if self._over else "open"

    async def _close(self) -> None:
        await self._events.aclose()
        # A generator that never began closes nothing.
        unread, self._stream = self._stream, None
        if unread is not None:
            await close_stream(unread)

    async def _begin(self) -> Mapper:
        await self._pub.flush()
        self._recording = recording_of(self._pub)
        self._mapper = self._new_mapper(self._recording)
        # It must not hold this capture, which ends the version when it is dropped.
        self._pub._before_end[Recording] = partial(_show_leftovers, self._recording, self._overlap)
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
        """Stop recording, and close open parts. The ending is left to the publisher's block."""
        over, self._over = self._over, True
        if over or self._mapper is None or self._recording is None:
            return
        if not self._mapper.output.complete:
            self._recording._catch_up()
            self._push(self._mapper.output.fail())

    def _leave(self) -> None:
        """Stop recording, and end the version if the response is not complete.

        The publisher's block cannot know that it is not, and would write `finish`.
        """
        over, self._over = self._over, True
        if over or self._mapper is None or self._recording is None:
            return
        if self._mapper.output.complete or self._pub.closed:
            return
        self._recording._catch_up()
        builder, failed = self._recording.builder, self._mapper.output.failure is not None
        held = leftovers_of(self._recording)
        self._push([*held, *(builder.error(MASKED_ERROR_TEXT) if failed else builder.abort())])

    def _push(self, chunks: list[Chunk]) -> None:
        if self._overlap is not None:
            chunks = self._overlap.rest(chunks)
        if self._recording is not None:
            self._recording._push(self._pub, chunks, refuse=True)
        self._ahead += sum(map(_weight, chunks))


def _show_leftovers(
    recording: Recording, overlap: Overlap | None, pub: Publisher[Chunk], ending: Ending
) -> None:
    recording._catch_up()
    held = leftovers_of(recording)
    recording._push(pub, held if overlap is None else overlap.rest(held))


def check_publisher(pub: object) -> None:
    """Check that a capture may write to this.

    Raises:
        TypeError
    """
    if isinstance(pub, SyncPublisher):
        raise TypeError("capture needs a Publisher, not SyncPublisher: use the sync capture")
    if not isinstance(pub, Publisher):
        check_sink("capture", pub)
        raise TypeError(f"capture needs a Publisher, not {type(pub).__name__}")


def _weight(chunk: Chunk) -> int:
    if (delta := DELTA_KEYS.get(chunk["type"])) is not None:
        return len(chunk[delta])
    texts = sum(len(value) for value in chunk.values() if isinstance(value, str))
    return FRAME + texts + NESTED * sum(isinstance(value, dict | list) for value in chunk.values())


def _is_cancelled() -> bool:
    """Whether the current task is being cancelled.

    Its publisher's block then decides how the version ends.
    """
    try:
        task = asyncio.current_task()
    except RuntimeError:
        return False
    return task is not None and task.cancelling() > 0
