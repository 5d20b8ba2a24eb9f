"""Wake-ups within one process, for services that share one instance."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Final

from monostream_ai.interfaces import BackgroundErrors, Listener, Notifier
from monostream_ai.types import WakeUp

MOST_CARRIED: Final = 64 * 1024
"""Bytes that a wake-up may carry."""


class MemoryNotifier(Notifier):
    """Delivers on the next turn of each listener's loop, never inside `notify`."""

    def __init__(self) -> None:
        self._listeners: list[tuple[asyncio.AbstractEventLoop, Listener]] = []

    def __repr__(self) -> str:
        count = len(self._listeners)
        return f"<{type(self).__name__} {count} listener{'' if count == 1 else 's'}, healthy>"

    @property
    def healthy(self) -> bool:
        return True

    @property
    def most_carried(self) -> int:
        # With one listener, the process that stores chunks is the one that reads them.
        return MOST_CARRIED if len(self._listeners) > 1 else 0

    async def is_confidential(self) -> bool:
        """Return True: only services of this process hear it."""
        return True

    async def notify(self, wake_ups: Sequence[WakeUp]) -> None:
        here = asyncio.get_running_loop()
        for loop, listener in self._listeners:
            if loop is here:
                loop.call_soon(_deliver, listener, wake_ups)
            # A listener whose loop ended without `unlisten` must not fail the others.
            elif not loop.is_closed():
                loop.call_soon_threadsafe(_deliver, listener, wake_ups)

    async def listen(
        self, listener: Listener, on_error: BackgroundErrors
    ) -> Callable[[], Awaitable[None]]:
        entry = (asyncio.get_running_loop(), listener)
        self._listeners.append(entry)
        listener.on_resync()

        async def unlisten() -> None:
            if entry in self._listeners:
                self._listeners.remove(entry)

        return unlisten

    async def aclose(self) -> None:
        """Do nothing: another service may use this notifier."""


def _deliver(listener: Listener, wake_ups: Sequence[WakeUp]) -> None:
    for wake_up in wake_ups:
        listener.on_wake_up(wake_up)
