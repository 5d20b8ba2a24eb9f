"""A process that keeps SQLite's write-ahead log from being emptied.

    python -m tests.processes.sqlite_holder hold | read PATH

`hold` keeps one read transaction open for ever; `read` reads the 32 streams of a busy service as
our store does, one batch after another. It says a line once it has begun.
"""

from __future__ import annotations

import asyncio
import signal
import sqlite3
import sys
from pathlib import Path

from monostream_ai.stores.sql import SQLiteStore
from monostream_ai.types import Position


def hold(path: Path) -> None:
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("BEGIN")
    connection.execute("SELECT count(*) FROM stream_chunk").fetchall()
    print("holds", flush=True)
    signal.pause()


async def read(path: Path) -> None:
    store = SQLiteStore.from_url(f"sqlite:///{path}")
    positions = [Position(f"s{number}", 0, 0) for number in range(32)]
    await store.read(positions, max_rows=1000, max_bytes=1 << 18)
    print("reads", flush=True)
    while True:
        await store.read(positions, max_rows=1000, max_bytes=1 << 18)


if __name__ == "__main__":
    if sys.argv[1] == "hold":
        hold(Path(sys.argv[2]))
    else:
        asyncio.run(read(Path(sys.argv[2])))
