"""Fuzz streams in a SQLite file, with two stores as in two processes: `python fuzz/sqlite.py --seed
42`.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from fuzz.real_player import RealPlayer
from fuzz.runner import main
from fuzz.scenarios.catalogue import ON_A_DATABASE
from fuzz.sites import RealSite, Times
from fuzz.tables import SQLiteTables
from monostream_ai.interfaces import Notifier, Store
from monostream_ai.notifiers.sqlite import SQLiteNotifier
from monostream_ai.stores.sql import SQLiteStore

TIMES = Times(lease=10.0, poll_interval=0.5, outage=20.0, moment=0.02, limit=120.0)


def run(directory: str) -> int:
    path = f"{directory}/streams.db"

    def make_parts() -> tuple[Store, Notifier]:
        store = SQLiteStore.from_url(f"sqlite+aiosqlite:///{path}")
        return store, SQLiteNotifier(store)

    return main(
        "fuzz/sqlite.py",
        lambda options: RealPlayer(
            lambda: RealSite(make_parts, TIMES, SQLiteTables(path)), jobs=options.jobs
        ),
        jobs=64,
        repeats=5,
        names=ON_A_DATABASE,
    )


if __name__ == "__main__":
    with tempfile.TemporaryDirectory(prefix="ms") as directory:
        sys.exit(run(directory))
