"""The parts that the rounds of a run share: one Postgres, a proxy and a pooler before it, two
SQLite files, and worker processes.
"""

from __future__ import annotations

import asyncio
import shutil
import sqlite3
import tempfile
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path
from typing import Final, Literal, TypeVar

from fuzz.parts.crew import Worker
from fuzz.parts.disk import LimitedFiles, SmallDisk, make_disk
from fuzz.parts.pooler import PORT, Pooler, owner_of
from fuzz.parts.postgres import DATABASE, ROLE, PostgresServer
from fuzz.parts.proxy import Proxy
from fuzz.parts.worker import STATEMENT_TIMEOUT, Settings
from fuzz.world import Mismatch
from monostream_ai.errors import StoreUnavailable
from monostream_ai.interfaces import Store
from monostream_ai.stores.sql import PostgresStore, SQLiteStore

T = TypeVar("T")

Place = Literal["postgres", "proxied", "narrow", "pooled", "sqlite", "disk"]
"""Where a worker keeps its streams, and its way there. The first four share one database."""

LEASE: Final = 0.9
POLL_INTERVAL: Final = 0.4
OUTAGE: Final = 30.0
POOL_TIMEOUT: Final = STATEMENT_TIMEOUT
OWN_CONNECTIONS: Final = 2
"""Connections that the fuzzer's own view of the database takes."""

PATIENCE: Final = 30.0
"""Seconds for the fuzzer's own work, as opposed to the work under test."""

SERVED: Final = ("postgres", "proxied", "narrow", "pooled")


class Stage:
    """Opens each part when a round first asks for it."""

    lease = LEASE

    def __init__(self) -> None:
        self.postgres = PostgresServer()
        self.proxy = Proxy(f"{self.postgres.host}/.s.PGSQL.5432")
        self.directory = Path(tempfile.mkdtemp(prefix="ms"))
        self._pooler: Pooler | None = None
        self._disk: SmallDisk | LimitedFiles | None = None
        self._postgres_runs = False
        self._workers: dict[tuple[Place, int], Worker] = {}
        self._names = 0
        self._stores: dict[str, Store] = {}

    @property
    def pooler(self) -> Pooler:
        if self._pooler is None:
            server = {"host": self.postgres.host, "dbname": DATABASE, "user": ROLE}
            directory = self.directory / "pooler"
            directory.mkdir()
            self.directory.chmod(0o755)
            settings = {
                "server_login_retry": 0.1,
                "server_connect_timeout": 2,
                "server_fast_close": 1,
            }
            self._pooler = Pooler(directory, server, owner_of(self.postgres.host), **settings)
        return self._pooler

    @property
    def disk(self) -> SmallDisk | LimitedFiles:
        if self._disk is None:
            self._disk = make_disk()
        return self._disk

    async def workers(self, place: Place, count: int) -> list[Worker]:
        """Return this many live workers, replacing dead ones; each has done everything once."""
        if place in SERVED and not self._postgres_runs:
            await self.postgres.open()
            await self.proxy.open()
            self._postgres_runs = True
        if place == "pooled" and self._pooler is None:
            await self.pooler.start()
        await self.store(place)
        return await asyncio.gather(*(self._worker(place, number) for number in range(count)))

    async def store(self, place: Place) -> Store:
        """Return the fuzzer's own store on the streams that the workers of a place share."""
        kind = "postgres" if place in SERVED else place
        if kind not in self._stores:
            store: Store
            if kind == "postgres":
                store = PostgresStore.from_url(self.postgres.url, pool_size=OWN_CONNECTIONS)
            else:
                store = SQLiteStore.from_url(self.url(place))
            await store.setup()
            self._stores[kind] = store
        return self._stores[kind]

    def url(self, place: Place) -> str:
        match place:
            case "proxied":
                return f"postgresql+asyncpg://{ROLE}@127.0.0.1:{self.proxy.port}/{DATABASE}"
            case "pooled":
                return f"postgresql+asyncpg://{ROLE}@/{DATABASE}?host={self.pooler.directory}&port={PORT}"
            case "sqlite" | "disk":
                return f"sqlite+aiosqlite:///{self.path(place)}"
        return self.postgres.url

    def path(self, place: Place) -> Path:
        """Return the SQLite file of a place."""
        return (self.disk.directory if place == "disk" else self.directory) / "streams.db"

    def living(self, place: Place | None = None) -> list[Worker]:
        """Return the live workers, of one place or of all."""
        return [
            worker
            for (where, _), worker in self._workers.items()
            if worker.alive and place in (None, where)
        ]

    def pids(self, place: Place) -> list[int]:
        return [worker.pid for worker in self.living(place)]

    def intruder(self, place: Place) -> sqlite3.Connection:
        """Return a connection to the SQLite file of a place, as another program would have it."""
        return sqlite3.connect(self.path(place), isolation_level=None, check_same_thread=False)

    async def close(self, *, broken: bool = False) -> None:
        """Let all workers leave, insist that they leave nothing, then take everything down.

        Args:
            broken: Kill the workers instead, because something went wrong before.
        """
        try:
            left = (
                []
                if broken
                else await asyncio.gather(*(worker.leave() for worker in self.living()))
            )
            if any(count for count, _ in left):
                raise Mismatch(f"closed services left tasks: {left}")
        finally:
            await asyncio.gather(*(worker.kill() for worker in self.living()))
            for store in self._stores.values():
                await store.aclose()
            if self._pooler is not None:
                await self._pooler.kill()
            await self.proxy.close()
            await self.postgres.close()
            if self._disk is not None:
                self._disk.close()
            shutil.rmtree(self.directory, ignore_errors=True)

    async def _worker(self, place: Place, number: int) -> Worker:
        worker = self._workers.get((place, number))
        if worker is None or not worker.alive:
            self._names += 1
            worker = Worker(self._settings(place, f"{place} {number} #{self._names}"))
            await worker.start()
            self._workers[place, number] = worker
            await self._warm_up(worker)
        return worker

    def _settings(self, place: Place, name: str) -> Settings:
        settings = Settings(name, self.url(place), LEASE, POLL_INTERVAL, OUTAGE)
        match place:
            case "pooled":
                return replace(settings, listen_url=self.postgres.url)
            case "narrow":
                return replace(settings, pool_size=1, borrows=True)
        return settings

    async def _warm_up(self, worker: Worker) -> None:
        stream = f"warm up {worker.name}"
        reading = worker.tell("read", stream)
        writing = worker.tell("publish", stream, "warm", 1, 0, 0.0)
        for job in (writing, reading):
            over = await job.end(within=PATIENCE)
            if over[0] not in ("closed", "ended"):
                raise Mismatch(f"{worker.name} did not start: {over}")
        worker.baseline = await census(worker)


async def census(worker: Worker) -> list[object]:
    """Return the tasks, threads and open files of a worker."""
    job = worker.tell("census")
    await job.until("census", within=PATIENCE)
    return next(iter(job.said("census")), [[], 0, 0])


async def patiently(attempt: Callable[[], Awaitable[T]]) -> T:
    """Repeat a call to a store while the store is unavailable."""
    async with asyncio.timeout(PATIENCE):
        while True:
            try:
                return await attempt()
            except StoreUnavailable:
                await asyncio.sleep(0.02)
