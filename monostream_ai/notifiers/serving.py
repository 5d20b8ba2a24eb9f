"""The bases of our notifiers: a task for each listener, and one loop that keeps it connected."""

from __future__ import annotations

import asyncio
import logging
from abc import abstractmethod
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from typing import Any, Final

from monostream_ai._backoff import Backoff
from monostream_ai._periodic import start_task
from monostream_ai.interfaces import BackgroundErrors, Listener, Notifier

logger = logging.getLogger(__name__)

PROBE_INTERVAL: Final = 15.0
"""Seconds of silence after which the connection is probed; nothing else notices a server that froze
without closing its socket.
"""

PROBE_TIMEOUT: Final = 5.0
"""Seconds that the server has to answer a probe."""

SELF_TEST_TIMEOUT: Final = 2.0
"""Seconds in which a message to ourselves must arrive."""

FIRST_RETRY: Final = 0.1
LAST_RETRY: Final = 5.0
"""Seconds before another attempt to connect; they double from the first to the last."""

DEAF_RETRY: Final = 60.0
"""Seconds before another attempt where the server accepts the subscription and delivers nothing."""


class Deaf(Exception):
    """The server accepted the subscription, but the self-test did not arrive."""


class ServingNotifier(Notifier):
    """Runs `_serve` for each listener, until the listener leaves or the notifier is closed."""

    def __init__(self) -> None:
        self._healthy = False
        self._tasks: set[asyncio.Task[None]] = set()

    def __repr__(self) -> str:
        state = "healthy" if self.healthy else "not healthy"
        return f"<{type(self).__name__} {self._address()}, {state}>"

    @property
    def healthy(self) -> bool:
        return self._healthy

    async def listen(
        self, listener: Listener, on_error: BackgroundErrors
    ) -> Callable[[], Awaitable[None]]:
        task = start_task(self._serve(listener, on_error))
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
    def _address(self) -> str:
        """Return the server or the file, without secrets."""

    @abstractmethod
    async def _serve(self, listener: Listener, on_error: BackgroundErrors) -> None:
        """Deliver to the listener until cancelled, whatever fails."""

    def _set_healthy(self, healthy: bool, listener: Listener) -> None:
        if healthy != self._healthy:
            self._healthy = healthy
            listener.on_resync()


class SubscribingNotifier(ServingNotifier):
    """Hears a server over one connection for each listener, and connects again when it is lost.

    Args:
        channel: Processes hear each other on the same channel of the same server.
    """

    def __init__(self, channel: str) -> None:
        super().__init__()
        self._channel = channel
        self._owned = False
        self.malformed = 0
        """Messages on the channel that were not ours."""

    @abstractmethod
    def _subscribed(self, listener: Listener) -> AbstractAsyncContextManager[Any]:
        """Connect, subscribe and pass the self-test; the value is for `_watch`. Raises Deaf."""

    @abstractmethod
    async def _watch(self, subscription: Any, listener: Listener) -> None:
        """Deliver, and probe a silent server. Returns or raises once the connection is lost."""

    async def _serve(self, listener: Listener, on_error: BackgroundErrors) -> None:
        backoff = Backoff(FIRST_RETRY, LAST_RETRY)
        while True:
            deaf = False
            try:
                async with self._subscribed(listener) as subscription:
                    end_if_cancelled()
                    self._healthy = True
                    # Always, not only if `healthy` changed: this listener may have missed wake-ups
                    # before it was connected.
                    listener.on_resync()
                    logger.debug("%r hears wake-ups", self)
                    backoff.reset()
                    await self._watch(subscription, listener)
            except Deaf:
                deaf = True
            # Wrong names, refused logins, broken sockets: only a cancellation ends this loop.
            except Exception as error:
                on_error("listen", error)
            self._set_healthy(False, listener)
            end_if_cancelled()
            delay = DEAF_RETRY if deaf else backoff.next()
            logger.debug("%r connects again in %.1f s", self, delay)
            await asyncio.sleep(delay)


def end_if_cancelled() -> None:
    """Raise the CancelledError that a library swallowed, as redis-py does while it connects."""
    task = asyncio.current_task()
    if task is not None and task.cancelling():
        raise asyncio.CancelledError
