"""Lost versions that cannot be ended as their chunks call for, among healthy ones."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from fuzz.chunks import ERROR, TERMINAL, Chunk
from fuzz.sites import Service
from fuzz.world import World
from fuzz.writer import publish
from monostream_ai.errors import MASKED_ERROR_TEXT
from monostream_ai.json_text import encode_json
from monostream_ai.protocol import JSONProtocol
from monostream_ai.types import (
    MAX_CHUNK_BYTES,
    Append,
    Ending,
    Lease,
    Opening,
    VersionInfo,
    new_token,
)

TEXT: Final = '{"type":"text"}'
KINDS: Final = ("healthy", "healthy", "large", "raises", "no json", "unreadable", "superseded")
SLOW_KINDS: Final = ("mute", "unable")
"""Given up after several leases, so only where time costs nothing."""


class Poisoned(Exception):
    """A part of a scenario fails on purpose."""


class PoisonedProtocol(JSONProtocol[Chunk]):
    """Fails as the message id of a version says, which each of its endings repeats."""

    def __init__(self, *, plain_fails: bool) -> None:
        super().__init__(lambda chunk: chunk["type"] in TERMINAL)
        self._plain_fails = plain_fails

    def decode(self, payload: str) -> Chunk:
        if payload == encode_json({"type": "unreadable"}):
            raise Poisoned
        return super().decode(payload)

    def transcript(self, message_id: str | None = None) -> _Transcript:
        return _Transcript(message_id, plain_fails=self._plain_fails)


class _Transcript:
    def __init__(self, message_id: str | None, *, plain_fails: bool) -> None:
        self._message_id = message_id
        self._plain_fails = plain_fails

    def feed(self, chunk: Chunk) -> None:
        """Learn nothing: the ending depends on the message id only."""

    def ending(self, ending: Ending, error_text: str = MASKED_ERROR_TEXT) -> Sequence[Chunk]:
        match self._message_id:
            case None if not self._plain_fails:
                return [{"type": "error"}]
            case None | "raises":
                raise Poisoned
            case "no json":
                return [{"type": "error", "value": float("nan")}]
            case "mute":
                return []
        return [{"type": "error", "id": self._message_id}]


@dataclass(frozen=True, slots=True)
class Lost:
    """A watched version whose publisher is gone."""

    stream_id: str
    kind: str
    payloads: list[str]

    @property
    def stays_open(self) -> bool:
        return self.kind in ("mute", "superseded")

    def ending(self, *, plain_fails: bool) -> list[str]:
        """Return the payloads that end it."""
        if self.stays_open:
            return []
        if self.kind in ("healthy", "unable"):
            return [encode_json({"type": "error", "id": self.kind})]
        return [] if plain_fails else [ERROR]


async def poisoned(world: World) -> None:
    """Lost versions that cannot be ended as usual take nothing from healthy ones: these are all
    recovered, those end or are given up, none is listed for ever, and a superseded one never is.
    """
    world.expects_errors = True
    plain_fails = world.draws.chance("plain fails", 50)
    protocol = PoisonedProtocol(plain_fails=plain_fails)
    services = [world.own_service(n, protocol=protocol)[0] for n in range(3)]
    kinds = KINDS + SLOW_KINDS if world.site.virtual else KINDS
    versions = {}
    for n in range(world.number("versions", 2, 12)):
        lost = await _leave(world, f"{world.topic}/p{n}", world.draws.choice("kind", kinds))
        versions[lost.stream_id] = lost
    sweepers = [
        asyncio.create_task(_sweep(world, services[n], versions))
        for n in range(world.number("processes", 1, 3))
    ]
    try:
        await _until_over(world, services[0], versions, sweepers)
    finally:
        for task in sweepers:
            task.cancel()
        await asyncio.wait(sweepers)
    for lost in versions.values():
        await _check(world, lost, plain_fails=plain_fails)
        world.require(await world.site.store(0).delete(lost.stream_id), "a lost stream is gone")
    await publish(world, world.service())
    await world.verify()


async def _leave(world: World, stream_id: str, kind: str) -> Lost:
    """Leave a lost version in the store, past the service, which would refuse some of them."""
    store = world.site.store(0)
    message_id = "x" * (MAX_CHUNK_BYTES + 1) if kind == "large" else kind
    payloads = [TEXT, encode_json({"type": "unreadable"})] if kind == "unreadable" else [TEXT]
    opening = Opening(new_token(), 60.0, message_id=message_id, watched=True)
    lease = Lease(stream_id, await store.acquire(stream_id, None, opening), opening.token)
    await store.append([Append(lease, 0, payloads, False)], lease=60.0)
    await store.release(lease)
    if kind == "superseded":
        await store.acquire(stream_id, None, Opening(new_token(), 60.0))
    return Lost(stream_id, kind, payloads)


async def _sweep(world: World, service: Service, versions: dict[str, Lost]) -> None:
    draws = world.actor("sweeper")
    while True:
        found = await service.unattended(
            prefix=f"{world.topic}/p", limit=draws.number("limit", 1, 4)
        )
        for info in found:
            lost = versions[info.stream_id]
            world.require(lost.kind != "superseded", "a superseded version is listed")
            world.log("looks after", info.stream_id, info.state)
            try:
                await _look_after(service, lost, info)
            except Poisoned:
                world.log("work failed", info.stream_id)
        await asyncio.sleep(0.1 if found else 0.5)


async def _look_after(service: Service, lost: Lost, info: VersionInfo) -> None:
    async def work() -> None:
        if lost.kind == "unable" and info.state == "open":
            raise Poisoned
        if info.state == "open":
            await service.end_lost(info.stream_id, info.version)

    if info.state == "open":
        await service.recover(info.stream_id, info.version, work)
    else:
        await service.settle(info.stream_id, info.version, work, timeout=5.0)


async def _until_over(
    world: World,
    service: Service,
    versions: dict[str, Lost],
    sweepers: list[asyncio.Task[None]],
) -> None:
    """Wait until every version has ended or is given up, and nothing is listed any more."""
    while True:
        for task in sweepers:
            if task.done():
                world.require(False, f"a sweep ended with {task.exception()!r}")
        infos = await service.streams(prefix=f"{world.topic}/p")
        going_on = [
            info
            for info in infos
            if versions[info.stream_id].kind != "superseded"
            and info.state == "open"
            and info.abandoned_at is None
        ]
        if not going_on and not await service.unattended(prefix=f"{world.topic}/p"):
            return
        await asyncio.sleep(0.5)


async def _check(world: World, lost: Lost, *, plain_fails: bool) -> None:
    store = world.site.store(0)
    info = await store.info(lost.stream_id, 0)
    state = None if info is None else info.state
    world.require(
        state == ("open" if lost.stays_open else "closed"), f"the {lost.kind} version is {state}"
    )
    rows = await store.payloads(lost.stream_id, 0, 0, max_rows=10, max_bytes=MAX_CHUNK_BYTES)
    expected = [*lost.payloads, *lost.ending(plain_fails=plain_fails)]
    world.require(rows == expected, f"the {lost.kind} version holds {rows}")
