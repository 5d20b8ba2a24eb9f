"""Runs turns in tasks, and drains them on shutdown.

Each turn has a task of its own, which no HTTP response owns, so a client that leaves stops nothing.
"""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Final, NamedTuple, Protocol

from monostream_ai.chats.exit_signals import reloading
from monostream_ai.chats.turns.finishing import Finisher
from monostream_ai.chats.turns.requests import RequestRefused
from monostream_ai.chats.turns.tracing import question_traced
from monostream_ai.chats.turns.turn import Assignment, may_run_again
from monostream_ai.service import DurableStreamService

RELEASE_TIMEOUT: Final = 5.0
"""Seconds that a cancelled reply gets to release its version."""


class Work(Protocol):
    """Has turns written: a `TurnWriter` here, a `Dispatcher` by workers."""

    async def write(self, assignment: Assignment, opened: asyncio.Future[None]) -> None:
        """Do the work; `opened` is done once a response may read the version, or gets the error."""


class _Start(NamedTuple):
    assignment: Assignment
    opened: asyncio.Future[None]


class TurnRunner:
    """Keeps and awaits the task of each turn.

    Args:
        max_attempts: As for `create_chat_router`.
        drain_timeout: Seconds that running replies get when the process exits. Then they are
            cancelled and release their versions, so another process may take over at once. Under a
            reloader, those that have an attempt left are cancelled without a wait.
    """

    def __init__(
        self,
        service: DurableStreamService[Any],
        work: Work,
        finisher: Finisher,
        *,
        max_attempts: int,
        drain_timeout: float,
    ) -> None:
        self._service = service
        self._work = work
        self._finisher = finisher
        self._max_attempts = max_attempts
        self._drain_timeout = drain_timeout
        # The event loop holds tasks weakly, so a task that nothing else holds may be collected.
        self._tasks: dict[asyncio.Task[None], _Start] = {}
        self._drain: asyncio.Task[None] | None = None
        self.on_end: Callable[[str], None] = lambda stream_id: None
        """Called with the stream of each turn whose task has ended here."""

    @property
    def draining(self) -> bool:
        """Whether turns may no longer start here."""
        return self._drain is not None or self._service.closing

    async def start(self, assignment: Assignment) -> None:
        """Acquire the version, store its `start`, and have the reply run, here in a task of its own
        or by a worker.

        Returns before the reply begins. The turn goes on if the caller is cancelled.

        Raises:
            VersionConflict: This version or a newer one is taken.
            NotLost: Another process has taken the lost version over, or ended it.
            StoreUnavailable: The version could not be acquired.
            RequestRefused: The process is shutting down, or the turn could not be dispatched.
        """
        if self.draining:
            raise RequestRefused(503, "The server is restarting. Please try again.")
        with question_traced(self._service, assignment) as traced:
            await asyncio.shield(self._begin(traced))

    def _begin(self, assignment: Assignment) -> asyncio.Future[None]:
        opened: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        # asyncio reports an error that nobody retrieves, and a cancelled caller retrieves none.
        opened.add_done_callback(lambda done: done.cancelled() or done.exception())
        task = asyncio.create_task(
            self._work.write(assignment, opened),
            name=f"turn {assignment.stream_id} {assignment.version}",
        )
        self._tasks[task] = _Start(assignment, opened)
        task.add_done_callback(self._ended)
        return opened

    def _ended(self, task: asyncio.Task[None]) -> None:
        self.on_end(self._tasks.pop(task).assignment.stream_id)

    def begin(self) -> None:
        """Let turns start, also after a drain: a program of tests runs one application often."""
        self._drain = None

    def begin_exit(self) -> None:
        """Break responses off and start to drain, without waiting for the server's shutdown.

        A server may wait for a client that does not read, and shut down late.
        """
        self._service.begin_shutdown()
        self._service._clock.ring()
        self._begin_drain()

    async def drain(self) -> None:
        """Let running turns end for `drain_timeout` seconds, then cancel the others.

        Under a reloader, hand them over at once.
        """
        await self._begin_drain()

    def _begin_drain(self) -> asyncio.Task[None]:
        if self._drain is None:
            self._drain = asyncio.create_task(self._end_turns(), name="drain")
        return self._drain

    async def _end_turns(self) -> None:
        if reloading():
            self._hand_over()
        if self._tasks:
            _, left = await asyncio.wait(self._tasks, timeout=self._drain_timeout)
            for task in left:
                task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=RELEASE_TIMEOUT)
        with suppress(TimeoutError):
            async with asyncio.timeout(self._drain_timeout):
                await self._finisher.idle()
        await self._finisher.cancel()

    def _hand_over(self) -> None:
        """Cancel the turns that may run again, each once its version is open."""
        for task, (assignment, opened) in self._tasks.items():
            handovers = assignment.handovers + 1
            if may_run_again(assignment.attempt, handovers, self._max_attempts):
                opened.add_done_callback(functools.partial(_cancel, task))


def _cancel(task: asyncio.Task[None], opened: asyncio.Future[None]) -> None:
    task.cancel()
