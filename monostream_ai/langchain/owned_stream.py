"""A version that belongs to a run instead of a block."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Callable

from monostream_ai._writing.publisher import Publisher
from monostream_ai.errors import Fenced, StreamStopped
from monostream_ai.types import Ending
from monostream_ai.ui_messages import Chunk
from monostream_ai.ui_messages.size_limit import push_fitting

logger = logging.getLogger(__name__)


class OwnedStream:
    """Opens a publisher, takes chunks for it from any thread, and ends it when told, all on the
    service's loop.
    """

    def __init__(self, publisher: Publisher[Chunk], loop: asyncio.AbstractEventLoop) -> None:
        self._publisher = publisher
        self._loop = loop
        self._lock = threading.Lock()
        self._open = False
        self._over = False
        # Bounded in time: a store that does not answer makes `open` fail after the outage timeout.
        self._early: list[Chunk] = []
        self._ending: asyncio.Future[Ending] = loop.create_future()
        self._task: asyncio.Task[None] | None = None
        self._call(self._start)

    @property
    def message_id(self) -> str | None:
        return self._publisher.message_id

    def push(self, *chunks: Chunk) -> None:
        with self._lock:
            if self._open:
                self._publisher.push(*chunks)
            elif not self._over:
                self._early += chunks

    def end(self, ending: Ending) -> None:
        """End the version; only the first call counts."""
        self._call(lambda: self._settle(ending))

    async def wait(self) -> None:
        """Wait until the version has ended, and raise what kept it from that."""
        # Whatever was asked of the loop before this call has been done after one turn of it.
        await asyncio.sleep(0)
        if self._task is not None:
            await asyncio.wait([self._task])
            self._task.result()

    def _start(self) -> None:
        self._task = asyncio.create_task(self._write(), name=f"stream {self._publisher.stream_id}")

    def _settle(self, ending: Ending) -> None:
        if not self._ending.done():
            self._ending.set_result(ending)

    async def _write(self) -> None:
        try:
            async with self._publisher as pub:
                with self._lock:
                    push_fitting(pub, self._early)
                    self._open = True
                await pub.close(await self._ending)
        except (StreamStopped, Fenced) as ended:
            logger.info("the stream of a run has ended: %s", ended)
        finally:
            with self._lock:
                self._over = True
                self._early.clear()

    def _call(self, function: Callable[[], None]) -> None:
        try:
            self._loop.call_soon_threadsafe(function)
        except RuntimeError:
            # The loop is closed, and the service before it, which has released what was open.
            logger.debug("the loop of stream %r is closed", self._publisher.stream_id)
