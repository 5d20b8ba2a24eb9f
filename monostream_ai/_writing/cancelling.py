"""Ending a task's block from outside with an error of ours, as `asyncio.timeout` does with
TimeoutError.
"""

from __future__ import annotations

import asyncio


class Interruption:
    """Cancels the task that entered a block, and turns that cancellation, and no other, into an
    error.
    """

    def __init__(self) -> None:
        self.error: BaseException | None = None
        self._task: asyncio.Task[object] | None = None
        self._cancelling = 0
        self._cancel_sent = False

    def enter(self) -> None:
        """Note the current task as the one to interrupt."""
        self._task = asyncio.current_task()
        self._cancelling = self._task.cancelling() if self._task is not None else 0

    def interrupt(self, error: BaseException) -> None:
        """Cancel the block, if one was entered; the first error counts."""
        if self.error is None:
            self.error = error
            if self._task is not None and not self._task.done():
                self._cancel_sent = True
                self._task.cancel()

    def leave(self, error: BaseException | None, swallowed: asyncio.CancelledError | None) -> None:
        """Raise what the block must raise instead of `error`, if anything.

        Args:
            error: What the block raised.
            swallowed: A cancellation that came while the block was being left.
        """
        foreign = self.withdraw()
        if self.error is None or (
            foreign and (swallowed is not None or isinstance(error, asyncio.CancelledError))
        ):
            if swallowed is not None and error is None:
                raise swallowed
        elif error is None or isinstance(error, asyncio.CancelledError):
            raise self.error from None

    def withdraw(self) -> bool:
        """Take back the cancellation that was sent; return whether somebody else has cancelled the
        task too.
        """
        task, self._task = self._task, None
        if not self._cancel_sent or task is None:
            return True
        self._cancel_sent = False
        return task.uncancel() > self._cancelling
