"""Readers that wait for news, woken a few at a time."""

from __future__ import annotations

import asyncio
from typing import Final

WOKEN_AT_ONCE: Final = 16
"""Readers woken in one turn of the event loop, so that new requests get in between thousands."""


class Waiters:
    """A set of futures that wait for the same thing."""

    def __init__(self) -> None:
        self._waiting: dict[asyncio.Future[None], None] = {}
        self._due: list[asyncio.Future[None]] = []

    def add(self, waiter: asyncio.Future[None]) -> None:
        self._waiting[waiter] = None

    def discard(self, waiter: asyncio.Future[None]) -> None:
        self._waiting.pop(waiter, None)

    def wake(self) -> None:
        """Wake everyone waiting now; later arrivals wait for the next call."""
        if not self._waiting:
            return
        under_way = bool(self._due)
        # Taken from the end, so those who waited first are woken first.
        self._due[:0] = reversed(self._waiting)
        self._waiting.clear()
        if not under_way:
            self._wake_some()

    def _wake_some(self) -> None:
        some = self._due[-WOKEN_AT_ONCE:]
        del self._due[-WOKEN_AT_ONCE:]
        for waiter in reversed(some):
            if not waiter.done():
                waiter.set_result(None)
        if self._due:
            asyncio.get_running_loop().call_soon(self._wake_some)


class Interrupted(Exception):
    """A wait was ended from outside, though there is no news."""


class Wait:
    """The waiting of one reader, which other tasks can end."""

    def __init__(self) -> None:
        self.taken = False
        """Whether there was a wait since this was last set to False; if not, the event loop has had
        no turn.
        """
        self._waiter: asyncio.Future[None] | None = None
        self._interrupted = False

    async def for_news(self, waiters: Waiters) -> None:
        """Wait until these waiters are woken. Check for news before and after: a wake-up says only
        that something may have changed.

        Raises:
            Interrupted: `interrupt` was called, now or since the last wait.
        """
        if not self._interrupted:
            self.taken = True
            self._waiter = asyncio.get_running_loop().create_future()
            waiters.add(self._waiter)
            try:
                await self._waiter
            finally:
                waiters.discard(self._waiter)
                self._waiter = None
        if self._interrupted:
            self._interrupted = False
            raise Interrupted

    def end(self) -> None:
        """Let the reader check again, if it waits."""
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    def interrupt(self) -> None:
        """End the wait, or the next one, with `Interrupted`."""
        self._interrupted = True
        self.end()
