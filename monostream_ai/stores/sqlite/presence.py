"""Tells at once that a process on this machine has died: it held a lock, and the system took it.

Each process that opens a database locks one byte of a file beside it, for as long as it lives.
Versions store the place of that byte. A process that reads a version asks the system whether the
byte is still locked; if it is not, the lease is over, however long it would run.

A process that is frozen keeps its lock, and only its lease tells. So does one whose file is on a
file system without locks, and one on Windows.

Source: fcntl(2), "Open file description locks": such a lock belongs to an open file, whatever other
descriptors of it the process opens and closes, and ends with the last process that has it open. A
forked child has it open too, so the child closes it. Where the system knows no such locks, those of
"Advisory record locking" do: they belong to the process, and are lost when it closes any descriptor
of the file.
"""

from __future__ import annotations

import os
import secrets
import struct
import sys
import threading
from typing import Final

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

SUFFIX: Final = "-presence"

# Elsewhere `struct flock` has other fields.
OFD: Final = getattr(fcntl, "F_OFD_SETLK", None) if sys.platform == "linux" else None

_mutex = threading.Lock()
# By device and inode of the file. Never closed, since versions of this process name them.
_presences: dict[tuple[int, int], Presence] = {}


class Presence:
    """The lock of this process on the presence file of one database. Safe in any thread."""

    def __init__(self, descriptor: int, inode: int) -> None:
        self._descriptor = descriptor
        self._inode = inode
        self._place = secrets.randbits(62)
        _lock(descriptor, fcntl.F_WRLCK, self._place)

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
                found = _presences.get(_key(os.stat(path)))
                if found is not None and found._is_open():
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

    def close(self) -> None:
        """Close a file that a fork has inherited; the lock stays with the parent."""
        if self._is_open():
            os.close(self._descriptor)

    def _is_open(self) -> bool:
        # A program may close all its descriptors, and give their numbers to other files.
        try:
            return os.fstat(self._descriptor).st_ino == self._inode
        except OSError:
            return False

    @property
    def holder(self) -> str:
        """The name under which versions refer to this process: inode and place of its lock."""
        return f"{self._inode}:{self._place}"

    def lives(self, holder: str | None) -> bool:
        """Whether the process of this name may be alive.

        True if nothing is known of it: there is no name, or it holds a lock on another file, since
        this one was deleted and made anew, or this process has closed its own.
        """
        if holder is None or holder == self.holder:
            return True
        inode, _, place = holder.partition(":")
        if inode != str(self._inode) or not place.isdecimal() or not self._is_open():
            return True
        # Shared, so that two processes which ask at once do not take each other for the holder.
        try:
            _lock(self._descriptor, fcntl.F_RDLCK, int(place))
        except OSError:
            return True
        _lock(self._descriptor, fcntl.F_UNLCK, int(place))
        return False


def _key(status: os.stat_result) -> tuple[int, int]:
    return status.st_dev, status.st_ino


def _lock(descriptor: int, kind: int, place: int) -> None:
    """Lock or unlock one byte of an open file without waiting; raises `OSError` if that fails."""
    if OFD is None:
        words = {fcntl.F_WRLCK: fcntl.LOCK_EX, fcntl.F_RDLCK: fcntl.LOCK_SH}
        word = words[kind] | fcntl.LOCK_NB if kind in words else fcntl.LOCK_UN
        fcntl.lockf(descriptor, word, 1, place)
        return
    # struct flock of Linux: type, whence, start, length, process.
    request = struct.pack("hhqqi", kind, os.SEEK_SET, place, 1, 0)
    fcntl.fcntl(descriptor, OFD, request)


def _forget_parent() -> None:
    global _mutex
    # Another thread of the parent may have held it.
    _mutex = threading.Lock()
    for presence in _presences.values():
        presence.close()
    _presences.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_parent)
