"""Tells at once that a process on this machine has died: it held a lock, and the system took it.

Each process that opens a database locks one byte of a file beside it, for as long as it lives.
Versions store the place of that byte. A process that reads a version asks the system whether the
byte is still locked; if it is not, the lease is over, however long it would run.

A process that is frozen keeps its lock, and only its lease tells. So does one whose file is on a
file system without locks, and one on Windows.

Source: fcntl(2), "Advisory record locking": such a lock belongs to a process, ends with it, is not
inherited by fork, and is lost when the process closes any descriptor of the file.
"""

from __future__ import annotations

import os
import secrets
import threading
from typing import Final

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

SUFFIX: Final = "-presence"

_mutex: Final = threading.Lock()
# By process, and by device and inode of the file. Never closed: a process that closes any
# descriptor of a file gives up all its locks on it.
_presences: dict[tuple[int, int, int], Presence] = {}


class Presence:
    """The lock of this process on the presence file of one database. Safe in any thread."""

    def __init__(self, descriptor: int, inode: int) -> None:
        self._descriptor = descriptor
        self._inode = inode
        self._place = secrets.randbits(62)
        fcntl.lockf(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, self._place)

    @classmethod
    def beside(cls, database: str) -> Presence | None:
        """Return the presence of this process beside a database file, the same for all its
        connections; None if the system or the file system has no such locks.
        """
        if fcntl is None or not database:
            return None
        path = f"{database}{SUFFIX}"
        with _mutex:
            try:
                if (found := _presences.get(_key(os.stat(path)))) is not None:
                    return found
            except OSError:
                # The first process creates the file.
                pass
            try:
                descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
                status = os.fstat(descriptor)
                presence = _presences[_key(status)] = cls(descriptor, status.st_ino)
            except OSError:
                return None
            return presence

    @property
    def holder(self) -> str:
        """The name under which versions refer to this process: inode and place of its lock."""
        return f"{self._inode}:{self._place}"

    def lives(self, holder: str | None) -> bool:
        """Whether the process of this name may be alive.

        True if nothing is known of it: there is no name, or it holds a lock on another file, since
        this one was deleted and made anew.
        """
        if holder is None or holder == self.holder:
            return True
        inode, _, place = holder.partition(":")
        if inode != str(self._inode) or not place.isdecimal():
            return True
        # Shared, so that two processes which ask at once do not take each other for the holder.
        try:
            fcntl.lockf(self._descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB, 1, int(place))
        except OSError:
            return True
        fcntl.lockf(self._descriptor, fcntl.LOCK_UN, 1, int(place))
        return False


def _key(status: os.stat_result) -> tuple[int, int, int]:
    return os.getpid(), status.st_dev, status.st_ino
