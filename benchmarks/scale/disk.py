"""How long the disk takes to make a small write durable, measured beside whatever else it does."""

from __future__ import annotations

import os
import statistics
import tempfile
import threading
import time
from types import TracebackType
from typing import Self

PAUSE = 0.025
"""Seconds between two probes."""

PAGE = b"\0" * 8192
"""As much as Postgres writes of its log at least. Source: PostgreSQL documentation, wal_block_size.
"""

PARTS = 20


class DiskProbe:
    """Writes a page and waits for the disk, again and again, while its block runs."""

    def __enter__(self) -> Self:
        self._times: list[float] = []
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._ended.set()
        self._thread.join()

    @property
    def waits(self) -> list[float]:
        """The seconds that a write took, as so many equally likely ones."""
        return statistics.quantiles(self._times, n=PARTS + 1)

    def _run(self) -> None:
        # Where the embedded Postgres has its files.
        with tempfile.TemporaryFile() as file:
            while not self._ended.wait(PAUSE):
                begun = time.monotonic()
                os.pwrite(file.fileno(), PAGE, 0)
                os.fdatasync(file.fileno())
                self._times.append(time.monotonic() - begun)
