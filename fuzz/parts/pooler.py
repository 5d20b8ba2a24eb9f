"""A pgbouncer in transaction mode."""

from __future__ import annotations

import asyncio
import os
import pwd
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Final

PORT: Final = 6432
"""Part of its socket's name."""

START_TIMEOUT: Final = 20.0


def pgbouncer_program() -> str | None:
    """Return the path of the program, or None."""
    # Debian installs it where only root looks.
    return shutil.which("pgbouncer") or shutil.which("pgbouncer", path="/usr/sbin:/usr/local/sbin")


class Pooler:
    """Stands before one server; clients connect to a socket in its directory, on `PORT`.

    Args:
        directory: Its own; the path must be short.
        server: The connection settings of the server, in pgbouncer's words.
        owner: The user to run it as if we are root, which it refuses. The server must let this user
            in.
        settings: Further settings of pgbouncer.
    """

    def __init__(
        self, directory: Path, server: Mapping[str, object], owner: str, **settings: object
    ) -> None:
        self.directory = directory
        self._configuration = directory / "pgbouncer.ini"
        self._server = {key: value for key, value in server.items() if value}
        self._owner = owner
        self._settings = settings
        self._process: asyncio.subprocess.Process | None = None
        self._draining: asyncio.Task[bytes] | None = None

    async def start(self) -> None:
        """Start it and wait until it answers."""
        program = pgbouncer_program()
        assert program is not None, "no pgbouncer"
        self._configure()
        self._process = await asyncio.create_subprocess_exec(
            program,
            "-q",
            str(self._configuration),
            stderr=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.DEVNULL,
            start_new_session=True,
        )
        assert self._process.stderr is not None
        # Read all the while, or its messages fill the pipe and block it.
        self._draining = asyncio.create_task(self._process.stderr.read())
        async with asyncio.timeout(START_TIMEOUT):
            while not await self._answers():
                assert self._process.returncode is None, (
                    f"pgbouncer did not start: {await self._draining!r}"
                )
                await asyncio.sleep(0.01)

    async def kill(self) -> None:
        if self._process is not None and self._process.returncode is None:
            self._process.kill()
        if self._process is not None and self._draining is not None:
            await self._process.wait()
            await self._draining

    async def _answers(self) -> bool:
        try:
            _, writer = await asyncio.open_unix_connection(str(self.directory / f".s.PGSQL.{PORT}"))
        except OSError:
            return False
        writer.close()
        return True

    def _configure(self) -> None:
        settings: dict[str, object] = {
            "listen_addr": "",
            "listen_port": PORT,
            "unix_socket_dir": self.directory,
            "auth_type": "any",
            "pool_mode": "transaction",
            # Fewer than there are clients, so that clients do share.
            "default_pool_size": 3,
            "log_connections": 0,
            "log_disconnections": 0,
            **self._settings,
        }
        if os.geteuid() == 0:
            settings["user"] = self._owner
            shutil.chown(self.directory, self._owner)
        server = " ".join(f"{key}='{value}'" for key, value in self._server.items())
        lines = [
            "[databases]",
            f"* = {server}",
            "[pgbouncer]",
            *(f"{key} = {value}" for key, value in settings.items()),
            "",
        ]
        self._configuration.write_text("\n".join(lines))
        self._configuration.chmod(0o644)


def owner_of(path: str) -> str:
    """Return the name of the user that owns a file."""
    return pwd.getpwuid(os.stat(path).st_uid).pw_name
