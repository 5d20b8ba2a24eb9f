"""Real faults on real parts: `python fuzz/chaos.py --seed 42`.

Processes, servers and connections die, freeze and come back.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from fuzz.rounds.catalogue import names
from fuzz.rounds.player import ChaosPlayer
from fuzz.runner import main


def commit() -> str:
    """Return the name of the commit that is checked out, as `git describe` prints it."""
    command = ["git", "describe", "--always", "--dirty", "--abbrev=12"]
    try:
        return subprocess.run(
            command, cwd=Path(__file__).parent, capture_output=True, text=True, check=True
        ).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return "unknown"


def chaos() -> int:
    """Play rounds, print how many of each kind went well, and return the exit code."""
    player = ChaosPlayer()
    print(f"commit {commit()}")
    code = main(
        "fuzz/chaos.py", lambda options: player, jobs=1, repeats=1, names=names(), unit="rounds"
    )
    for name, count in sorted(player.well.items()):
        print(f"{name:20} {count:5}")
    return code


if __name__ == "__main__":
    sys.exit(chaos())
