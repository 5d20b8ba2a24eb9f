"""Where scenarios run: the storage, and the processes that share it."""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Final

from fuzz.chunks import PROTOCOL, Chunk
from fuzz.tables import Tables
from monostream_ai import DurableStreamService
from monostream_ai.interfaces import BackgroundErrors, Listener, Notifier, Store
from monostream_ai.notifiers.memory import MemoryNotifier
from monostream_ai.stores.memory import MemoryStore
from monostream_ai.types import WakeUp

Service = DurableStreamService[Chunk]

PROCESSES: Final = 2
"""Processes that a site with a real clock stands for; each has a store, a notifier and a service
shared by all scenarios.
"""


@dataclass(frozen=True)
class Times:
    """In seconds, by the clock of a site."""

    lease: float
    """Of processes whose death a scenario waits for."""
    poll_interval: float
    outage: float
    moment: float
    """The longest pause between two acts."""
    limit: float
    """A scenario that takes longer counts as hanging."""
    patient_lease: float = 15.0
    """Of all other processes: no machine is so busy that it runs out."""


class Site(ABC):
    """Storage for scenarios. Processes are numbered from 0; any number will do."""

    virtual: bool
    times: Times
    tables: Tables | None = None
    """The tables of the store, if they can be read past it."""

    @abstractmethod
    def store(self, process: int) -> Store:
        """Return the store of a process, not to be closed."""

    @abstractmethod
    def notifier(self, process: int, topic: str) -> Notifier:
        """Return a notifier of a process, not to be closed, for stream ids that start with
        `{topic}/`.
        """

    @abstractmethod
    async def lose(self, stream_id: str, version: int, kept: int) -> None:
        """Lose the commits of an open version behind its first chunks, as a failover may."""

    @abstractmethod
    def shared_service(self, process: int) -> Service | None:
        """Return the service that scenarios share, if this site has one."""


class MemorySite(Site):
    """The memory of one scenario, judged by the clock of its loop."""

    virtual = True
    # No multiples of one another: a poll that happens to be due when a lease ends would hide that
    # no other read is.
    times = Times(lease=15.0, poll_interval=7.0, outage=60.0, moment=2.0, limit=1000.0)

    def __init__(self, make_store: Callable[[Callable[[], float]], Store] = MemoryStore) -> None:
        self._store = make_store(asyncio.get_running_loop().time)
        self._notifier = MemoryNotifier()

    def store(self, process: int) -> Store:
        return self._store

    def notifier(self, process: int, topic: str) -> Notifier:
        return self._notifier

    async def lose(self, stream_id: str, version: int, kept: int) -> None:
        row = self._store._streams[stream_id][version]  # type: ignore[attr-defined]  # only here
        del row.payloads[kept:], row.stored_at[kept:]
        row.next_id = kept

    def shared_service(self, process: int) -> None:
        return None


class RealSite(Site):
    """A database that many scenarios use at once.

    Args:
        make_parts: Makes the store and the notifier of one more process.
    """

    virtual = False

    def __init__(
        self, make_parts: Callable[[], tuple[Store, Notifier]], times: Times, tables: Tables
    ) -> None:
        self.times = times
        self.tables = tables
        self._parts = [make_parts() for _ in range(PROCESSES)]
        self._relays = [Relay(notifier) for _, notifier in self._parts]
        self.services = [
            DurableStreamService(
                store,
                relay.on_topic(None),
                PROTOCOL,
                poll_interval=times.poll_interval * 4,
                inline="always",
            )
            for (store, _), relay in zip(self._parts, self._relays, strict=True)
        ]

    async def open(self) -> None:
        await self._parts[0][0].setup()
        for relay in self._relays:
            await relay.start()

    async def aclose(self) -> None:
        for service in self.services:
            await service.aclose()
        for relay in self._relays:
            await relay.stop()
        for store, notifier in self._parts:
            await notifier.aclose()
            await store.aclose()
        if self.tables is not None:
            await self.tables.aclose()

    def store(self, process: int) -> Store:
        return self._parts[process % PROCESSES][0]

    def notifier(self, process: int, topic: str) -> Notifier:
        return self._relays[process % PROCESSES].on_topic(topic)

    async def lose(self, stream_id: str, version: int, kept: int) -> None:
        if self.tables is not None:
            await self.tables.lose(stream_id, version, kept)

    def shared_service(self, process: int) -> Service:
        return self.services[process % PROCESSES]


class Relay:
    """Shares one notifier among many listeners, so that a scenario's own service costs no
    connection.
    """

    def __init__(self, notifier: Notifier) -> None:
        self.notifier = notifier
        self._listeners: dict[str | None, list[Listener]] = {}
        self._unlisten: Callable[[], Awaitable[None]] | None = None

    async def start(self) -> None:
        self._unlisten = await self.notifier.listen(self, lambda source, error: None)

    async def stop(self) -> None:
        if self._unlisten is not None:
            await self._unlisten()

    def on_topic(self, topic: str | None) -> Notifier:
        """Return a notifier that hears of one topic only; None hears of all."""
        return _TopicNotifier(self, topic)

    def add(self, topic: str | None, listener: Listener) -> None:
        self._listeners.setdefault(topic, []).append(listener)
        listener.on_resync()

    def remove(self, topic: str | None, listener: Listener) -> None:
        listeners = self._listeners.get(topic, [])
        if listener in listeners:
            listeners.remove(listener)
        if not listeners:
            self._listeners.pop(topic, None)

    def on_wake_up(self, wake_up: WakeUp) -> None:
        for topic in (None, wake_up.stream_id.partition("/")[0]):
            for listener in [*self._listeners.get(topic, ())]:
                listener.on_wake_up(wake_up)

    def on_resync(self) -> None:
        for listeners in [*self._listeners.values()]:
            for listener in [*listeners]:
                listener.on_resync()


class _TopicNotifier(Notifier):
    def __init__(self, relay: Relay, topic: str | None) -> None:
        self._relay = relay
        self._topic = topic

    @property
    def healthy(self) -> bool:
        return self._relay.notifier.healthy

    @property
    def most_carried(self) -> int:
        return self._relay.notifier.most_carried

    async def notify(self, wake_ups: Sequence[WakeUp]) -> None:
        await self._relay.notifier.notify(wake_ups)

    async def listen(
        self, listener: Listener, on_error: BackgroundErrors
    ) -> Callable[[], Awaitable[None]]:
        self._relay.add(self._topic, listener)

        async def unlisten() -> None:
            self._relay.remove(self._topic, listener)

        return unlisten

    async def aclose(self) -> None:
        """Leave the relay open."""
