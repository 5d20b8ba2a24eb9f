"""Fuzz streams in Postgres: `python fuzz/pg.py --seed 42`.

Starts a server of its own, from PyPI, unless `--url` names a database.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from fuzz.parts.postgres import PostgresServer
from fuzz.real_player import RealPlayer
from fuzz.runner import main
from fuzz.scenarios.catalogue import ON_A_DATABASE
from fuzz.sites import RealSite, Times
from fuzz.tables import PostgresTables
from monostream_ai.interfaces import Notifier, Store
from monostream_ai.notifiers.postgres import PostgresNotifier
from monostream_ai.stores.postgres.engine import make_engine
from monostream_ai.stores.sql import PostgresStore

TIMES = Times(lease=10.0, poll_interval=0.5, outage=20.0, moment=0.01, limit=120.0)

POOL_SIZE = 16
"""Connections of each process. With fewer, on a busy machine, some scenario waits for one for
longer than the pool does.
"""


def run(server: PostgresServer) -> int:
    def make_player(options: argparse.Namespace) -> RealPlayer:
        if options.url is None:
            asyncio.run(server.open())
        url = options.url or server.url

        def make_parts() -> tuple[Store, Notifier]:
            return PostgresStore.from_url(url, pool_size=POOL_SIZE), PostgresNotifier.from_url(url)

        return RealPlayer(
            lambda: RealSite(make_parts, TIMES, PostgresTables(make_engine(url, pool_size=1))),
            jobs=options.jobs,
        )

    return main("fuzz/pg.py", make_player, jobs=96, repeats=5, names=ON_A_DATABASE)


if __name__ == "__main__":
    postgres = PostgresServer()
    try:
        code = run(postgres)
    finally:
        asyncio.run(postgres.close())
    sys.exit(code)
