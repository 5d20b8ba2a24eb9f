"""Writing one version of a stream."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Awaitable, Callable, Sequence
from types import TracebackType
from typing import Any, Generic, Literal, Self

from monostream_ai._writing.beginning import Beginning
from monostream_ai._writing.cancelling import OutsideError, finish_despite_cancel
from monostream_ai._writing.encoding import encode_chunks
from monostream_ai._writing.later import Later, Making, Push
from monostream_ai._writing.outbox import FAIR_SHARE, Outbox, Write
from monostream_ai._writing.pushes import Pushes
from monostream_ai._writing.writer import Writer
from monostream_ai.errors import (
    MASKED_ERROR_TEXT,
    ChunkRefused,
    MonostreamError,
    PublisherClosed,
    StreamClosed,
    WrongEventLoop,
)
from monostream_ai.protocol import (
    C,
    ChunkProtocol,
    CompletingTranscript,
    NotedProtocol,
    TellingProtocol,
    Transcript,
)
from monostream_ai.types import Cursor, Ending, check_seconds, log_fields

logger = logging.getLogger(__name__)

OnCancel = Literal["abort", "release"]


class Publisher(Generic[C]):
    """The one writer of a version; made by `service.publisher`.

    `async with` opens the version and ends it: with the protocol's finish when the block completes,
    its error when the block raises, its abort when the block is cancelled. If the version is taken
    away meanwhile (a stop, a newer version), the block's task is cancelled and the block raises
    `StreamStopped` or `Fenced`.

    A publisher belongs to the event loop that opened it; only `push` may be called from other
    threads.
    """

    def __init__(
        self,
        writer: Writer,
        ready: Callable[[], Awaitable[None]],
        protocol: ChunkProtocol[C],
        stream_id: str,
        begin: Callable[[], Awaitable[Beginning[C]]],
        *,
        message_id: str | None = None,
        attempt: int = 1,
        on_cancel: OnCancel,
        count_unread: Callable[[str], None],
    ) -> None:
        self._writer = writer
        self._ready = ready
        self._protocol = protocol
        self._stream_id = stream_id
        self._begin = begin
        self._message_id = message_id
        self._attempt = attempt
        self._on_cancel = on_cancel
        self._outside = OutsideError()
        self._transcript = protocol.transcript(message_id)
        self._written: Sequence[C] = ()
        self._opening_lock = asyncio.Lock()
        self._outbox: Outbox | None = None
        # Set by `open`, with the outbox.
        self._pushes: Pushes[C]
        self._loop: asyncio.AbstractEventLoop
        self._thread: int
        self._ended = False
        """Whether the end is written or on its way, or the version was given up."""
        self._released = False
        self._dropped = 0
        self._in_block = False
        self._warned_of_drop = False
        self._last_write: Write | None = None
        self._adapter_state: dict[type[Any], Any] = {}
        """State that capture adapters keep between calls, keyed by type."""
        self._before_end: dict[type[Any], Callable[[Publisher[C], Ending], None]] = {}
        """Functions that push the values which captures still hold back, before an ending."""
        self._notes = protocol.notes() if isinstance(protocol, NotedProtocol) else None
        """The chunks that this publisher was given, for captures that write beside others."""
        self._watch_chunks: Callable[[Sequence[C]], None] | None = None
        """Gets each chunk when it is queued, for a trace."""
        self._count_unread = count_unread
        """Counts a value that a capture could not read, by its SDK. Safe in any thread."""

    def __repr__(self) -> str:
        name = f"{type(self).__name__} {self._stream_id!r}"
        outbox = self._outbox
        if outbox is None:
            return f"<{name} not open>"
        state = "released" if self._released else "closed" if self.closed else "open"
        stored, waiting = outbox.next_id, outbox.waiting
        return f"<{name} v{outbox.lease.version} {state}, {stored} stored, {waiting} waiting>"

    @property
    def stream_id(self) -> str:
        return self._stream_id

    @property
    def version(self) -> int:
        """The version that was opened. Raises `PublisherClosed` before `open`."""
        return self._opened.lease.version

    @property
    def message_id(self) -> str | None:
        """The id that the version was opened with; for a successor, known once it is open."""
        return self._message_id

    @property
    def transcript(self) -> Transcript[C]:
        """The record of the pushed chunks, for the ending. Opening a successor replaces it."""
        return self._transcript

    @property
    def attempt(self) -> int:
        """1 for a first run; more for a version that repeats or goes on with a lost one; 0 if the
        first run is a successor's.
        """
        return self._attempt

    @property
    def written(self) -> Sequence[C]:
        """The chunks of this version that another publisher wrote before it was lost; empty for a
        new version.
        """
        return self._written

    @property
    def next_id(self) -> int:
        """The id that follows the last durable chunk."""
        return self._opened.next_id

    @property
    def cursor(self) -> Cursor:
        """The cursor of the last durable chunk; id -1 before the first."""
        return Cursor(self.version, self.next_id - 1)

    @property
    def closed(self) -> bool:
        """Whether nothing can be written any more: ended, fenced, stopped or failed."""
        return self._outbox is not None and (self._ended or self._outbox.failure is not None)

    @property
    def dropped(self) -> int:
        """How many pushed chunks were not stored, because the version had ended or failed.

        After `StoreUnavailable`, some of those queued before may have been stored all the same.
        """
        return self._dropped + (0 if self._outbox is None else self._outbox.dropped)

    async def open(self) -> Self:
        """Open the version, or take it over; other publishers are fenced when it returns. Safe to
        repeat after a failure.

        Raises:
            StreamClosed, StreamStopped, Fenced, PublisherClosed: This publisher was open and has
                ended. Make a new one for each version.
            VersionConflict: The explicit version, or a newer one, exists.
            UnknownStream, NotLost: There is no such version to take over, or it is not lost; or,
                with `repeats`, the latest version is not lost.
            StoreUnavailable: The store did not answer; a version may have been opened or taken
                over, and will count as lost.
        """
        async with self._opening_lock:
            if self._outbox is None:
                await self._ready()
                begun = await self._begin()
                lease, self._message_id, self._attempt, self._written, transcript = begun
                if transcript is None:
                    transcript = self._protocol.transcript(self._message_id)
                self._transcript = transcript
                self._loop = asyncio.get_running_loop()
                self._thread = threading.get_ident()
                self._pushes = Pushes(self._protocol, lease)
                self._outbox = Outbox(lease, self._writer.load, len(self._written))
                self._writer.hold(lease, self)
            elif self.closed:
                self._check_open()
        return self

    async def write(self, *chunks: C) -> int:
        """Store chunks, all or none, in order; return the id of the last one.

        Durable when it returns. A terminal chunk closes the version in the same commit. If the call
        is cancelled, the chunks still land.

        Raises:
            InvalidChunk, ChunkTooLarge, WriteTooLarge: Nothing of this call was written.
            Overflow: Too much is waiting to be stored, of this publisher or of all in the process;
                nothing of this call was written. It may be repeated later.
            StreamClosed, StreamStopped, Fenced, StreamDeleted: The version may not be written any
                more; nothing was written.
            PublisherClosed: The publisher was not opened, or it was released.
            WrongEventLoop: It was opened in another event loop.
            ChunkRefused: The table's column cannot hold a chunk; nothing of this call was written.
            StoreUnavailable: The store did not answer for longer than the outage timeout.
        """
        outbox = self._drained()
        encoded = encode_chunks(self._protocol, chunks)
        failure = self._failure(outbox)
        if failure is None and outbox.size > FAIR_SHARE:
            failure = outbox.full
        if failure is not None:
            # All calls raise one object; without this, each would lengthen its traceback.
            raise failure.with_traceback(None)
        if not chunks:
            return outbox.next_id - 1
        write = Write(*encoded)
        done = write.future()
        if self._pushes.waiting:
            # Chunks before these are still being made.
            self._pushes.put_write(chunks, encoded, write)
        else:
            self._queue(outbox, chunks, write)
        if self._notes is not None:
            self._notes.note(chunks)
        try:
            # Shielded: a caller that gives up must not turn what it wrote into something that may
            # or may not land.
            return await asyncio.shield(done)
        except asyncio.CancelledError:
            # Nobody waits for it any more, so it counts as pushed.
            write.pushed = True
            done.add_done_callback(self._on_abandoned_write)
            raise

    def push(self, *chunks: C) -> None:
        """Queue chunks without waiting, from any thread, in order with `write`.

        A failure to store them cancels the block as a stop does, and is raised by the next `write`,
        `flush` or `close`. Chunks pushed after the end are counted in `dropped`.

        Raises:
            InvalidChunk, ChunkTooLarge, WriteTooLarge: Nothing of this call was queued.
            Overflow: More is waiting for the event loop than fits, and these chunks are lost: the
                version will end with an error.
            PublisherClosed: The publisher was not opened.
        """
        outbox = self._opened
        self._pushes.put(chunks)
        if self._notes is not None:
            self._notes.note(chunks)
        if self._thread == threading.get_ident():
            self._drain(outbox)
        else:
            self._loop.call_soon_threadsafe(self._drain, outbox)

    def _push_later(
        self,
        make: Callable[[], Awaitable[Sequence[C]]],
        *,
        instead: Sequence[C],
        size: int,
        timeout: float,
    ) -> None:
        """Queue chunks that are still being made, from any thread. Everything pushed or written
        after them lands after them, and so does the ending; a release and a stop do not wait.

        Args:
            make, instead, size, timeout: As for `Making`.

        Raises:
            InvalidChunk, ChunkTooLarge, WriteTooLarge: For the chunks in `instead`.
            PublisherClosed: The publisher was not opened.
        """
        outbox = self._opened
        making = Making(make, instead, size, timeout)
        later = Later(making, self._protocol, outbox.lease)
        if not self._pushes.put_later(later):
            fields = log_fields(self._stream_id, self.version)
            logger.warning(
                "too much data waits to be stored: its replacement is pushed instead", extra=fields
            )
            self.push(*instead)
            return
        if self._notes is not None:
            self._notes.note(instead)
        if self._thread == threading.get_ident():
            self._begin_making(outbox, later)
        else:
            self._loop.call_soon_threadsafe(self._begin_making, outbox, later)

    def _begin_making(self, outbox: Outbox, later: Later[C]) -> None:
        later.begin(self._loop, lambda: self._drain(outbox))
        self._drain(outbox)

    async def flush(self) -> None:
        """Wait until everything written and pushed so far is durable; raise what `write` would."""
        outbox = self._drained()
        await self._pushes.made()
        await self._last_write_resolved()
        failure = outbox.failure or self._trouble(outbox)
        if failure is not None:
            raise failure

    async def close(
        self, ending: Ending = "finish", *, error_text: str = MASKED_ERROR_TEXT
    ) -> None:
        """End the version with the protocol's chunks for this ending; without effect if this
        publisher ended it before.

        Args:
            error_text: The text a user may read about an error; never an exception's own text.

        Raises:
            StreamStopped, Fenced, StreamClosed, StoreUnavailable: As `write`.
        """
        for push_rest in () if self.closed else self._before_end.values():
            push_rest(self, ending)
        outbox = self._drained()
        if ending == "abort":
            self._hurry()
        else:
            await self._pushes.made()
        if self._ended:
            await self._last_write_resolved()
            if outbox.failure is not None and not self._released:
                raise outbox.failure
            return
        failed = self._trouble(outbox) is not None and ending == "finish"
        try:
            await self._close(outbox, "error" if failed else ending, error_text)
        except ChunkRefused:
            # A chunk pushed before could not be stored; an error still fits behind those that were.
            await self._close(outbox, "error", error_text)
            raise
        trouble = self._trouble(outbox)
        if trouble is not None and ending == "finish":
            raise trouble

    async def release(self, *, handover: bool = False) -> None:
        """Give the version up without an ending: its readers get `PublisherLost` at once, and
        another process may take over.

        Args:
            handover: The work has not failed, so the chat routes charge it no attempt. A cancelled
                block with `on_cancel="release"` says so too.
        """
        await self._writer.release(await self._given_up(), handover=handover)

    async def leave(self, *, within: float) -> None:
        """Store all chunks so far, then leave the version to the first `successor` of any
        process; this publisher writes no more. Readers see a pause.

        Args:
            within: Seconds after which the version counts as lost if it still waits.

        Raises:
            InvalidNumber: `within` is invalid.
            StreamStopped, Fenced, StreamClosed, StreamDeleted, StoreUnavailable: As `write`.
        """
        check_seconds("within", within)
        await self.flush()
        await self._writer.leave(await self._given_up(), within=within)

    async def _given_up(self) -> Outbox:
        """Return the outbox, emptied and closed to further writes."""
        outbox = self._drained()
        self._ended = self._released = True
        self._discard(PublisherClosed(self._stream_id, self.version))
        self._writer.let_go(outbox.lease)
        await self._last_write_resolved()
        outbox.fail(PublisherClosed(self._stream_id, self.version))
        return outbox

    async def __aenter__(self) -> Self:
        if self._in_block:
            raise RuntimeError(f"{self!r} is in a block already: use one block for each publisher")
        self._outside.enter()
        self._in_block = True
        try:
            return await self.open()
        except BaseException:
            self._in_block = False
            raise

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        try:
            swallowed = await finish_despite_cancel(self._finish(error), hurry=self._hurry)
        except BaseException:
            self._outside.withdraw()
            raise
        self._outside.leave(error, swallowed)

    async def _finish(self, error: BaseException | None) -> None:
        try:
            await self._end_as(error)
        except MonostreamError as failure:
            # The block's own error has said it already.
            if self._outside.error is not None or isinstance(error, type(failure)):
                return
            if error is None:
                raise
            logger.warning(
                "could not end stream %r version %d: %s",
                self._stream_id,
                self.version,
                failure,
                extra=log_fields(self._stream_id, self.version),
            )
        finally:
            # Without an ending, the lease lapses.
            self._ended = True
            self._in_block = False
            self._writer.let_go(self._opened.lease)

    async def _end_as(self, error: BaseException | None) -> None:
        if self._released:
            return
        if self.closed:
            # A pushed terminal chunk may still be on its way.
            await self.flush()
        elif isinstance(error, Exception) or self._trouble(self._opened) is not None:
            await self.close("error")
        elif error is None:
            await self.close("finish")
        elif self._on_cancel == "release":
            await self.release(handover=True)
        else:
            await self.close("abort")

    async def _close(self, outbox: Outbox, ending: Ending, error_text: str) -> None:
        chunks = self._transcript.ending(ending, error_text)
        if not chunks and ending in ("error", "lost"):
            # Without a chunk that says so, a clean close would look like success.
            await self.release()
            return
        encoded = encode_chunks(self._protocol, chunks)._replace(closes=True)
        write = Write(*encoded, ending=ending)
        done = write.future()
        self._queue(outbox, chunks, write)
        await asyncio.shield(done)
        fields = log_fields(self._stream_id, self.version)
        logger.info(
            "closed stream %r version %d (%s)", self._stream_id, self.version, ending, extra=fields
        )

    def _lose(self, error: BaseException) -> None:
        """Stop writing: the version was taken over, or can no longer be written (see `Holder`)."""
        if not self._ended:
            outbox = self._opened
            self._writer.let_go(outbox.lease)
            outbox.fail(error)
            self._outside.throw(error)
            self._drain(outbox)

    def _hurry(self) -> None:
        """Give up what is still being made, and queue everything behind it."""
        self._pushes.give_up()
        self._drain(self._opened)

    def _discard(self, error: BaseException) -> None:
        """Drop what is still being made, and everything behind it."""
        self._pushes.give_up()
        while (push := self._pushes.take()) is not None:
            if push.write is None:
                self._dropped += len(push.chunks)
            else:
                push.write.fail(error)

    @property
    def _opened(self) -> Outbox:
        if self._outbox is None:
            raise PublisherClosed(self._stream_id, None)
        return self._outbox

    def _check_open(self) -> None:
        """Raise the error that `write` would, in any thread."""
        failure = self._failure(self._opened)
        if failure is not None:
            raise failure.with_traceback(None)

    def _failure(self, outbox: Outbox) -> BaseException | None:
        """Return why nothing may be written any more."""
        return outbox.failure or (
            StreamClosed(*outbox.lease[:2]) if self._ended else self._trouble(outbox)
        )

    def _trouble(self, outbox: Outbox) -> BaseException | None:
        """Return why the version may only end with an error."""
        return self._outside.error or outbox.incomplete or self._pushes.overflow

    def _drained(self) -> Outbox:
        """Return the outbox with everything pushed so far in it, whatever thread pushed it."""
        outbox = self._outbox
        if outbox is None:
            raise PublisherClosed(self._stream_id, None)
        if asyncio.get_running_loop() is not self._loop:
            raise WrongEventLoop
        if self._pushes.waiting:
            self._drain(outbox)
        return outbox

    def _drain(self, outbox: Outbox) -> None:
        while (push := self._pushes.take()) is not None:
            if (failure := self._failure(outbox)) is not None:
                self._drop(push, failure)
                continue
            try:
                self._queue_push(outbox, push)
            # From another thread nobody would hear of an error that the protocol raises.
            except Exception as error:
                if push.write is None:
                    self._dropped += len(push.chunks)
                    self._outside.throw(error)
                else:
                    push.write.fail(error)
                continue
            if (overflow := outbox.full) is not None and push.write is None:
                self._outside.throw(overflow)
        if self._pushes.waiting and self._failure(outbox) is not None:
            # Nobody waits for chunks that will be dropped.
            self._pushes.give_up()
            self._drain(outbox)

    def _queue_push(self, outbox: Outbox, push: Push[C]) -> None:
        chunks, encoded = push.chunks, push.encoded
        if push.write is not None:
            self._queue(outbox, chunks, push.write)
        elif self._pushes.merge(outbox, chunks):
            self._transcript.feed(chunks[0])
        elif encoded is not None and encoded.payloads:
            write = Write(
                *encoded,
                on_failure=self._on_push_failed,
                pushed=True,
                pushed_chunks=len(chunks),
            )
            self._pushes.remember(chunks, write)
            self._queue(outbox, chunks, write)

    def _drop(self, push: Push[C], failure: BaseException) -> None:
        """Count pushed chunks that come too late, and warn of the first ones."""
        if push.write is not None:
            # Its caller gets the failure.
            push.write.fail(failure)
            return
        self._dropped += len(push.chunks)
        # A stop or a newer version cancels the block. The code in it may then push some last
        # chunks, such as the end of a text, before it has left the block: no reason to warn.
        if not self._warned_of_drop and not (self._in_block and self._outside.error is not None):
            self._warned_of_drop = True
            logger.warning(
                "chunks pushed to stream %r version %d after its end are dropped; "
                "this is said once for each publisher",
                self._stream_id,
                self.version,
                extra=log_fields(self._stream_id, self.version),
            )

    def _queue(self, outbox: Outbox, chunks: Sequence[C], write: Write) -> None:
        if self._watch_chunks is not None:
            self._watch_chunks(chunks)
        for chunk in chunks[:-1]:
            self._transcript.feed(chunk)
        if write.closes and chunks:
            self._complete(chunks[-1], write)
        for chunk in chunks[-1:]:
            self._transcript.feed(chunk)
        self._last_write = write
        if write.closes:
            self._ended = True
            write.future().add_done_callback(self._on_close_resolved)
        self._writer.put(outbox, write)

    def _complete(self, terminal: C, write: Write) -> None:
        """Insert, ahead of a terminal chunk, the chunks that its writer left out, and note why the
        version ends.
        """
        if write.ending is None and isinstance(self._protocol, TellingProtocol):
            write.ending = self._protocol.ending_of(terminal)
        transcript = self._transcript
        if isinstance(transcript, CompletingTranscript) and (
            lead := transcript.before_terminal(terminal)
        ):
            encoded = encode_chunks(self._protocol, lead)
            write.payloads = [*write.payloads[:-1], *encoded.payloads, write.payloads[-1]]
            write.size += encoded.size
            for chunk in lead:
                transcript.feed(chunk)

    async def _last_write_resolved(self) -> None:
        if self._last_write is not None and not self._last_write.resolved:
            await asyncio.wait([self._last_write.future()])

    def _on_abandoned_write(self, done: asyncio.Future[int]) -> None:
        error = done.exception()
        if error is not None:
            self._on_push_failed(error)

    def _on_push_failed(self, error: BaseException) -> None:
        if isinstance(error, ChunkRefused):
            # The log lacks a chunk now, so it must not end as if it were whole.
            self._outside.throw(error)
            self._drain(self._opened)
        else:
            self._lose(error)

    def _on_close_resolved(self, done: asyncio.Future[int]) -> None:
        if isinstance(done.exception(), ChunkRefused):
            self._ended = False
        else:
            self._writer.let_go(self._opened.lease)
