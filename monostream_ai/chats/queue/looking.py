"""Looks after the chats in which questions wait.

Every process looks at a chat when a wake-up says that something has changed, and in any case one
process sweeps them now and then.
"""

from __future__ import annotations

import asyncio
import math
from collections import defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from functools import partial
from typing import Any, Final

from monostream_ai._periodic import start_task, sweeping
from monostream_ai.chats.queue.advancing import SOON
from monostream_ai.chats.queue.questions import Questions
from monostream_ai.chats.turns.finishing import all_changes
from monostream_ai.chats.turns.names import QUEUE_PREFIX, queue_stream_id
from monostream_ai.chats.turns.runner import TurnRunner
from monostream_ai.errors import ServiceClosed
from monostream_ai.service import DurableStreamService
from monostream_ai.types import WakeUp

QUIET: Final = 0.3
"""Seconds without a chunk after which a turn is looked at: it may have ended. Its readers have the
same time to read the end before the next turn supersedes it.
"""

AT_ONCE: Final = 20
"""Chats that one process looks at concurrently."""


class Lookout:
    """Looks at each chat in which questions wait, whenever something may have changed.

    Args:
        advance: Begins the next question of a chat, as `Advancer.advance`.
        stream_prefix: Of the streams of the chats.
    """

    def __init__(
        self,
        service: DurableStreamService[Any],
        questions: Questions,
        runner: TurnRunner,
        advance: Callable[[str], Awaitable[float | None]],
        *,
        stream_prefix: str,
    ) -> None:
        self._service = service
        self._questions = questions
        self._runner = runner
        self._advance = advance
        self._lists = queue_stream_id(stream_prefix)
        self._known: set[str] = set()
        """Streams of chats in which questions wait."""
        self._due: dict[str, float] = {}
        """When to look at a chat, by the clock of the loop."""
        self._hint = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._stays = False
        """Whether that task goes on while no question waits."""
        self._knows_all = False
        """Whether this process has read which chats have questions."""
        self._tasks: dict[asyncio.Task[None], str] = {}
        self._changed: defaultdict[str, set[asyncio.Event]] = defaultdict(set)

    @asynccontextmanager
    async def running(self, *, every: float) -> AsyncIterator[None]:
        """Begin questions of all processes until the block is left. Outside of it, this process
        begins questions only while it knows of some that wait, and sweeps for no others.

        Args:
            every: Seconds between sweeps for chats that no wake-up announced.
        """
        self._stays = True
        task = self._task or self._start_work()
        try:
            report = self._service._runtime.errors.report
            async with sweeping(self._sweep, every=every, on_error=report, name="questions"):
                yield
        finally:
            self._stays = False
            left = [task, *self._tasks]
            for each in left:
                each.cancel()
            await asyncio.wait(left)

    @contextmanager
    def telling(self, stream_id: str, event: asyncio.Event) -> Iterator[None]:
        """Set an event when the questions of a chat may have changed, until the block is left.

        The chat is looked after from then on, whichever process took the questions.
        """
        self.look_at(stream_id)
        events = self._changed[stream_id]
        events.add(event)
        try:
            yield
        finally:
            events.discard(event)
            if not events:
                self._changed.pop(stream_id, None)

    def on_wake_up(self, wake_up: WakeUp) -> None:
        """Look at a chat whose list has changed, and at one whose turn may have ended (see
        `Listener`).
        """
        if wake_up.stream_id.startswith(self._lists):
            stream_id = wake_up.stream_id.removeprefix(QUEUE_PREFIX)
            self.look_at(stream_id)
            for event in self._changed.get(stream_id, ()):
                event.set()
        elif wake_up.stream_id in self._known:
            self.look_at(wake_up.stream_id, after=QUIET)

    def on_resync(self) -> None:
        """Look at all chats in which questions wait (see `Listener`)."""
        for stream_id in self._known:
            self.look_at(stream_id)
        for events in self._changed.values():
            for event in events:
                event.set()

    def look_at(self, stream_id: str, *, after: float = 0.0) -> None:
        """Look at a chat after so many seconds."""
        self._due[stream_id] = asyncio.get_running_loop().time() + after
        self._hint.set()
        # Perhaps nobody has entered the lifespan, and a question must not wait for ever.
        if self._task is None and not self._runner.draining:
            self._start_work()

    @property
    def _has_work(self) -> bool:
        return bool(self._due or self._tasks or self._known)

    def _start_work(self) -> asyncio.Task[None]:
        self._service._runtime.listeners.append(self)
        # Another process may have received questions behind a turn of this one, and the notifier
        # need not have said so: SQLite's names no stream.
        self._runner.on_end = partial(self.look_at, after=QUIET)
        self._task = start_task(self._run(), name="questions")
        self._task.add_done_callback(self._end_work)
        return self._task

    def _end_work(self, task: asyncio.Task[None]) -> None:
        self._service._runtime.listeners.remove(self)
        self._task = None

    async def _run(self) -> None:
        time = asyncio.get_running_loop().time
        while self._stays or (self._has_work and not self._service.closing):
            self._hint.clear()
            for stream_id in [each for each, due in self._due.items() if due <= time()]:
                del self._due[stream_id]
                if stream_id in self._tasks.values():
                    self.look_at(stream_id, after=SOON)
                    continue
                while len(self._tasks) >= AT_ONCE:
                    await asyncio.wait(self._tasks, return_when=asyncio.FIRST_COMPLETED)
                task = start_task(self._attend(stream_id), name=f"questions {stream_id}")
                self._tasks[task] = stream_id
                task.add_done_callback(self._attended)
            left = min(self._due.values(), default=math.inf) - time()
            if not self._stays:
                # Nothing announces that the service is closing.
                left = min(left, self._service._runtime.poll_interval)
            with suppress(TimeoutError):
                async with asyncio.timeout(None if left == math.inf else max(0.0, left)):
                    await self._hint.wait()

    def _attended(self, task: asyncio.Task[None]) -> None:
        del self._tasks[task]
        self._hint.set()

    async def _attend(self, stream_id: str) -> None:
        self._known.add(stream_id)
        try:
            while (again := await self._advance(stream_id)) == 0:
                pass
        except ServiceClosed:
            self._known.discard(stream_id)
            return
        # Whatever a store raises: a sweep looks again.
        except Exception as error:
            self._service._runtime.errors.report("questions", error)
            return
        if again is None:
            self._known.discard(stream_id)
        elif again < math.inf:
            self.look_at(stream_id, after=again)

    async def _sweep(self) -> None:
        if not self._knows_all:
            await self._look_at_all()
        while not self._service.closing:
            found = await self._service.unattended(prefix=self._lists, limit=AT_ONCE, state="open")
            for info in found:
                if await self._questions.keep(info):
                    self.look_at(info.stream_id.removeprefix(QUEUE_PREFIX))
            if len(found) < AT_ONCE:
                return
        raise ServiceClosed

    async def _look_at_all(self) -> None:
        """Look at each chat in which questions wait, so that a wake-up of its turn is heeded: the
        process that knew of them may have exited, while a worker writes the answer before them.
        """
        _, lists = await all_changes(self._service, self._lists, None)
        for info in lists:
            self.look_at(info.stream_id.removeprefix(QUEUE_PREFIX))
        self._knows_all = True
