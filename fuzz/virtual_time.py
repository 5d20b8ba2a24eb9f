"""An event loop whose clock jumps: when every task waits, it is at once the time of the next timer.

Hours of leases and polls cost nothing, and the same choices give the same interleaving every time.
"""

from __future__ import annotations

import asyncio
import heapq
import itertools
from asyncio import events
from collections import deque
from collections.abc import Callable, Coroutine
from contextvars import Context, copy_context
from typing import Any, Final, TypeVar

T = TypeVar("T")

BUSY: Final = 100_000
"""Turns of the loop without passing time after which tasks must be going round in circles."""

LONGEST: Final = 10_000.0
"""Seconds of virtual time after which a scenario that cannot be cancelled is given up."""

ExceptionHandler = Callable[[asyncio.AbstractEventLoop, dict[str, Any]], object]


class Stalled(Exception):
    """Nothing will ever happen again, or the same for ever."""


class VirtualTimeLoop(asyncio.AbstractEventLoop):
    """Runs tasks and timers. Without sockets and threads it costs half as much as asyncio's own
    loop.
    """

    def __init__(self) -> None:
        self._now = 0.0
        self._ready: deque[_Handle] = deque()
        self._timers: list[tuple[float, int, _Handle]] = []
        self._order = itertools.count()
        self._turn = 0
        self._due: dict[int, list[asyncio.Future[None]]] = {}
        self._handler: ExceptionHandler | None = None
        self._over = False

    def time(self) -> float:
        return self._now

    def run_until_complete(self, future: Coroutine[Any, Any, T]) -> T:  # type: ignore[override]  # only coroutines come here
        """Run a coroutine to its end.

        Raises:
            Stalled: It never ends.
        """
        events._set_running_loop(self)
        try:
            task = self.create_task(future)
            self._run_until(task)
            return task.result()
        finally:
            events._set_running_loop(None)

    def call_soon(
        self, callback: Callable[..., object], *args: Any, context: Context | None = None
    ) -> _Handle:  # type: ignore[override]
        handle = _Handle(self._now, callback, args, context or copy_context())
        self._ready.append(handle)
        return handle

    call_soon_threadsafe = call_soon  # type: ignore[assignment]

    def call_later(
        self,
        delay: float,
        callback: Callable[..., object],
        *args: Any,
        context: Context | None = None,
    ) -> _Handle:  # type: ignore[override]
        return self.call_at(self._now + delay, callback, *args, context=context)

    def call_at(
        self,
        when: float,
        callback: Callable[..., object],
        *args: Any,
        context: Context | None = None,
    ) -> _Handle:  # type: ignore[override]
        handle = _Handle(when, callback, args, context or copy_context())
        heapq.heappush(self._timers, (when, next(self._order), handle))
        return handle

    def create_future(self) -> asyncio.Future[Any]:
        return asyncio.Future(loop=self)

    def create_task(
        self, coro: Any, *, name: object = None, context: Context | None = None, **options: Any
    ) -> asyncio.Task[Any]:
        return asyncio.Task(coro, loop=self, context=context, **options)

    def turns(self, count: int) -> asyncio.Future[None]:
        """Return a future that is done after so many turns, even if no other task runs in them."""
        future = self.create_future()
        self._due.setdefault(self._turn + count, []).append(future)
        return future

    def set_exception_handler(self, handler: ExceptionHandler | None) -> None:
        self._handler = handler

    def call_exception_handler(self, context: dict[str, Any]) -> None:
        if self._handler is not None:
            self._handler(self, context)

    def get_debug(self) -> bool:
        return False

    def is_running(self) -> bool:
        return events._get_running_loop() is self

    def is_closed(self) -> bool:
        return self._over

    def close(self) -> None:
        """Drop the callbacks and timers that are left."""
        self._over = True
        self._ready.clear()
        self._due.clear()
        self._timers.clear()

    def _run_until(self, task: asyncio.Task[Any]) -> None:
        ready, turns = self._ready, 0
        while not task.done():
            turns = 0 if self._next_turn() else turns + 1
            if turns > BUSY or self._now > LONGEST:
                raise Stalled("tasks go round in circles")
            # Callbacks that become ready meanwhile wait for the next turn.
            for _ in range(len(ready)):
                handle = ready.popleft()
                if handle.callback is not None:
                    self._call(handle)

    def _call(self, handle: _Handle) -> None:
        try:
            handle.context.run(handle.callback, *handle.args)  # type: ignore[arg-type]  # it was not cancelled
        except Exception as error:
            self.call_exception_handler(
                {"message": f"{handle.callback} raised", "exception": error}
            )

    def _next_turn(self) -> bool:
        """Make due callbacks ready, jumping to the next timer if there are none; return whether
        time passed.
        """
        self._release(self._turn + 1)
        # All tasks that waited for a turn may have been cancelled: then it wakes none, and the next
        # is due.
        while self._due and not self._ready:
            self._release(min(self._due))
        timers, passed = self._timers, False
        while timers and timers[0][2].callback is None:
            heapq.heappop(timers)
        if not self._ready:
            if not timers:
                raise Stalled("every task waits for another one and no timer is set")
            passed = timers[0][0] > self._now
            self._now = max(self._now, timers[0][0])
        while timers and timers[0][0] <= self._now:
            self._ready.append(heapq.heappop(timers)[2])
        return passed

    def _release(self, turn: int) -> None:
        self._turn = turn
        for future in self._due.pop(turn, ()):
            if not future.done():
                future.set_result(None)


async def turns(count: int) -> None:
    """Wait for so many turns of the running loop, whichever kind it is."""
    loop = asyncio.get_running_loop()
    if count and isinstance(loop, VirtualTimeLoop):
        await loop.turns(count)
        return
    for _ in range(count):
        await asyncio.sleep(0)


class _Handle:
    """Stands for asyncio's Handle and TimerHandle."""

    __slots__ = ("_when", "args", "callback", "context")

    def __init__(
        self, when: float, callback: Callable[..., object], args: tuple[Any, ...], context: Context
    ) -> None:
        self._when = when
        self.callback: Callable[..., object] | None = callback
        self.args = args
        self.context = context

    def when(self) -> float:
        return self._when

    def cancel(self) -> None:
        self.callback = None

    def cancelled(self) -> bool:
        return self.callback is None
