"""Streams that become others: deleted and begun anew, or set back by a failover."""

from __future__ import annotations

import asyncio
import json
from typing import Final

from fuzz.chunks import ABORT, Chunk
from fuzz.reader import Reader
from fuzz.sites import Service
from fuzz.world import Told, World
from fuzz.writer import opened
from monostream_ai import Cursor, Subscription
from monostream_ai.errors import (
    ChunksMissing,
    CursorNotFound,
    MonostreamError,
    PublisherError,
    StreamDeleted,
)
from monostream_ai.json_text import encode_json
from monostream_ai.types import Append, Lease, new_token

OLD, NEW = "old", "new"

OTHER: Final = 100
"""Number of the first chunk of another history."""


async def begun_anew(world: World) -> None:
    """A stream that is deleted and begun anew is another one: a reader gets a beginning of the one
    that it began with, then an error, and no number comes back. One that has read nothing may get
    the new one.
    """
    world.chunks_may_go = True
    count = world.draws.choice("count", (3, 30, 30, 1500))
    old = await _write(world, world.service(0), OLD, count)
    readers = [
        await _started(world, n, world.number("read", 0, count))
        for n in range(world.number("readers", 1, 3))
    ]
    for n in range(world.number("deletions", 1, 2)):
        world.require(await world.service(n).delete(world.stream), "there was nothing to delete")
        world.truth.clear()
        world.newest = -1
        await world.pause()
        version = await _write(world, world.service(n + 1), NEW, count)
        world.require(version > old, f"version {version} follows the deleted version {old}")
    for subscription, seen in readers:
        read = len(seen)
        error = await _read_on(subscription, seen)
        # Its process may have had the rest of the old one already, with its finish.
        whole = _texts(OLD, count)
        if not read and seen[:1] == [f"{NEW} 0"]:
            # It had not begun with the old one.
            whole = _texts(NEW, count)
        world.require(seen == whole[: len(seen)], f"a reader of a deleted stream got {seen[-3:]}")
        fitting = (type(None),) if seen == whole else (StreamDeleted, ChunksMissing)
        world.require_error("a reader", error, fitting)
    cursor = Cursor(old, world.number("cursor", -1, count))
    late = world.service(world.number("late", 0, 2)).subscribe(world.stream, after=cursor)
    error = await _read_on(late, seen := list[str]())
    world.require(seen == [], f"a cursor of a deleted version led to {seen[:3]}")
    world.require_error("a cursor of a deleted version", error, StreamDeleted | CursorNotFound)
    await world.verify()


def _texts(author: str, count: int) -> list[str]:
    """Return the texts of a whole version; its finish has none."""
    return [*(f"{author} {n}" for n in range(count)), ""]


async def _write(world: World, service: Service, author: str, count: int) -> int:
    chunks = [{"type": "text", "text": f"{author} {n}"} for n in range(count)]
    async with service.publisher(world.stream) as pub:
        opened(world, pub, chunks, finished=True)
        for start in range(0, count, 500):
            await pub.write(*chunks[start : start + 500])
    return pub.version


async def _started(world: World, process: int, count: int) -> tuple[Subscription[Chunk], list[str]]:
    subscription = world.service(process).subscribe(world.stream)
    return subscription, [(await anext(subscription))["text"] for _ in range(count)]


async def _read_on(subscription: Subscription[Chunk], seen: list[str]) -> MonostreamError | None:
    try:
        seen += [chunk.get("text", "") async for chunk in subscription]
    except MonostreamError as error:
        return error
    return None


async def lost_commits(world: World) -> None:
    """A failover loses the last commits of a version that is then stopped, or ended with several
    chunks: each reader gets one history to its end, or `ChunksMissing`, and never the end of
    another one.
    """
    world.chunks_may_go = world.expects_errors = True
    service, _ = world.own_service(0)
    pub = await service.publisher(world.stream).open()
    opened(world, pub)
    count = world.number("chunks", 2, 9)
    for n in range(count):
        await pub.write({"type": "text", "n": n})
    readers = [Reader(world, world.own_service(n)[0]) for n in range(world.few("readers", 1, 3))]
    while not all(len(reader.seen) == count for reader in readers):
        await asyncio.sleep(0.01)
    kept = world.number("kept", 0, count - 1)
    await world.site.lose(world.stream, pub.version, kept)
    expected = [encode_json({"type": "text", "n": n}) for n in range(kept)]
    expected += await _other_end(world, pub.version, kept)
    try:
        await pub.close()
    except (PublisherError, ChunksMissing):
        pass
    world.truth[pub.version] = Told(expected, "closed")
    for reader in readers:
        await reader.task
        world.require_error("a reader", reader.error, ChunksMissing)
        got = [json.loads(seen.payload)["n"] for seen in reader.seen]
        world.require(got == [*range(count)], f"a reader of {count} chunks got {got}")
    late = Reader(world, world.service(1))
    await late.task
    late.check_ended()
    await world.verify()


async def _other_end(world: World, version: int, kept: int) -> list[str]:
    """Stop the version, or end it in one commit with chunks that may reach over the lost ones;
    return the payloads behind those that were kept.
    """
    if world.draws.chance("stop", 50):
        world.require(await world.service(1).stop(world.stream), "the version is not stopped")
        return [ABORT]
    store, taker = world.site.store(1), Lease(world.stream, version, new_token())
    lease = world.site.times.patient_lease
    await store.claim(taker, lease=lease, stop=True)
    others = [
        encode_json({"type": "text", "n": OTHER + n}) for n in range(world.number("others", 0, 12))
    ]
    payloads = [*others, ABORT]
    await store.append([Append(taker, kept, payloads, True)], lease=lease)
    return payloads
