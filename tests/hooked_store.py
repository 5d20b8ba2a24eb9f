"""A store in which a test can hold, fail or count any call."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable
from typing import Any

from monostream_ai.interfaces import Store
from monostream_ai.stores.forwarding import ForwardingStore

Hook = Callable[[], Awaitable[None]]


class HookedStore(ForwardingStore):
    """Awaits `before[method]` and `after[method]` around each call of that method.

    An error of a hook becomes the error of the call.
    """

    def __init__(self, inner: Store) -> None:
        super().__init__(inner)
        self.before: dict[str, Hook] = {}
        self.after: dict[str, Hook] = {}
        self.calls: Counter[str] = Counter()


def _hooked(name: str) -> Callable[..., Awaitable[Any]]:
    forward = getattr(ForwardingStore, name)

    async def method(self: HookedStore, *arguments: Any, **options: Any) -> Any:
        self.calls[name] += 1
        if name in self.before:
            await self.before[name]()
        result = await forward(self, *arguments, **options)
        if name in self.after:
            await self.after[name]()
        return result

    return method


for _name in sorted(ForwardingStore.__dict__.keys() & {*Store.__abstractmethods__, "changes"}):
    setattr(HookedStore, _name, _hooked(_name))


class Gate:
    """A hook that holds all calls until it is opened, and tells when the first one came."""

    def __init__(self) -> None:
        self.reached = asyncio.Event()
        self._opened = asyncio.Event()

    async def __call__(self) -> None:
        self.reached.set()
        await self._opened.wait()

    def open(self) -> None:
        self._opened.set()


def failing_once(error: BaseException) -> Hook:
    """Return a hook that raises the error for the first call only."""
    errors = [error]

    async def fail() -> None:
        if errors:
            raise errors.pop()

    return fail


async def still_waits(task: asyncio.Task[Any]) -> bool:
    """Give a task a moment to end; return whether it still runs."""
    _, waiting = await asyncio.wait([task], timeout=0.05)
    return bool(waiting)


async def cancelled(task: asyncio.Task[Any]) -> None:
    """Cancel a task and wait for its end."""
    task.cancel()
    await asyncio.wait([task])
