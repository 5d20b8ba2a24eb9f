"""Notices at once that another process writes to a file, where the kernel tells: inotify on Linux.

Source: inotify(7).
"""

from __future__ import annotations

import asyncio
import ctypes
import os
import sys
from collections.abc import Callable
from contextlib import suppress
from typing import Final, Self

IN_MODIFY: Final = 0x2

SIZE: Final = 4096
"""Bytes of events that are read at once. They say nothing that matters here but that they came."""


class FileEvents:
    """Waits for writes to a file by others. Without inotify, or room for one more, no event ever
    comes. One that comes together with a write of ours may be missed.

    Args:
        path: A file that exists; another one that takes its name is not watched. None for no file.
        own_writes: Returns a number that changes when we begin or end a write; it is odd meanwhile.
    """

    def __init__(self, path: str | None, own_writes: Callable[[], int]) -> None:
        self._written = asyncio.Event()
        self._own_writes = own_writes
        self._known_writes = own_writes()
        self._descriptor = None if path is None or sys.platform != "linux" else _watch(path)
        self._loop = asyncio.get_running_loop()
        if self._descriptor is not None:
            self._loop.add_reader(self._descriptor, self._drain, self._descriptor)

    @property
    def come(self) -> bool:
        """Whether the kernel tells of writes."""
        return self._descriptor is not None

    async def wait(self, timeout: float) -> bool:
        """Wait for a write since the last call, and return True; or False after so many seconds."""
        with suppress(TimeoutError):
            async with asyncio.timeout(timeout):
                await self._written.wait()
        written = self._written.is_set()
        self._written.clear()
        return written

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        if self._descriptor is not None:
            self._loop.remove_reader(self._descriptor)
            os.close(self._descriptor)

    def _drain(self, descriptor: int) -> None:
        os.read(descriptor, SIZE)
        known, self._known_writes = self._known_writes, self._own_writes()
        if known == self._known_writes and known % 2 == 0:
            self._written.set()


def _watch(path: str) -> int | None:
    """Return a descriptor that can be read when the file was written to; None if there is none."""
    library = ctypes.CDLL(None)
    descriptor: int = library.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC)
    if descriptor < 0:
        return None
    if library.inotify_add_watch(descriptor, os.fsencode(path), IN_MODIFY) < 0:
        os.close(descriptor)
        return None
    return descriptor
