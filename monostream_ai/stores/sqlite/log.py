"""Keeps the write-ahead log of a SQLite file small.

SQLite copies the log into the database after a commit, a checkpoint, and then begins the log anew,
unless some connection is reading. Readers that overlap therefore let it grow for as long as they
do, and the file keeps the size it once had.
"""

from __future__ import annotations

import os
import sqlite3
import time
from typing import Final

from monostream_ai._backoff import Backoff
from monostream_ai.errors import LogHeld
from monostream_ai.stores.sqlite.file import DatabaseFile

LOG_LIMIT: Final = 8 * 1024 * 1024
"""Bytes to which SQLite cuts the log when it begins it anew. It does so at about 4 MiB where no
reader prevents it.
"""

LARGE_LOG: Final = 64 * 1024 * 1024
"""Bytes of the log from which on it is reported."""

WAIT: Final = 0.1
"""Seconds that a checkpoint waits for readers to finish their page; writers wait as long."""

SLOWEST: Final = 0.5
"""Seconds between two tries at most: as long as this, the log may go on growing by mischance."""

_NEARLY: Final = 1000
"""Pages that may be left to copy when a checkpoint waits for readers."""


class WriteAheadLog:
    """Empties the log of a file by a connection that writes; used on its thread only.

    Args:
        busy_timeout: The connection's, in seconds.
    """

    def __init__(self, file: DatabaseFile, busy_timeout: float) -> None:
        self._file = file
        self._busy_timeout = busy_timeout
        self._try_at = 0.0
        self._backoff = Backoff(last=SLOWEST)
        self._reported = 0
        self.held: LogHeld | None = None
        """A report that is due: set at `LARGE_LOG` bytes, and at each doubling."""

    def tend(self, connection: sqlite3.Connection) -> None:
        """Empty the log if it has outgrown its limit, and not too often if that fails.

        Call outside of a transaction. Costs a look at the file's size where there is nothing to do.
        """
        path = self._file.log
        size = size_of(path)
        if path is None or size <= LOG_LIMIT:
            self._try_at, self._reported, self.held = 0.0, 0, None
            self._backoff.reset()
        elif time.monotonic() >= self._try_at:
            self._empty(connection)
            self._try_at = time.monotonic() + self._backoff.next()
            if (left := size_of(path)) >= max(LARGE_LOG, 2 * self._reported):
                self._reported, self.held = left, LogHeld(path, left)

    def _empty(self, connection: sqlite3.Connection) -> None:
        try:
            # Others can write while this copies.
            if pages_left(connection) <= _NEARLY:
                # Nobody can write while this waits for the readers, each of which reads a page.
                set_busy_timeout(connection, WAIT)
                connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
        except sqlite3.OperationalError:
            # A lock or a full disk. Commits are in the log, and stay there.
            pass
        finally:
            set_busy_timeout(connection, self._busy_timeout)


def pages_left(connection: sqlite3.Connection) -> int:
    """Copy what can be copied; return how many pages a reader keeps in the log."""
    _, pages, copied = connection.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()
    return int(pages) - int(copied)


def size_of(path: str | None) -> int:
    """Return the size of the log in bytes; 0 if there is none."""
    try:
        return os.stat(path).st_size if path is not None else 0
    except OSError:
        return 0


def set_busy_timeout(connection: sqlite3.Connection, seconds: float) -> None:
    """Let SQLite wait so long for another process."""
    connection.execute(f"PRAGMA busy_timeout = {int(seconds * 1000)}")
