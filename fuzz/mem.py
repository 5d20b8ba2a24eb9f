"""Fuzz streams in memory, on virtual time: `python fuzz/mem.py --seed 42`."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from fuzz.runner import main
from fuzz.scenarios.catalogue import ON_MEMORY
from fuzz.sites import MemorySite
from fuzz.virtual_player import VirtualPlayer

if __name__ == "__main__":
    sys.exit(
        main(
            "fuzz/mem.py",
            lambda options: VirtualPlayer(MemorySite, jobs=options.jobs),
            jobs=1,
            repeats=1,
            names=ON_MEMORY,
        )
    )
