"""Runs replies in tasks of their own, which no HTTP response owns."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any, Final, TypeAlias

from monostream_ai._writing.publisher import Publisher
from monostream_ai.errors import Fenced, StreamStopped
from monostream_ai.fastapi.finishing import Finisher
from monostream_ai.fastapi.requests import RequestRefused
from monostream_ai.fastapi.silence import silence_limit
from monostream_ai.fastapi.turns import Assignment, ChatTurn
from monostream_ai.service import DurableStreamService
from monostream_ai.types import log_fields
from monostream_ai.ui_messages import Chunk

logger = logging.getLogger(__name__)

RELEASE_TIMEOUT: Final = 5.0
"""Seconds for a cancelled reply to give its version up."""

Reply: TypeAlias = Callable[[ChatTurn], Awaitable[object]]


class TurnRunner:
    """Keeps and awaits the task of each reply.

    Args:
        max_silence: Seconds without a chunk after which a reply is ended with an error; None sets
            no limit.
        drain_timeout: Seconds that running replies get when the process ends. Then they are
            cancelled and their leases released, so that another process may take over at once.
    """

    def __init__(
        self,
        service: DurableStreamService[Any],
        reply: Reply,
        finisher: Finisher,
        *,
        max_silence: float | None,
        drain_timeout: float,
    ) -> None:
        self._service = service
        self._reply = reply
        self._finisher = finisher
        self._max_silence = max_silence
        self._drain_timeout = drain_timeout
        # The loop itself holds tasks weakly.
        self._tasks: set[asyncio.Task[None]] = set()
        self._drain: asyncio.Task[None] | None = None

    @property
    def draining(self) -> bool:
        """Whether no turn may start here any more."""
        return self._drain is not None or self._service.closing

    async def start(self, assignment: Assignment) -> None:
        """Acquire the version, store its `start`, and let the reply run; returns before the reply
        begins.

        A caller that is cancelled does not stop the turn.

        Raises:
            VersionConflict: Somebody else has this version or a newer one.
            StoreUnavailable: The version could not be acquired.
            RequestRefused: The process is shutting down.
        """
        if self.draining:
            raise RequestRefused(503, "The server is restarting. Please try again.")
        opened: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        # A caller that went away does not look at it, which asyncio would report.
        opened.add_done_callback(lambda done: done.cancelled() or done.exception())
        task = asyncio.create_task(
            self._run(assignment, opened), name=f"turn {assignment.stream_id} {assignment.version}"
        )
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        await asyncio.shield(opened)

    def begin_exit(self) -> None:
        """Break responses off, and begin to drain: a server may wait for a client that does not
        read, and shut down late.
        """
        self._service.begin_shutdown()
        self._begin_drain()

    async def drain(self) -> None:
        """Let running turns end, then cancel them."""
        await self._begin_drain()

    def _begin_drain(self) -> asyncio.Task[None]:
        if self._drain is None:
            self._drain = asyncio.create_task(self._end_turns(), name="drain")
        return self._drain

    async def _end_turns(self) -> None:
        if self._tasks:
            _, left = await asyncio.wait(self._tasks, timeout=self._drain_timeout)
            for task in left:
                task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=RELEASE_TIMEOUT)
        with suppress(TimeoutError):
            async with asyncio.timeout(self._drain_timeout):
                await self._finisher.idle()

    async def _run(self, assignment: Assignment, opened: asyncio.Future[None]) -> None:
        try:
            async with self._publisher(assignment) as pub:
                await pub.write({"type": "start", "messageId": assignment.message_id})
                opened.set_result(None)
                async with silence_limit(pub, self._max_silence):
                    await self._reply(ChatTurn(assignment, pub))
        except (StreamStopped, Fenced) as ended:
            logger.info(
                "turn ended: %s", ended, extra=log_fields(assignment.stream_id, assignment.version)
            )
            _settle(opened, ended)
        except Exception as error:
            if not _settle(opened, error):
                name, version = assignment.stream_id, assignment.version
                logger.exception(
                    "the reply of stream %r version %d failed",
                    name,
                    version,
                    extra=log_fields(name, version),
                )
        finally:
            opened.cancel()
        self._finisher.begin(assignment.stream_id, assignment.version)

    def _publisher(self, assignment: Assignment) -> Publisher[Chunk]:
        return self._service.publisher(
            assignment.stream_id,
            assignment.version,
            message_id=assignment.message_id,
            owner=assignment.owner,
            attempt=assignment.attempt,
            request=assignment.request.body,
            watched=True,
            # Only a drain cancels a turn without ending its version.
            on_cancel="release",
        )


def _settle(opened: asyncio.Future[None], error: Exception) -> bool:
    if opened.done():
        return False
    opened.set_exception(error)
    return True
