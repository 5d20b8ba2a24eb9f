"""Programs of Node.js that last for all tests: each takes longer to warm up than to answer."""

from __future__ import annotations

import asyncio
import json
import subprocess
import tempfile
import threading
from collections.abc import Sequence
from pathlib import Path
from subprocess import PIPE
from typing import Any, Final

PATIENCE: Final = 110.0
"""Seconds for all stories of one call together."""

_programs: Final[dict[Path, Program]] = {}
"""Those that run. The fixture `no_program_is_left` ends them."""


class Program:
    """A program that serving.mjs lets answer."""

    def __init__(self, path: Path) -> None:
        self._complaints = tempfile.TemporaryFile()
        self._process = subprocess.Popen(
            ["node", path], stdin=PIPE, stdout=PIPE, stderr=self._complaints, encoding="utf-8"
        )

    def tell(self, stories: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
        assert self._process.stdin is not None and self._process.stdout is not None
        self._process.stdin.write(f"{json.dumps(stories)}\n")
        self._process.stdin.flush()
        line = self._process.stdout.readline()
        if not line:
            self._process.wait()
            self._complaints.seek(0)
            ended = f"it ended with {self._process.returncode}: "
            raise AssertionError(ended + self._complaints.read().decode())
        told: list[dict[str, Any]] = json.loads(line)
        return told

    def kill(self) -> None:
        self._process.kill()

    def close(self) -> None:
        self.kill()
        self._process.communicate()
        self._complaints.close()


def tell(
    path: Path, stories: Sequence[dict[str, Any]], *, patience: float = PATIENCE
) -> list[dict[str, Any]]:
    """Return what the program answers to each of the stories, in the order given."""
    if path not in _programs:
        _programs[path] = Program(path)
    program = _programs[path]
    # A program that is killed ends the wait for its answer.
    impatience = threading.Timer(patience, program.kill)
    impatience.start()
    try:
        return program.tell(stories)
    except BaseException:
        # The next test must not get the answer to these.
        del _programs[path]
        program.close()
        raise
    finally:
        impatience.cancel()


async def run(
    path: Path, stories: Sequence[dict[str, Any]], *, patience: float = PATIENCE
) -> list[dict[str, Any]]:
    """Tell, while the event loop serves what the program asks for."""
    try:
        return await asyncio.to_thread(tell, path, stories, patience=patience)
    except asyncio.CancelledError:
        # It ends the thread, too.
        if path in _programs:
            _programs[path].kill()
        raise


def close_all() -> None:
    while _programs:
        _programs.popitem()[1].close()
