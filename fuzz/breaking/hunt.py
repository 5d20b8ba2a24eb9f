"""Running a catcher on a copy of the repository whose package is broken."""

from __future__ import annotations

import asyncio
import os
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Final, Literal, Self

from fuzz.breaking.mutant import Mutant
from fuzz.parts.postgres import PostgresServer

ROOT: Final = Path(__file__).parents[2]
LIMIT: Final = 60.0
"""Seconds in which a catcher must notice."""

SERVER_VARIABLE: Final = "MONOSTREAM_TEST_DATABASE_URL"

COPIED: Final = ("monostream_ai", "fuzz", "tests", "examples", "README.md", "pyproject.toml")
LEFT_OUT: Final = ("node_modules", "__pycache__", "*.db", ".venv")

Verdict = Literal["caught", "survived", "broken"]
"""Broken: the catcher fails on the sound core too, or could not run."""


@dataclass(frozen=True)
class Found:
    """How a hunt ended. The output is the end of what the catcher said."""

    verdict: Verdict
    seconds: float
    output: str


class Hunt:
    """Has the copy, to which each mutant is applied and from which it is taken back, and a Postgres
    for all catchers.
    """

    def __init__(self) -> None:
        self._directory = Path(tempfile.mkdtemp(prefix="ms"))
        self._sound: dict[str, bool] = {}
        self._postgres: PostgresServer | None = None

    def __enter__(self) -> Self:
        for name in COPIED:
            source, target = ROOT / name, self._directory / name
            if source.is_dir():
                shutil.copytree(source, target, ignore=shutil.ignore_patterns(*LEFT_OUT))
            else:
                shutil.copy(source, target)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._postgres is not None:
            asyncio.run(self._postgres.close())
        shutil.rmtree(self._directory, ignore_errors=True)

    def hunt(self, mutant: Mutant) -> Found:
        """Break the copy, run the catcher, and repair the copy. A catcher must be quiet on the
        sound core.
        """
        if mutant.catcher not in self._sound:
            self._sound[mutant.catcher] = self._run(mutant.catcher).verdict == "survived"
        before = mutant.apply(self._directory / "monostream_ai")
        try:
            found = self._run(mutant.catcher)
        finally:
            for path, source in before.items():
                path.write_text(source)
        return (
            found if self._sound[mutant.catcher] else Found("broken", found.seconds, found.output)
        )

    def _run(self, catcher: str) -> Found:
        began = time.monotonic()
        process = subprocess.Popen(
            self._command(catcher),
            cwd=self._directory,
            env={**os.environ, **self._environment(catcher)},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        try:
            output = process.communicate(timeout=LIMIT)[0]
        except subprocess.TimeoutExpired:
            return Found("survived", time.monotonic() - began, _killed(process)[-2000:])
        except BaseException:
            _killed(process)
            raise
        verdict: Verdict = {0: "survived", 1: "caught"}.get(process.returncode, "broken")  # type: ignore[assignment]
        return Found(verdict, time.monotonic() - began, output[-2000:])

    def _environment(self, catcher: str) -> dict[str, str]:
        shared = {"PYTHONPATH": str(self._directory), "PYTHONDONTWRITEBYTECODE": "1"}
        if catcher.startswith("fuzz/"):
            return shared
        if self._postgres is None:
            # Tests that are killed in mid-run would leave a server of their own behind.
            self._postgres = PostgresServer()
            asyncio.run(self._postgres.open())
        return shared | {
            SERVER_VARIABLE: f"postgresql+asyncpg://postgres@/postgres?host={self._postgres.host}"
        }

    def _command(self, catcher: str) -> list[str]:
        if catcher.startswith("fuzz/"):
            return [
                sys.executable,
                *shlex.split(catcher),
                "--seed",
                "1",
                "--seconds",
                str(LIMIT / 3),
                "--brief",
            ]
        return [
            sys.executable,
            "-m",
            "pytest",
            "-x",
            "-q",
            "-p",
            "no:cacheprovider",
            *shlex.split(catcher),
        ]


def _killed(process: subprocess.Popen[str]) -> str:
    os.killpg(process.pid, signal.SIGKILL)
    return process.communicate()[0]
