"""Notices that the process was told to exit, before the server tells the application.

Servers wait for open responses before they shut an application down, but a response that tails a
turn ends only with the turn. uvicorn, granian, gunicorn and hypercorn set their signal handlers
before they start an application, so ours can be put in front of theirs. The workers of hypercorn
get no signal; with `--workers 0` there are none, and the serving process gets it.
"""

from __future__ import annotations

import asyncio
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from types import FrameType
from typing import Final

EXIT_SIGNALS: Final = (signal.SIGTERM, signal.SIGINT)


class ExitNotice:
    """Calls `notice` on a signal, and then the previous handler.

    A signal without a handler is left alone.
    """

    def __init__(self, number: signal.Signals, notice: Callable[[], object]) -> None:
        self._number = number
        self._notice = notice
        self._loop = asyncio.get_running_loop()
        self._told = False
        self._previous = signal.getsignal(number)
        if callable(self._previous):
            # Only the main thread may set a handler; no signal arrives in another one anyway.
            with suppress(ValueError):
                signal.signal(number, self.handle)

    @property
    def should_exit(self) -> bool:
        """Named after uvicorn's flag, which `process_exiting` reads too."""
        return self._told or _told(self._previous)

    @property
    def config(self) -> object:
        """The configuration of uvicorn, if it is uvicorn that handles the signal."""
        return _config(self._previous)

    def handle(self, number: int, frame: FrameType | None) -> None:
        self._told = True
        if not self._loop.is_closed():
            # A handler runs between any two bytecodes; the loop calls `notice` between two tasks.
            self._loop.call_soon_threadsafe(self._notice)
        if callable(self._previous):
            self._previous(number, frame)

    def withdraw(self) -> None:
        """Restore the previous handler, unless another one was set since."""
        if signal.getsignal(self._number) == self.handle:
            signal.signal(self._number, self._previous)


@contextmanager
def exit_noticed(notice: Callable[[], object]) -> Iterator[None]:
    """Call `notice` in this event loop if the process is told to exit while the block runs."""
    notices = [ExitNotice(number, notice) for number in EXIT_SIGNALS]
    try:
        yield
    finally:
        for each in reversed(notices):
            each.withdraw()


def process_exiting() -> bool:
    """Return whether uvicorn, or a block of `exit_noticed`, was told to exit."""
    return _told(signal.getsignal(signal.SIGTERM))


def reloading() -> bool:
    """Return whether a reloader runs this process, and starts another one when a file is saved.

    uvicorn says so in its configuration, however it was started, so `fastapi dev` does too. Other
    servers give their workers nothing but their own command line.
    """
    config = _config(signal.getsignal(signal.SIGTERM))
    return bool(getattr(config, "reload", False)) or "--reload" in sys.argv


def _config(handler: object) -> object:
    return getattr(getattr(handler, "__self__", None), "config", None)


def _told(handler: object) -> bool:
    return bool(getattr(getattr(handler, "__self__", None), "should_exit", False))
