"""Chunks that are pushed before they are made, such as a file that is still being stored.

They keep their place in the order: a publisher queues nothing behind them until they are made.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Generic

from monostream_ai._writing.encoding import Encoded, encode_chunks
from monostream_ai._writing.outbox import Write
from monostream_ai.protocol import C, ChunkProtocol
from monostream_ai.types import Lease, log_fields

logger = logging.getLogger(__name__)


@dataclass(slots=True, eq=False)
class Push(Generic[C]):
    """Chunks that land together; `encoded` is None while they are still being made.

    `write` is set for those of a call of `write` that waits behind such chunks.
    """

    chunks: Sequence[C]
    encoded: Encoded | None
    write: Write | None = None


@dataclass(frozen=True, slots=True)
class Making(Generic[C]):
    """How to make chunks.

    Attributes:
        make: Called once, in a task on the publisher's loop.
        instead: The chunks to put there if `make` raises, takes over `timeout` seconds, or returns
            chunks that cannot be stored, if the publisher holds too much data, or if its block is
            cancelled.
        size: Characters of data that `make` holds.
    """

    make: Callable[[], Awaitable[Sequence[C]]]
    instead: Sequence[C]
    size: int
    timeout: float


class Later(Push[C]):
    """Chunks in the queue that are still being made. Once created, used on the event loop only.

    Raises:
        InvalidChunk, ChunkTooLarge, WriteTooLarge: For the chunks in `making.instead`.
    """

    def __init__(self, making: Making[C], protocol: ChunkProtocol[C], lease: Lease) -> None:
        super().__init__((), None)
        self.size = making.size
        self.made = asyncio.Event()
        self._making: Making[C] | None = making
        self._timeout = making.timeout
        self._instead = (making.instead, encode_chunks(protocol, making.instead))
        self._protocol = protocol
        self._lease = lease
        self._task: asyncio.Task[None] | None = None
        self._timer: asyncio.TimerHandle | None = None

    def begin(self, loop: asyncio.AbstractEventLoop, on_made: Callable[[], None]) -> None:
        """Begin to make the chunks, unless they were given up; `on_made` is called at the end."""
        making, self._making = self._making, None
        if making is None:
            return
        self._timer = loop.call_later(self._timeout, self._overdue, on_made)
        self._task = loop.create_task(self._make(making.make, on_made), name="make chunks")

    def give_up(self) -> bool:
        """Stop making the chunks and use the others; return False if they were made or given up."""
        settled = self._settle(*self._instead)
        if settled and self._task is not None:
            self._task.cancel()
        return settled

    async def _make(
        self, make: Callable[[], Awaitable[Sequence[C]]], on_made: Callable[[], None]
    ) -> None:
        try:
            chunks = await make()
            self._settle(chunks, encode_chunks(self._protocol, chunks))
        except Exception:
            fields = log_fields(*self._lease[:2])
            logger.warning("chunks could not be made", exc_info=True, extra=fields)
        finally:
            # The work may also have cancelled itself. Nothing waits for it any more.
            self.give_up()
            on_made()

    def _overdue(self, on_made: Callable[[], None]) -> None:
        # A task may ignore its cancellation, so nothing waits for its end.
        if self.give_up():
            fields = log_fields(*self._lease[:2])
            logger.warning("chunks were not made within %g s", self._timeout, extra=fields)
            on_made()

    def _settle(self, chunks: Sequence[C], encoded: Encoded) -> bool:
        if self.encoded is not None:
            return False
        # The data need not be kept until the queue comes to this place.
        self.chunks, self.encoded, self._making = chunks, encoded, None
        if self._timer is not None:
            self._timer.cancel()
        self.made.set()
        return True
