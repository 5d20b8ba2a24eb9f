from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
EXAMPLES = ROOT / "examples" / "workers"

PATIENCE = 60.0
"""Seconds that a busy machine gets to start or to end a process."""

Start = Callable[..., "subprocess.Popen[bytes]"]


@pytest.fixture
def start() -> Iterator[Start]:
    """Start programs with this Python; each is ended with the test, by SIGTERM if it heeds that.

    Each has a process group of its own, since some fork children that outlive it.
    """
    started: list[subprocess.Popen[bytes]] = []

    def run(
        *arguments: str, environment: dict[str, str], pass_fds: Sequence[int] = ()
    ) -> subprocess.Popen[bytes]:
        process = subprocess.Popen(
            [sys.executable, *arguments],
            cwd=ROOT,
            env=os.environ | environment,
            pass_fds=pass_fds,
            start_new_session=True,
        )
        started.append(process)
        return process

    yield run
    for process in started:
        process.terminate()
    for process in started:
        try:
            process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            pass
        finally:
            kill_all(process)


def serve(
    start: Start, application: str, environment: dict[str, str]
) -> tuple[subprocess.Popen[bytes], str]:
    """Serve an application by uvicorn; return the process and its URL."""
    # The server gets the socket, so no other program can take the port before it.
    with socket.create_server(("127.0.0.1", 0)) as listener:
        options = f"--fd {listener.fileno()} --log-level error"
        process = start(
            *f"-m uvicorn {options} {application}".split(),
            environment=environment,
            pass_fds=[listener.fileno()],
        )
        return process, f"http://127.0.0.1:{listener.getsockname()[1]}"


def kill_all(process: subprocess.Popen[bytes]) -> None:
    """Kill a program with all its children by SIGKILL."""
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except ProcessLookupError:
        pass
    process.wait(PATIENCE)
