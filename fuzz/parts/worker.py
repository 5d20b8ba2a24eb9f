"""A process with one service, directed by lines of JSON and answering in lines of JSON.

It may be killed at any instant.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import signal
import socket
import threading
import time
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from fuzz.chunks import PROTOCOL, Chunk
from fuzz.sites import Service
from monostream_ai import DurableStreamService
from monostream_ai.errors import MonostreamError, PublisherLost, StoreUnavailable
from monostream_ai.interfaces import Notifier, Store
from monostream_ai.notifiers.postgres import PostgresNotifier
from monostream_ai.notifiers.sqlite import SQLiteNotifier
from monostream_ai.stores.postgres.engine import CONNECT_ARGUMENTS, postgres_url
from monostream_ai.stores.sql import PostgresStore, SQLiteStore

STATEMENT_TIMEOUT: Final = 1.0
"""Seconds for a connection, and for a statement. The library's own defaults are longer than a
round.
"""

OPEN_PATIENCE: Final = 20.0
"""Seconds for which a publisher tries to open its version."""

LINE_LIMIT: Final = 2**24


@dataclass(frozen=True)
class Settings:
    """How a worker is set up.

    Args:
        borrows: Its service uses engines of the application, from which `hold` takes connections.
        listen_url: A direct URL to listen on; given if `url` leads through a pooler.
    """

    name: str
    url: str
    lease: float
    poll_interval: float
    outage: float
    pool_size: int = 3
    borrows: bool = False
    listen_url: str | None = None


def chunk_of(author: str, number: int, size: int) -> Chunk:
    """Return the chunk that an author writes at a place; anybody that knows the author can compute
    it.
    """
    return {"type": "text", "by": author, "n": number, "text": "x" * (number * 7919 % (size + 1))}


def main(channel: socket.socket, settings: Settings) -> None:
    """Do jobs until the channel ends."""
    # Rounds cause background errors on purpose; each would be a line.
    logging.disable(logging.CRITICAL)
    # Ctrl+C is for the process that directs this one.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    asyncio.run(_obey(channel, settings))


async def _obey(channel: socket.socket, settings: Settings) -> None:
    reader, writer = await asyncio.open_connection(sock=channel, limit=LINE_LIMIT)
    parts = Parts(settings)
    child = Child(parts, writer)
    tasks: set[asyncio.Task[None]] = set()
    while line := await reader.readline():
        job, verb, *arguments = json.loads(line)
        if verb == "leave":
            break
        task = asyncio.create_task(child.do(job, verb, arguments))
        tasks.add(task)
        task.add_done_callback(tasks.discard)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    await parts.aclose()
    left = asyncio.all_tasks() - {asyncio.current_task()}
    if line:
        child.say(job, "left", len(left), [repr(task.get_coro()) for task in left])
    writer.close()


class Parts:
    """A worker's service and the engines under it."""

    def __init__(self, settings: Settings) -> None:
        self.engines: list[AsyncEngine] = []
        self._settings = settings
        store, notifier = self._sqlite() if settings.url.startswith("sqlite") else self._postgres()
        self.service: Service = DurableStreamService(
            store,
            notifier,
            PROTOCOL,
            lease=settings.lease,
            poll_interval=settings.poll_interval,
            outage_timeout=settings.outage,
        )

    async def aclose(self) -> None:
        await self.service.aclose()
        for engine in self.engines:
            await engine.dispose()

    def _sqlite(self) -> tuple[Store, Notifier]:
        store = SQLiteStore.from_url(self._settings.url)
        return store, SQLiteNotifier(store)

    def _postgres(self) -> tuple[Store, Notifier]:
        settings = self._settings
        CONNECT_ARGUMENTS.update(timeout=STATEMENT_TIMEOUT, command_timeout=STATEMENT_TIMEOUT)
        if settings.borrows:
            return PostgresStore(
                self._engine(settings.pool_size), statement_timeout=STATEMENT_TIMEOUT
            ), PostgresNotifier(self._engine(2))
        _connect_as(settings.name)
        listening = PostgresNotifier.from_url(settings.listen_url or settings.url)
        if settings.listen_url is not None:
            # The pooler's own connections would take the name of the last client that used them.
            _connect_as("pooled")
        pooled = settings.listen_url is not None
        store = PostgresStore.from_url(
            settings.url,
            pool_size=settings.pool_size,
            pooler=pooled,
            statement_timeout=STATEMENT_TIMEOUT,
        )
        return store, listening

    def _engine(self, pool_size: int) -> AsyncEngine:
        _connect_as(self._settings.name)
        url, arguments = postgres_url(self._settings.url), {**CONNECT_ARGUMENTS}
        engine = create_async_engine(
            url,
            pool_size=pool_size,
            max_overflow=0,
            pool_timeout=STATEMENT_TIMEOUT,
            connect_args=arguments,
        )
        self.engines.append(engine)
        return engine


def _connect_as(name: str) -> None:
    CONNECT_ARGUMENTS["server_settings"] = {"application_name": name}


class Child:
    """Does one job for each line, all at the same time."""

    def __init__(self, parts: Parts, writer: asyncio.StreamWriter) -> None:
        self._parts = parts
        self._service = parts.service
        self._writer = writer

    def say(self, job: int, *words: object) -> None:
        # Reaches the kernel before it returns, so lines sent before a kill are still read.
        self._writer.write(json.dumps([job, *words]).encode() + b"\n")

    async def do(self, job: int, verb: str, arguments: list[Any]) -> None:
        work: Callable[..., Coroutine[Any, Any, None]] = getattr(self, verb)
        try:
            await work(job, *arguments)
        except MonostreamError as error:
            self.say(job, "error", type(error).__name__)
        except Exception as error:
            self.say(job, "crash", repr(error))

    async def publish(
        self, job: int, stream: str, author: str, count: int, size: int, pause: float
    ) -> None:
        """Open a version and write it to its finish; report each chunk as soon as it is durable."""
        pub = self._service.publisher(stream)
        await _insist(pub.open)
        async with pub:
            self.say(job, "opened", pub.version)
            for number in range(count):
                self.say(job, "wrote", await pub.write(chunk_of(author, number, size)))
                await asyncio.sleep(pause)
        self.say(job, "closed")

    async def read(self, job: int, stream: str) -> None:
        """Read to the end and report all that comes, coming back after a loss or an outage as a
        client does.
        """
        after = None
        while True:
            subscription = self._service.subscribe(stream, after=after)
            try:
                while True:
                    batch = await subscription.next_batch()
                    self.say(job, "read", batch.version, batch.first, batch.payloads)
            except StopAsyncIteration:
                self.say(job, "ended")
                return
            except (PublisherLost, StoreUnavailable) as error:
                self.say(job, "lost" if isinstance(error, PublisherLost) else "unavailable")
                after = subscription.cursor
            await asyncio.sleep(0.05)

    async def stop(self, job: int, stream: str, version: int) -> None:
        self.say(job, "stopped", await _insist(lambda: self._service.stop(stream, version)))

    async def end_lost(self, job: int, stream: str, version: int) -> None:
        self.say(job, "ended lost", await _insist(lambda: self._service.end_lost(stream, version)))

    async def hold(self, job: int, seconds: float) -> None:
        """Take every connection of the engines that the store borrows, as an application may."""
        connections = [
            await engine.connect()
            for engine in self._parts.engines
            for _ in range(engine.pool.size())
        ]
        self.say(job, "held", len(connections))
        await asyncio.sleep(seconds)
        for connection in connections:
            await connection.close()
        self.say(job, "let go")

    async def census(self, job: int) -> None:
        """Report what this process has: tasks besides those that do jobs, threads, open files."""
        own = {asyncio.current_task()}
        tasks = [task.get_coro().__qualname__ for task in asyncio.all_tasks() - own]
        self.say(job, "census", sorted(tasks), threading.active_count(), len(os.listdir("/dev/fd")))


async def _insist(attempt: Callable[[], Awaitable[Any]]) -> Any:
    deadline = time.monotonic() + OPEN_PATIENCE
    while True:
        try:
            return await attempt()
        except StoreUnavailable:
            if time.monotonic() > deadline:
                raise
        await asyncio.sleep(0.05)
