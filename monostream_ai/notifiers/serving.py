"""What notifiers share that serve each listener with a task."""

from __future__ import annotations

import asyncio
from abc import abstractmethod
from collections.abc import Awaitable, Callable

from monostream_ai.interfaces import BackgroundErrors, Listener, Notifier


class ServingNotifier(Notifier):
    """Runs `_serve` for each listener until it leaves or the notifier is closed."""

    def __init__(self) -> None:
        self._healthy = False
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def healthy(self) -> bool:
        return self._healthy

    async def listen(
        self, listener: Listener, on_error: BackgroundErrors
    ) -> Callable[[], Awaitable[None]]:
        task = asyncio.get_running_loop().create_task(self._serve(listener, on_error))
        self._tasks.add(task)

        async def unlisten() -> None:
            self._tasks.discard(task)
            task.cancel()
            await asyncio.wait([task])

        return unlisten

    async def aclose(self) -> None:
        tasks, self._tasks = self._tasks, set()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self._healthy = False

    @abstractmethod
    async def _serve(self, listener: Listener, on_error: BackgroundErrors) -> None:
        """Deliver to the listener until cancelled, whatever fails."""

    def _set_healthy(self, healthy: bool, listener: Listener) -> None:
        if healthy != self._healthy:
            self._healthy = healthy
            listener.on_resync()
