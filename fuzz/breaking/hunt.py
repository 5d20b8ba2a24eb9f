"""Hunting a breakage: a fuzzer, or some tests, run in a child process with a broken core."""

from __future__ import annotations

import os
import shlex
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

from fuzz.breaking.breakage import Breakage
from fuzz.breaking.table import HARMLESS

ROOT: Final = Path(__file__).parents[2]
LIMIT: Final = 60.0
"""Seconds in which a breakage must be noticed."""

PATIENCE: Final = 10.0
"""Seconds that a catcher gets to clean up when it is interrupted, before it is killed."""

MISFITS: Final = ("has no attribute", "unexpected keyword argument", "positional argument")
"""Complaints of a breakage that does not fit the core any more, which prove nothing."""

Verdict = Literal["caught", "survived", "broken"]
"""Broken: the catcher also fails without damage, it could not run, or the breakage does not fit."""


@dataclass(frozen=True)
class Found:
    """How a hunt ended. The output is the last part of the catcher's."""

    verdict: Verdict
    seconds: float
    output: str


class Hunt:
    """Runs catchers one after another, and remembers which of them are quiet on a sound core."""

    def __init__(self) -> None:
        self._quiet: dict[str, bool] = {}

    def hunt(self, breakage: Breakage, noticed_by: str | None = None) -> Found:
        """Run the catcher of a breakage, or another one; it must be quiet on a sound core."""
        catcher = noticed_by or breakage.noticed_by
        if catcher not in self._quiet:
            self._quiet[catcher] = _run(HARMLESS, catcher).verdict == "survived"
        found = _run(breakage, catcher)
        if not self._quiet[catcher] or any(misfit in found.output for misfit in MISFITS):
            return Found("broken", found.seconds, found.output)
        return found


def _run(breakage: Breakage, catcher: str) -> Found:
    began = time.monotonic()
    process = subprocess.Popen(
        [sys.executable, "fuzz/mutants.py", "--under", breakage.name, *_command(catcher)],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    try:
        output = process.communicate(timeout=LIMIT)[0]
    except subprocess.TimeoutExpired:
        return Found("survived", time.monotonic() - began, _stopped(process)[-2000:])
    except BaseException:
        _stopped(process)
        raise
    verdict: Verdict = "broken"
    if process.returncode in (0, 1):
        verdict = "caught" if process.returncode else "survived"
    return Found(verdict, time.monotonic() - began, output[-2000:])


def _command(catcher: str) -> list[str]:
    program, *arguments = shlex.split(catcher)
    if program.startswith("fuzz/"):
        return [program, "--seed", "1", "--seconds", str(LIMIT / 3), "--brief", *arguments]
    return ["pytest", "-x", "-q", "-p", "no:cacheprovider", program, *arguments]


def _stopped(process: subprocess.Popen[str]) -> str:
    # Interrupted first, so that tests take down the servers they have started.
    process.send_signal(signal.SIGINT)
    try:
        return process.communicate(timeout=PATIENCE)[0]
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        return process.communicate()[0]
