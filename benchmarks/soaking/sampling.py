"""What both processes and the database have, every few seconds."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Sequence
from typing import Any

import asyncpg
import httpx

from benchmarks.soaking.processes import ServerProcess
from benchmarks.soaking.tally import Tally

WATCHER = "soak watcher"
TICK = 0.05

CONNECTIONS = """
SELECT count(*) FROM pg_stat_activity
 WHERE backend_type = 'client backend' AND datname = current_database() AND application_name <> $1
"""

TABLES = """
SELECT relname, n_live_tup, n_dead_tup, pg_total_relation_size(relid) AS size FROM pg_stat_user_tables
 WHERE relname IN ('stream_chunk', 'stream_version')
"""

Sample = dict[str, Any]


class Sampler:
    """Takes samples; its own connection is not counted."""

    def __init__(self, url: str, servers: Sequence[ServerProcess], tally: Tally) -> None:
        self.samples: list[Sample] = []
        self._url = url
        self._servers = servers
        self._tally = tally
        self._lag = 0.0
        self._connection: asyncpg.Connection

    async def open(self) -> None:
        self._connection = await asyncpg.connect(
            self._url, server_settings={"application_name": WATCHER}
        )

    async def close(self) -> None:
        await self._connection.close()

    async def execute(self, statement: str) -> None:
        await self._connection.execute(statement)

    async def fetch(self, query: str) -> list[Any]:
        rows: list[Any] = await self._connection.fetch(query)
        return rows

    async def run(self, *, every: float) -> None:
        """Add a sample every so many seconds, until it is cancelled."""
        begun = time.monotonic()
        ticking = asyncio.create_task(self._tick())
        try:
            while True:
                due = begun + every * (len(self.samples) + 1)
                await asyncio.sleep(max(0.0, due - time.monotonic()))
                self.samples.append(
                    {"seconds": round(time.monotonic() - begun, 2), **await self.sample()}
                )
        finally:
            ticking.cancel()

    async def sample(self) -> Sample:
        """Return what there is now. Latencies are those since the last sample; a process that is
        dead has no measures.
        """
        sample: Sample = {"open responses": self._tally.open, "load": os.getloadavg()[0]}
        sample["lag"], self._lag = self._lag * 1000, 0.0
        for way in ("across", "within"):
            p50, p99, count = self._tally.latencies(way)
            sample |= {f"p50 {way}": p50, f"p99 {way}": p99, f"words {way}": count}
        for place, server in enumerate(self._servers):
            sample |= {
                f"{name} {place}": value for name, value in (await self._measures(server)).items()
            }
        return sample | await self._database()

    async def _measures(self, server: ServerProcess) -> Sample:
        if not server.up:
            return {}
        try:
            return {"age": time.monotonic() - server.born, **await server.measures()}
        except httpx.TransportError:
            return {}

    async def _database(self) -> Sample:
        found: Sample = {"connections": await self._connection.fetchval(CONNECTIONS, WATCHER)}
        for name, live, dead, size in await self._connection.fetch(TABLES):
            found |= {f"{name} rows": live, f"{name} dead": dead, f"{name} size": size / 1e6}
        return found

    async def _tick(self) -> None:
        """Note how late this process itself is: so late may everything be that it measures."""
        while True:
            due = time.monotonic() + TICK
            await asyncio.sleep(TICK)
            self._lag = max(self._lag, time.monotonic() - due)
