"""The surroundings of one scenario: choices, stream, processes and trace, and the chunks that must
be stored in the end.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Coroutine, Mapping, Sequence
from dataclasses import dataclass, field, replace
from types import UnionType
from typing import Any, Final

from fuzz.chunks import PROTOCOL, Chunk
from fuzz.draws import Draws
from fuzz.faults import FaultyStore, Log, ignore
from fuzz.sites import Service, Site
from fuzz.tables import Stored
from fuzz.virtual_time import turns
from monostream_ai import DurableStreamService
from monostream_ai._inline import Inline
from monostream_ai.interfaces import Notifier
from monostream_ai.protocol import ChunkProtocol
from monostream_ai.types import MAX_CHUNK_BYTES, State, VersionInfo

PAGE: Final = 1000
"""Rows read at once when a version is checked."""

SLACK: Final = 0.6
"""Seconds of virtual time within which news that is told at once must arrive. Polls are rounded to
ticks, and other tasks may run in between.
"""

STREAM_IDS: Final = ("s", "s", "s", "s", " '\"%s:x;--", "é\U0001f600\u2028", "x" * 1900)


class Mismatch(Exception):
    """A guarantee did not hold."""


@dataclass(slots=True)
class Told:
    """The chunks and the state that a version must have."""

    payloads: list[str]
    state: State


@dataclass(slots=True)
class World:
    """A scenario's surroundings. `topic` is part of its stream ids and must be new for each run on
    a shared site.
    """

    site: Site
    draws: Draws
    topic: str
    tracing: bool = False
    kinds: list[str] = field(default_factory=list)
    """The scenarios it contains, if it is a crowd."""
    trace: list[tuple[float, tuple[object, ...]]] = field(default_factory=list)
    truth: dict[int, Told] = field(default_factory=dict)
    newest: int = -1
    """The newest version that is known to be open."""
    chunks_may_go: bool = False
    """Whether delivered chunks may be gone from the store already."""
    expects_errors: bool = False
    """Whether work in the background may fail."""
    _group: asyncio.TaskGroup | None = None
    _services: list[Service] = field(default_factory=list)
    _stores: list[FaultyStore] = field(default_factory=list)
    _processes: dict[int, Service] = field(default_factory=dict)
    _actors: int = 0
    stream: str = ""

    def __post_init__(self) -> None:
        self.stream = f"{self.topic}/{self.draws.choice('stream id', STREAM_IDS)}"

    @property
    def log(self) -> Log:
        """Adds a line to the trace, if there is one."""
        return self._trace if self.tracing else ignore

    def _trace(self, *line: object) -> None:
        self.trace.append((asyncio.get_running_loop().time(), line))

    def require(self, holds: bool, complaint: str) -> None:
        if not holds:
            raise Mismatch(complaint)

    def require_error(
        self,
        subject: str,
        error: BaseException | None,
        kind: type[BaseException | None] | UnionType | tuple[type[BaseException | None], ...],
    ) -> None:
        """Insist on the kind of error, or of no error, that a reader or publisher ended with."""
        self.require(isinstance(error, kind), f"{subject} got {error!r}")

    async def require_refusal(
        self, call: Awaitable[object], *kinds: type[Exception], complaint: str
    ) -> None:
        """Insist that a call raises one of these errors."""
        try:
            await call
        except kinds:
            return
        raise Mismatch(complaint)

    async def until_open(self) -> None:
        """Wait until a version is open."""
        while self.newest < 0:
            await asyncio.sleep(0)

    def actor(self, kind: str) -> Draws:
        """Return the choices of a new actor."""
        self._actors += 1
        return self.draws.actor(f"{kind}{self._actors}")

    def number(self, name: str, low: int, high: int) -> int:
        return self.draws.number(name, low, high)

    def few(self, name: str, low: int, high: int) -> int:
        return self.draws.few(name, low, high)

    def sibling(self, number: int) -> World:
        """Return the surroundings of another stream in the same processes."""
        draws = self.draws.actor(f"sibling{number}")
        return replace(self, draws=draws, topic=f"{self.topic}-{number}", truth={}, newest=-1)

    def spawn(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """Run a coroutine beside the scenario; its failure is the scenario's."""
        if self._group is None:
            raise RuntimeError("the scenario does not run")
        return self._group.create_task(work)

    async def pause(self, draws: Draws | None = None) -> None:
        """Let others run: not at all, for some turns of the loop, or for a moment."""
        draws = draws or self.draws
        match draws.number("pause", 0, 9):
            case 0 | 1 | 2 | 3:
                return
            case 4 | 5 | 6 | 7 | 8:
                await turns(draws.few("turns", 0, 12))
            case _:
                await asyncio.sleep(self.site.times.moment * draws.number("moment", 0, 20) / 20)

    def service(self, process: int = 0) -> Service:
        """Return the service of a process without faults."""
        shared = self.site.shared_service(process)
        if shared is not None:
            return shared
        if process not in self._processes:
            self._processes[process] = self.own_service(
                process, slow=self.draws.choice("slow", (0, 0, 0, 1, 4))
            )[0]
        return self._processes[process]

    def own_service(
        self,
        process: int = 0,
        *,
        notifier: Notifier | bool = True,
        lease: float | None = None,
        slow: int = 0,
        inline: Inline | None = None,
        protocol: ChunkProtocol[Chunk] = PROTOCOL,
    ) -> tuple[Service, FaultyStore]:
        """Return a new process, and its way to the store, which can be made to fail.

        Args:
            notifier: Its notifier, or whether it has one.
            inline: By default drawn.
        """
        times = self.site.times
        store = FaultyStore(self.site.store(process), self.actor("store"), self.log, slow=slow)
        if isinstance(notifier, bool):
            told = self.site.notifier(process, self.topic) if notifier else None
        else:
            told = notifier
        service = DurableStreamService(
            store,
            told,
            protocol,
            lease=lease or times.patient_lease,
            poll_interval=times.poll_interval,
            outage_timeout=times.outage,
            inline=inline or self.draws.choice("inline", ("always", "always", "never")),
        )
        service.on_error(self._on_error)
        self._services.append(service)
        self._stores.append(store)
        return service, store

    def _on_error(self, source: str, error: BaseException) -> None:
        self.log("background error", source, repr(error))

    async def rows(self, version: int) -> list[str]:
        """Return the rows of a version."""
        rows = list[str]()
        while page := await self.stored(version, len(rows), PAGE):
            rows.extend(page)
            if len(page) < PAGE:
                break
        return rows

    async def stored(self, version: int, first: int, count: int) -> list[str]:
        """Return up to `count` rows of a version from id `first` on."""
        store = self.site.store(0)
        return await store.payloads(
            self.stream, version, first, max_rows=count, max_bytes=count * MAX_CHUNK_BYTES
        )

    async def verify(self) -> None:
        """Insist that exactly the expected versions are stored, row by row."""
        if self.site.tables is not None:
            self._verify_tables(await self.site.tables.versions(self.stream))
        if self.site.tables is None or self.draws.chance("ask the store", 10):
            await self._verify_store()

    def _verify_tables(self, found: Mapping[int, Stored]) -> None:
        untold = [
            version
            for version, stored in found.items()
            if version not in self.truth and stored.payloads
        ]
        self.require(not untold, f"there are chunks of the versions {untold}")
        self.require(
            max(found, default=None) == max(self.truth, default=None),
            f"there are the versions {[*found]}",
        )
        for version, told in self.truth.items():
            stored = found.get(version)
            if stored is None or stored.payloads != told.payloads:
                rows = [] if stored is None else stored.payloads
                raise Mismatch(
                    f"version {version} holds {brief(rows)}\nbut should hold {brief(told.payloads)}"
                )
            expected = (told.state, len(told.payloads))
            self.require(
                stored[:2] == expected,
                f"version {version} is {stored[:2]} but should be {expected}",
            )

    async def _verify_store(self) -> None:
        last = await self.site.store(0).info(self.stream)
        latest = None if last is None else last.version
        newest = max(self.truth, default=None)
        self.require(latest == newest, f"the latest version is {latest} but should be {newest}")
        for version, told in self.truth.items():
            info = (
                last if version == newest else await self.site.store(0).info(self.stream, version)
            )
            await self._verify_version(version, told, info)

    async def _verify_version(self, version: int, told: Told, info: VersionInfo | None) -> None:
        rows = await self.rows(version)
        if rows != told.payloads:
            raise Mismatch(
                f"version {version} holds {brief(rows)}\nbut should hold {brief(told.payloads)}"
            )
        self.require(info is not None, f"version {version} is not known")
        if info is not None:
            found = (info.state, info.next_id)
            expected = (told.state, len(told.payloads))
            self.require(
                found == expected, f"version {version} is {found} but should be {expected}"
            )

    async def dispose(self) -> None:
        """Delete the stream."""
        if self.site.tables is None or self.draws.chance("delete", 10):
            self.require(await self.site.store(0).delete(self.stream), "a stream is gone")
        else:
            await self.site.tables.forget(self.stream)

    async def run(self, scenario: Coroutine[Any, Any, None]) -> None:
        """Run the scenario and the tasks it spawns, then close its processes."""
        async with asyncio.timeout(self.site.times.limit):
            try:
                async with asyncio.TaskGroup() as self._group:
                    await scenario
            finally:
                await self._close()

    async def _close(self) -> None:
        for store in self._stores:
            store.refused = store.answers_lost = 0.0
            store.resume()
        for service in self._services:
            await service.aclose()
        if not self.expects_errors:
            for service in self._services:
                self.require(
                    not service.statistics().errors,
                    f"work in the background failed: {dict(service.statistics().errors)}",
                )


def brief(payloads: Sequence[str]) -> str:
    """Return payloads, shortened for printing."""
    shown = [text if len(text) <= 60 else f"{text[:50]}…({len(text)})" for text in payloads]
    if len(shown) > 30:
        shown[10:-10] = [f"…{len(shown) - 20} more…"]
    return f"{len(payloads)} [{', '.join(shown)}]"
