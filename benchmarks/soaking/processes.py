"""The two server processes: started, killed, started again, and told to leave."""

from __future__ import annotations

import asyncio
import json
import signal
import socket
import sys
import time
from pathlib import Path
from typing import Any

import httpx

SCRIPT = Path(__file__).with_name("server.py")
PATIENCE = 60.0
"""Seconds for a process to answer or to leave, on a machine that does much else."""


class ServerProcess:
    """One server, which has the same port in all its lives."""

    def __init__(self, http: httpx.AsyncClient, url: str, lease: float) -> None:
        with socket.socket() as chosen:
            chosen.bind(("127.0.0.1", 0))
            self._port: int = chosen.getsockname()[1]
        self.address = f"http://127.0.0.1:{self._port}"
        self.born = 0.0
        self.up = False
        self._http = http
        self._settings = {"url": url, "port": self._port, "lease": lease}
        self._process: asyncio.subprocess.Process

    @property
    def pid(self) -> int:
        return self._process.pid

    async def start(self) -> None:
        """Start it and wait until it answers."""
        command = (sys.executable, str(SCRIPT), json.dumps(self._settings))
        # Ctrl+C is for whoever directs us.
        self._process = await asyncio.create_subprocess_exec(*command, start_new_session=True)
        async with asyncio.timeout(PATIENCE):
            while not await self._answers():
                await asyncio.sleep(0.05)
        self.born = time.monotonic()
        self.up = True

    async def kill(self) -> None:
        """Kill it with SIGKILL, and return when it is dead."""
        self.up = False
        self._process.kill()
        await self._process.wait()

    async def leave(self) -> int:
        """Let it shut down; return its exit code."""
        self.up = False
        self._process.send_signal(signal.SIGTERM)
        async with asyncio.timeout(PATIENCE):
            return await self._process.wait()

    async def measures(self) -> dict[str, Any]:
        """Return what it has now. Raises `httpx.TransportError` when it is dead."""
        measures: dict[str, Any] = (await self._http.get(f"{self.address}/measures")).json()
        return measures

    def kill_at_once(self) -> None:
        """Kill it where nothing can be awaited any more."""
        if self._process.returncode is None:
            self._process.kill()

    async def _answers(self) -> bool:
        if self._process.returncode is not None:
            raise RuntimeError(
                f"a server ended with {self._process.returncode} instead of starting"
            )
        try:
            await self.measures()
        except httpx.TransportError:
            return False
        return True
