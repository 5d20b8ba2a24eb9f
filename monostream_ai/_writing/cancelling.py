"""Cancellation in both directions: ending a task's block from outside with an error of ours, and
finishing work although its task is cancelled.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any


class OutsideError:
    """Ends a block from outside with an error, as `asyncio.timeout` does with TimeoutError.

    Cancels the task that entered the block, and turns that cancellation, and no other, into the
    error.
    """

    def __init__(self) -> None:
        self.error: BaseException | None = None
        """The first error that was thrown in."""
        self._task: asyncio.Task[object] | None = None
        self._cancelling = 0
        self._cancel_sent = False

    def enter(self) -> None:
        """Note the current task as the one to cancel."""
        self._task = asyncio.current_task()
        self._cancelling = self._task.cancelling() if self._task is not None else 0

    def throw(self, error: BaseException) -> None:
        """Cancel the block, if one was entered; the first error counts."""
        if self.error is None:
            self.error = error
            if self._task is not None and not self._task.done():
                self._cancel_sent = True
                self._task.cancel()

    def leave(self, error: BaseException | None, swallowed: asyncio.CancelledError | None) -> None:
        """Raise the error that the block must raise in place of `error`, if there is one.

        Args:
            error: The block's own.
            swallowed: A cancellation that came while the block was being left.
        """
        foreign = self.withdraw()
        cancelled = swallowed is not None or isinstance(error, asyncio.CancelledError)
        if self.error is None or (foreign and cancelled):
            if swallowed is not None and error is None:
                raise swallowed
        elif error is None or isinstance(error, asyncio.CancelledError):
            raise self.error from None

    def withdraw(self) -> bool:
        """Take back the cancellation that was sent, if one was.

        Returns:
            Whether a cancellation that the block saw was, or may have been, somebody else's.
        """
        task, self._task = self._task, None
        if not self._cancel_sent or task is None:
            return True
        self._cancel_sent = False
        return task.uncancel() > self._cancelling


async def finish_despite_cancel(
    work: Coroutine[Any, Any, None], *, hurry: Callable[[], None] | None = None
) -> asyncio.CancelledError | None:
    """Run the work to its end; return a cancellation that came meanwhile, for the caller to raise.

    Level cancellation (anyio scopes cancel again at every await) does not stop it either. The work
    must be bounded in time.

    Args:
        hurry: Called at a cancellation, to end waits of the work early.
    """
    task = asyncio.get_running_loop().create_task(work)
    cancellation: asyncio.CancelledError | None = None
    while not task.done():
        try:
            await asyncio.wait([task])
        except asyncio.CancelledError as error:
            cancellation = error
            if hurry is not None:
                hurry()
    task.result()
    return cancellation
