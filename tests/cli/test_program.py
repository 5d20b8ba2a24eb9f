"""The program, started as a shell starts it."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from monostream_ai import JSONProtocol, create_service
from tests.cli.conftest import do, fill

PROGRAM = [sys.executable, "-m", "monostream_ai.cli"]


def here() -> dict[str, str]:
    """Return an environment in which a program imports this tree and does not buffer its output."""
    return os.environ | {"PYTHONPATH": str(Path(__file__).parents[2]), "PYTHONUNBUFFERED": "1"}


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    url = f"sqlite:///{tmp_path / 'streams.db'}"
    do(url, fill)
    return here() | {"MONOSTREAM_URL": url}


async def test_an_interrupted_tail_ends_quietly(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'streams.db'}"
    async with create_service(url, JSONProtocol()) as service:
        pub = await service.publisher("s").open()
        await pub.write(1)
        command = *PROGRAM, "tail", "s", "--url", url
        pipe = asyncio.subprocess.PIPE
        tail = await asyncio.create_subprocess_exec(*command, env=here(), stdout=pipe, stderr=pipe)
        assert tail.stdout is not None
        async with asyncio.timeout(30):
            assert (await tail.stdout.readline()).split() == [b"0.0", b"1"]
            tail.send_signal(signal.SIGINT)
            assert await tail.communicate() == (b"", b"")
    assert tail.returncode == 130


@pytest.mark.parametrize(("answer", "left"), [(b"n\n", True), (b"y\n", False)], ids=["no", "yes"])
def test_prune_asks_on_a_terminal(environment: dict[str, str], answer: bytes, left: bool) -> None:
    terminal, keyboard = os.openpty()
    try:
        os.write(terminal, answer)
        command = [*PROGRAM, "prune", "--older-than", "0s"]
        pruned = subprocess.run(
            command, env=environment, stdin=keyboard, capture_output=True, text=True, timeout=20
        )
    finally:
        os.close(terminal)
        os.close(keyboard)
    assert "Remove all versions older than" in pruned.stderr
    assert (pruned.returncode, "versions pruned" in pruned.stdout) == (int(left), not left)


def test_a_reader_that_hangs_up_ends_the_command(environment: dict[str, str]) -> None:
    pipe = f"{' '.join(PROGRAM)} ls --json --limit 0 | head -n 1"
    done = subprocess.run(
        ["bash", "-c", pipe], env=environment, capture_output=True, text=True, timeout=20
    )
    assert json.loads(done.stdout)["stream_id"] == "chat:1"
    assert "Traceback" not in done.stderr


def test_without_the_extra_the_program_says_what_to_install(
    environment: dict[str, str], tmp_path: Path
) -> None:
    (tmp_path / "click.py").write_text("raise ModuleNotFoundError('no click', name='click')")
    hidden = environment | {"PYTHONPATH": f"{tmp_path}:{environment['PYTHONPATH']}"}
    done = subprocess.run([*PROGRAM, "ls"], env=hidden, capture_output=True, text=True, timeout=20)
    assert (done.returncode, done.stderr) == (
        1,
        'Error: monostream-ai needs click and rich: pip install "monostream-ai-slim[cli]"\n',
    )


def test_help_names_every_command(environment: dict[str, str]) -> None:
    done = subprocess.run(
        [*PROGRAM, "--help"],
        env=environment,
        capture_output=True,
        text=True,
        timeout=20,
        check=True,
    )
    for name in ("ls", "tail", "inspect", "stop", "prune", "migrate", "doctor"):
        assert f"\n  {name} " in done.stdout
