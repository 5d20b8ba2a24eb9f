"""Writing one version of a stream."""

from __future__ import annotations

import asyncio
import logging
from types import TracebackType
from typing import Any, Generic, Literal, Self

from monostream_ai._runtime import Machinery
from monostream_ai._writing.cancelling import Interruption
from monostream_ai._writing.open_version import OpenVersion
from monostream_ai._writing.shielding import finish_despite_cancel
from monostream_ai.errors import MASKED_ERROR_TEXT, MonostreamError, PublisherClosed, ServiceClosed
from monostream_ai.protocol import C, ChunkProtocol
from monostream_ai.types import Cursor, Ending, Lease, Opening, WakeUp, log_fields

logger = logging.getLogger(__name__)

OnCancel = Literal["abort", "release"]


class Publisher(Generic[C]):
    """The one writer of a version; made by `service.publisher`.

    `async with` opens the version and ends it: with the protocol's finish when the block completes,
    its error when the block raises, its abort when the block is cancelled. If the version is taken
    away meanwhile (a stop, a newer version), the block's task is cancelled and the block raises
    `StreamStopped` or `Fenced`.
    """

    def __init__(
        self,
        machinery: Machinery,
        protocol: ChunkProtocol[C],
        stream_id: str,
        version: int | None,
        opening: Opening,
        *,
        on_cancel: OnCancel,
    ) -> None:
        self._machinery = machinery
        self._protocol = protocol
        self._stream_id = stream_id
        self._asked_version = version
        self._opening = opening
        self._on_cancel = on_cancel
        self._interruption = Interruption()
        self._opening_lock = asyncio.Lock()
        self._open_version: OpenVersion[C] | None = None
        self.kept: dict[type[Any], Any] = {}
        """What those who write here must remember between two uses of this publisher, each under a
        type of its own.
        """

    @property
    def stream_id(self) -> str:
        return self._stream_id

    @property
    def version(self) -> int:
        """The version that was opened. Raises `PublisherClosed` before `open`."""
        return self._opened.lease.version

    @property
    def message_id(self) -> str | None:
        return self._opening.message_id

    @property
    def attempt(self) -> int:
        """1 for a first run, more for a version that repeats a lost one."""
        return self._opening.attempt

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
        return self._open_version is not None and self._open_version.closed

    @property
    def dropped(self) -> int:
        """Chunks that were pushed after the end, or after a failure, and went nowhere."""
        return 0 if self._open_version is None else self._open_version.dropped

    async def open(self) -> Self:
        """Acquire the version; older ones are fenced when it returns. Safe to call again, also
        after a failure.

        Raises:
            VersionConflict: The explicit version, or a newer one, exists.
            StoreUnavailable: The store did not answer; a version may have been opened and will
                count as lost.
        """
        async with self._opening_lock:
            if self._open_version is None:
                self._open_version = await self._acquire()
        return self

    async def write(self, *chunks: C) -> int:
        """Store chunks, all or none, in order; return the id of the last one.

        Durable when it returns. A terminal chunk closes the version in the same commit. If the call
        is cancelled, the chunks still land.

        Raises:
            InvalidChunk, ChunkTooLarge: Nothing of this call was written.
            StreamClosed, StreamStopped, Fenced, StreamDeleted: The version is not ours to write any
                more; nothing was written.
            PublisherClosed: The publisher was not opened, or it was released.
            WrongEventLoop: It was opened in another event loop.
            ChunkRefused: The table's column cannot hold a chunk; nothing of this call was written.
            StoreUnavailable: The store did not answer for longer than the outage timeout.
        """
        return await self._opened.write(chunks)

    def push(self, *chunks: C) -> None:
        """Queue chunks without waiting, from any thread, in order with `write`.

        A failure to store them interrupts the block as a stop does, and is raised by the next
        `write`, `flush` or `close`. Chunks pushed after the end are counted in `dropped`.

        Raises:
            InvalidChunk, ChunkTooLarge: Nothing of this call was queued.
            Overflow: More is waiting for the event loop than fits, and this is lost: the version
                will end with an error.
            PublisherClosed: The publisher was not opened.
        """
        self._opened.push(chunks)

    async def flush(self) -> None:
        """Wait until everything written and pushed so far is durable; raise what `write` would."""
        await self._opened.flush()

    async def close(
        self, ending: Ending = "finish", *, error_text: str = MASKED_ERROR_TEXT
    ) -> None:
        """End the version with the protocol's chunks for this ending; without effect if this
        publisher ended it before.

        Args:
            error_text: What a user may read about an error; never put an exception's text here
                unasked.

        Raises:
            StreamStopped, Fenced, StreamClosed, StoreUnavailable: As `write`.
        """
        await self._opened.close(ending, error_text)

    async def release(self) -> None:
        """Give the version up without an ending: its readers get `PublisherLost` at once, and
        another process may take over.
        """
        await self._opened.release()

    async def __aenter__(self) -> Self:
        self._interruption.enter()
        return await self.open()

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        try:
            swallowed = await finish_despite_cancel(self._finish(error))
        except BaseException:
            self._interruption.withdraw()
            raise
        self._interruption.leave(error, swallowed)

    async def _acquire(self) -> OpenVersion[C]:
        machinery = self._machinery
        await machinery.ready()
        version = await machinery.store.acquire(self._stream_id, self._asked_version, self._opening)
        lease = Lease(self._stream_id, version, self._opening.token)
        if machinery.closed:
            await machinery.store.release(lease)
            raise ServiceClosed
        opened = OpenVersion(
            machinery, self._protocol, lease, self._interruption, message_id=self.message_id
        )
        machinery.leases.add(lease, opened)
        machinery.announce(WakeUp(self._stream_id, version, -1))
        logger.info(
            "opened stream %r version %d",
            self._stream_id,
            version,
            extra=log_fields(self._stream_id, version),
        )
        return opened

    async def _finish(self, error: BaseException | None) -> None:
        try:
            await self._end_as(error)
        except MonostreamError as failure:
            # The block's own error has said it already.
            if self._interruption.error is not None or isinstance(error, type(failure)):
                return
            if error is None:
                raise
            fields = log_fields(self._stream_id, self.version)
            logger.warning(
                "could not end stream %r version %d: %s",
                self._stream_id,
                self.version,
                failure,
                extra=fields,
            )
        finally:
            self._opened.abandon()

    async def _end_as(self, error: BaseException | None) -> None:
        opened = self._opened
        if opened.released:
            return
        if opened.closed:
            # A pushed terminal chunk may still be on its way.
            await opened.flush()
        elif isinstance(error, Exception) or opened.trouble is not None:
            await self.close("error")
        elif error is None:
            await self.close("finish")
        elif self._on_cancel == "release":
            await opened.release()
        else:
            await self.close("abort")

    @property
    def _opened(self) -> OpenVersion[C]:
        if self._open_version is None:
            raise PublisherClosed(self._stream_id, None)
        return self._open_version
