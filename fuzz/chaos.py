"""Real faults on real parts: `python fuzz/chaos.py --seed 42`. Processes, servers and connections die, freeze and come back."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from fuzz.rounds.catalogue import names
from fuzz.rounds.player import ChaosPlayer
from fuzz.runner import main

if __name__ == "__main__":
    sys.exit(main("fuzz/chaos.py", lambda options: ChaosPlayer(), jobs=1, repeats=1, names=names(), unit="rounds"))
