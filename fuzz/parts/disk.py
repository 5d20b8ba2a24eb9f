"""A place for a SQLite file that can be full: a small file system of its own if we may mount one,
and else a limit on the size of files.
"""

from __future__ import annotations

import errno
import os
import resource
import shutil
import subprocess
import tempfile
from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import Final

SIZE: Final = 16 * 1024 * 1024


class Disk(ABC):
    """A directory in which nothing more fits between `fill` and `free`."""

    def __init__(self) -> None:
        self.directory = Path(tempfile.mkdtemp(prefix="ms"))

    @abstractmethod
    def fill(self, users: Sequence[int]) -> None:
        """Leave no room for these processes."""

    @abstractmethod
    def free(self, users: Sequence[int]) -> None:
        """Make room again."""

    def close(self) -> None:
        shutil.rmtree(self.directory, ignore_errors=True)


class SmallDisk(Disk):
    """A file system in memory; needs the right to mount."""

    kind = "a tmpfs"

    def __init__(self) -> None:
        super().__init__()
        try:
            command = ["mount", "-t", "tmpfs", "-o", f"size={SIZE}", "tmpfs", str(self.directory)]
            subprocess.run(command, check=True, capture_output=True)
        except BaseException:
            super().close()
            raise

    @property
    def _ballast(self) -> Path:
        return self.directory / "ballast"

    def fill(self, users: Sequence[int]) -> None:
        with self._ballast.open("wb", buffering=0) as ballast:
            try:
                while ballast.write(bytes(65536)):
                    pass
            except OSError as error:
                if error.errno != errno.ENOSPC:
                    raise

    def free(self, users: Sequence[int]) -> None:
        self._ballast.unlink(missing_ok=True)

    def close(self) -> None:
        subprocess.run(["umount", "-l", str(self.directory)], check=True)
        super().close()


class LimitedFiles(Disk):
    """Forbids processes to let any file grow: not ENOSPC but EFBIG, which SQLite reports as an I/O
    error.
    """

    kind = "a limit on the size of files (no right to mount a tmpfs)"

    def fill(self, users: Sequence[int]) -> None:
        for pid in users:
            resource.prlimit(pid, resource.RLIMIT_FSIZE, (0, resource.RLIM_INFINITY))

    def free(self, users: Sequence[int]) -> None:
        for pid in users:
            if Path(f"/proc/{pid}").exists():
                resource.prlimit(
                    pid, resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY)
                )


def make_disk() -> SmallDisk | LimitedFiles:
    """Return a small disk if we may mount one, and else limited files."""
    try:
        if os.geteuid() == 0:
            return SmallDisk()
    except (OSError, subprocess.CalledProcessError):
        pass
    return LimitedFiles()
