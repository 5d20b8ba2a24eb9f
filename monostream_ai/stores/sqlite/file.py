"""The files of a SQLite database, recognised even if others take their names."""

from __future__ import annotations

import os
import sqlite3

from monostream_ai.errors import FileMoved
from monostream_ai.stores.sqlite.presence import Presence


class DatabaseFile:
    """The files that the connections of one store have open.

    SQLite goes on writing into a file that was moved or deleted. A process that opens the path
    would not find these commits, so nothing may be acknowledged there. In rollback mode SQLite
    refuses such a write (SQLITE_READONLY_DBMOVED); in WAL mode it does not look.

    Safe in the threads of several connections.
    """

    def __init__(self) -> None:
        # The device and inode of each path, as the first connection found it.
        self._opened: dict[str, tuple[int, int] | None] = {}
        self._others = set[str]()
        """Names of other processes that were alive. Each change is one step, in whatever thread."""
        self.presence: Presence | None = None
        """How this process shows that it lives; None if the file is not open, or has no locks."""
        self.log: str | None = None
        """The path of the write-ahead log; None if there is no file, or it is not open yet."""

    def recognise(self, connection: sqlite3.Connection) -> None:
        """Note the files that a connection has opened, which must be those of the ones before.

        Raises:
            FileMoved
        """
        # The log and its index are opened by the first read.
        connection.execute("SELECT count(*) FROM sqlite_master").fetchall()
        database = _path(connection)
        if database:
            self.log = f"{database}-wal"
            self.presence = self.presence or Presence.beside(database)
            # Source: SQLite, "WAL-mode File Format", 1.
            for path in (database, self.log, f"{database}-shm"):
                self._opened.setdefault(path, _identity(path))
            connection.create_function("lives", 1, self.lives)
        self.check()

    @property
    def holder(self) -> str | None:
        """The name of this process for the versions that it writes."""
        return None if self.presence is None else self.presence.holder

    def lives(self, holder: str | None) -> bool:
        """Whether the process of this name may be alive; True if nothing is known."""
        if self.presence is None or not holder or holder == self.presence.holder:
            return True
        lives = self.presence.lives(holder)
        if lives:
            self._others.add(holder)
        else:
            self._others.discard(holder)
        return lives

    def somebody_died(self) -> bool:
        """Whether a process has died that was alive when a version of it was last read."""
        return not all([self.lives(holder) for holder in [*self._others]])

    def check(self) -> None:
        """See that each path still leads to the open file; costs some 5 µs.

        Raises:
            FileMoved
        """
        for path, opened in self._opened.items():
            if _identity(path) != opened:
                raise FileMoved(path)

    def forget(self) -> None:
        """Forget the files: no connection is open any more."""
        self._opened, self.presence, self._others = {}, None, set()


def _path(connection: sqlite3.Connection) -> str:
    """Return the path of the database as SQLite opened it; empty if it has no file."""
    databases = connection.execute("PRAGMA database_list").fetchall()
    return next((path for _, name, path in databases if name == "main"), "")


def _identity(path: str) -> tuple[int, int] | None:
    try:
        found = os.stat(path)
    except OSError:
        return None
    return found.st_dev, found.st_ino
