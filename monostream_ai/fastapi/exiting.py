"""Whether the process has been told to exit.

Servers wait for open responses before they tell an application to shut down, and a response that
tails a turn ends only with it. uvicorn, granian, gunicorn and hypercorn set their signal handlers
before they start an application, so that ours can go before theirs. The workers of hypercorn get no
signal; only with `--workers 0` does the process that serves.
"""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from types import FrameType
from typing import Final

EXIT_SIGNALS: Final = (signal.SIGTERM, signal.SIGINT)


class ExitNotice:
    """Has `notice` called at a signal, and whatever handled the signal before. A signal that
    nothing handled is left alone.
    """

    def __init__(self, number: signal.Signals, notice: Callable[[], object]) -> None:
        self._number = number
        self._notice = notice
        self._loop = asyncio.get_running_loop()
        self._told = False
        self._previous = signal.getsignal(number)
        if callable(self._previous):
            # Only the main thread may; in another one, no signal arrives either.
            with suppress(ValueError):
                signal.signal(number, self.handle)

    @property
    def should_exit(self) -> bool:
        """Named as uvicorn's flag, which `process_exiting` looks at too."""
        return self._told or _told(self._previous)

    def handle(self, number: int, frame: FrameType | None) -> None:
        self._told = True
        if not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._notice)
        if callable(self._previous):
            self._previous(number, frame)

    def withdraw(self) -> None:
        """Put the previous handler back, unless somebody has set another one since."""
        if signal.getsignal(self._number) == self.handle:
            signal.signal(self._number, self._previous)


@contextmanager
def exit_noticed(notice: Callable[[], object]) -> Iterator[None]:
    """Call `notice` in this event loop when the process is told to exit while the block runs."""
    notices = [ExitNotice(number, notice) for number in EXIT_SIGNALS]
    try:
        yield
    finally:
        for each in reversed(notices):
            each.withdraw()


def process_exiting() -> bool:
    """Whether uvicorn, or anybody inside `exit_noticed`, has been told to exit."""
    return _told(signal.getsignal(signal.SIGTERM))


def _told(handler: object) -> bool:
    return bool(getattr(getattr(handler, "__self__", None), "should_exit", False))
