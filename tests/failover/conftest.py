"""A primary, an asynchronous standby, and one address that leads to the one in charge."""

from __future__ import annotations

import asyncio
import os
import shutil
import tempfile
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from fuzz.parts.proxy import Proxy
from tests.plugins.postgres import import_pgserver, in_memory

PATIENCE = 30.0


class Server:
    """A Postgres server that listens in its own directory only.

    Args:
        postgres: Knows where the programs of Postgres are, and which user may run them.
    """

    def __init__(self, directory: Path, postgres: Any) -> None:
        self.directory = directory
        self.socket = f"{directory}/.s.PGSQL.5432"
        self.url = f"postgresql+asyncpg://postgres@/postgres?host={directory}"
        self._postgres = postgres

    def copy_of(self, port: int) -> None:
        """Copy the server behind a port of this machine, and follow it from then on."""
        self.directory.mkdir(mode=0o700)
        if self._postgres.system_user is not None:
            shutil.chown(self.directory, self._postgres.system_user)
        source = ["-h", "127.0.0.1", "-p", str(port), "-U", "postgres"]
        self._run("pg_basebackup", *source, "-D", str(self.directory), "-c", "fast", "-R")
        # The source's socket is in its directory, and so is the lock of that.
        Path(f"{self.socket}.lock").unlink()
        self.control("start", "-o", f'-h "" -k {self.directory}')

    def control(self, what: str, *options: str) -> None:
        """Start, stop or promote it, and wait until that is done."""
        log = str(self.directory / "log")
        self._run("pg_ctl", "-w", "-D", str(self.directory), "-l", log, *options, what)

    def kill(self) -> None:
        """End all its processes at once, as a power cut does; only for the source of a copy."""
        postmaster = self._postgres.get_postmaster_info().process
        # The children would leave in an orderly way if they saw their parent go.
        postmaster.suspend()
        family = [*postmaster.children(recursive=True), postmaster]
        for process in family:
            process.kill()
        for process in family:
            process.wait(PATIENCE)

    async def value(self, query: str) -> Any:
        """Return the first value that a query gives."""
        connection = await asyncpg.connect(
            host=str(self.directory), user="postgres", database="postgres"
        )
        try:
            return await connection.fetchval(query)
        finally:
            await connection.close()

    def _run(self, program: str, *arguments: str) -> None:
        import_pgserver().postgres_server.pgexec(
            program,
            arguments,
            bin_path=self._postgres.bin_path,
            user=self._postgres.system_user,
            timeout=PATIENCE,
        )


class Cluster:
    """Two servers, of which the address leads to the primary."""

    def __init__(self, primary: Server, standby: Server, address: Proxy, replication: Proxy):
        self.standby = standby
        self._primary = primary
        self._address = address
        self._replication = replication

    @property
    def url(self) -> str:
        return f"postgresql://postgres@127.0.0.1:{self._address.port}/postgres"

    async def replicated(self) -> None:
        """Wait until the standby has all that the primary has committed."""
        position = await self._primary.value("SELECT CAST(pg_current_wal_lsn() AS text)")
        query = f"SELECT pg_last_wal_replay_lsn() >= CAST('{position}' AS pg_lsn)"
        async with asyncio.timeout(PATIENCE):
            while not await self.standby.value(query):
                await asyncio.sleep(0.02)

    def stop_replicating(self) -> None:
        """Let later commits be lost with the primary."""
        self._replication.freeze()

    def lose_the_primary(self) -> None:
        """Kill the primary; the address leads nowhere until the standby is promoted."""
        self._primary.kill()
        for proxy in (self._address, self._replication):
            proxy.cut(reset=True)

    async def promote(self) -> None:
        """Let the standby take over, under the same address."""
        await asyncio.to_thread(self.standby.control, "promote")
        self._address.point_to(self.standby.socket)


@pytest.fixture
async def cluster() -> AsyncIterator[Cluster]:
    if os.name != "posix":
        pytest.skip("a standby is reached through a socket")
    # A socket's path must be short.
    with tempfile.TemporaryDirectory(
        prefix="ms", dir=in_memory(), ignore_cleanup_errors=True
    ) as directory:
        async with AsyncExitStack() as stack:
            postgres = import_pgserver().get_server(Path(directory) / "one", cleanup_mode="stop")
            stack.callback(postgres.cleanup)
            primary = Server(Path(directory) / "one", postgres)
            standby = Server(Path(directory) / "two", postgres)
            address, replication = Proxy(primary.socket), Proxy(primary.socket)
            for proxy in (address, replication):
                await proxy.open()
                stack.push_async_callback(proxy.close)
            await asyncio.to_thread(standby.copy_of, replication.port)
            stack.callback(standby.control, "stop", "-m", "immediate")
            yield Cluster(primary, standby, address, replication)
