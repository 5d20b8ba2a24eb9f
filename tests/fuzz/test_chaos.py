"""Each real fault once, and the script as it is run."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from fuzz.players import Task
from fuzz.rounds.catalogue import ROUNDS, names
from fuzz.rounds.player import ChaosPlayer
from tests.plugins.postgres import import_pgserver

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def player() -> Iterator[ChaosPlayer]:
    import_pgserver()
    player = ChaosPlayer()
    yield player
    player.close()


@pytest.mark.sweep(3)
@pytest.mark.parametrize("name", ROUNDS)
def test_nothing_is_lost_or_left_by(player: ChaosPlayer, name: str) -> None:
    if name not in names():
        pytest.skip("no pgbouncer: install the package of that name")
    result = player.attempt(Task(name, 1), {}, tracing=True)
    assert result.error is None, "\n".join(result.trace)


def test_the_script_replays_a_round() -> None:
    import_pgserver()
    command = [sys.executable, "fuzz/chaos.py", "--replay", "killed-publisher:7"]
    run = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert run.returncode == 0, run.stdout + run.stderr
    assert run.stdout.splitlines()[-1].startswith("ok killed-publisher:7")
