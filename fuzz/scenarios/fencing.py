"""One writer: publishers that write on after they were fenced, and racers for one stream."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from typing import Literal

from fuzz.chunks import plain_chunks
from fuzz.reader import Reader, all_ended
from fuzz.world import Told, World
from fuzz.writer import Attempt, opened, publish, settle, try_to_publish
from monostream_ai.errors import Fenced, PublisherError, VersionConflict
from monostream_ai.json_text import encode_json


async def zombie(world: World) -> None:
    """A fenced publisher writes on: nothing of it lands, and the new readers never notice."""
    service, _ = world.own_service(
        0, notifier=world.draws.chance("notifier", 50), slow=world.number("slow", 0, 4)
    )
    old = service.publisher(world.stream)
    await old.open()
    opened(world, old)
    for n in range(world.number("before", 0, 5)):
        await old.write({"type": "text", "n": n})
        world.truth[old.version].payloads.append(encode_json({"type": "text", "n": n}))
    readers = [Reader(world, world.service(n)) for n in range(world.few("readers", 1, 4))]
    await world.pause()
    writing = world.spawn(_publish_next(world, readers))
    draws = world.actor("zombie")
    while world.newest == old.version:
        await world.pause(draws)
        await asyncio.sleep(0)
    for _ in range(draws.number("after", 1, 4)):
        await _require_fence(world, old.write({"type": "text"}))
        await world.pause(draws)
    await _require_fence(
        world, old.write({"type": "finish"}) if draws.chance("finish", 50) else old.close()
    )
    await writing
    await all_ended(readers)
    await world.verify()


async def _publish_next(world: World, readers: list[Reader]) -> None:
    await publish(world, world.service(1))
    readers.append(Reader(world, world.service(0)))


async def _require_fence(world: World, call: Awaitable[object]) -> None:
    await world.require_refusal(call, Fenced, complaint="a fenced publisher could write")


async def racers(world: World) -> None:
    """Publishers start at once: each gets a version of its own or a conflict, and the newest is
    whole.
    """
    base: int | None = world.draws.choice("version", (None, 0, 7))
    reader = Reader(world, world.service(1))
    count = world.number("racers", 2, 6)
    racing = [
        asyncio.create_task(_race(world, n, "next" if base is None else base + n // 2))
        for n in range(count)
    ]
    attempts = [await task for task in racing]
    versions = sorted(attempt.version for attempt in attempts if attempt.version is not None)
    world.require(len(set(versions)) == len(versions), f"racers got the versions {versions}")
    if base is None:
        world.require(versions == list(range(count)), f"racers got the versions {versions}")
    for attempt in attempts:
        expected = (Fenced,) if base is None else (Fenced, VersionConflict)
        world.require_error("a racer", attempt.outcome, (*expected, type(None)))
        await settle(world, attempt)
    newest = max(attempts, key=lambda attempt: -1 if attempt.version is None else attempt.version)
    world.require(newest.outcome is None, f"the newest racer got {newest.outcome!r}")
    await reader.task
    world.require(reader.ended, f"the reader got {reader.error!r}")
    reader.check()
    await world.verify()


async def racing_versions(world: World) -> None:
    """Publishers race for versions that they name: once one is open, nothing lands below it, and
    the highest of them is whole.
    """
    frozen: dict[int, dict[int, list[str]]] = {}
    count = world.number("racers", 2, 6)
    attempts = await asyncio.gather(*(_race_for(world, n, frozen) for n in range(count)))
    for version, below in frozen.items():
        for lower, rows in below.items():
            world.require(
                await world.rows(lower) == rows,
                f"version {lower} grew after version {version} was open",
            )
    for attempt in attempts:
        world.require_error("a racer", attempt.outcome, (Fenced, VersionConflict, type(None)))
        await settle(world, attempt)
    highest = next(each for each in attempts if each.version == max(frozen))
    world.require(highest.outcome is None, f"the highest racer got {highest.outcome!r}")
    await all_ended([Reader(world, world.service(0))])
    await world.verify()


async def _race_for(world: World, number: int, frozen: dict[int, dict[int, list[str]]]) -> Attempt:
    draws, attempt = world.actor("racer"), Attempt([])
    version = draws.number("version", 0, 9)
    chunks = plain_chunks(draws, draws.number("chunks", 1, 6))
    attempt.payloads.extend(map(encode_json, chunks))
    await world.pause(draws)
    try:
        async with world.service(number % 3).publisher(world.stream, version) as pub:
            attempt.version = version
            frozen[version] = {}
            opened(world, pub)
            for lower in range(version):
                frozen[version][lower] = await world.rows(lower)
            for chunk in chunks:
                attempt.acknowledged = await pub.write(chunk) + 1
                await world.pause(draws)
    except PublisherError as error:
        attempt.outcome = error
    return attempt


async def _race(world: World, number: int, version: Literal["next"] | int) -> Attempt:
    await world.pause(world.actor("start"))
    return await try_to_publish(world, world.service(number % 3), version=version, most=5)


async def fenced_in_flight(world: World) -> None:
    """A version never grows after the fence: it holds what its publisher had stored by then."""
    first = asyncio.create_task(try_to_publish(world, world.service(0)))
    await world.until_open()
    await world.pause()
    async with world.service(1).publisher(world.stream) as pub:
        frozen = await world.rows(0)
        opened(world, pub)
        await world.pause()
    world.truth[pub.version] = Told(['{"type":"finish"}'], "closed")
    attempt = await first
    rows = await settle(world, attempt)
    world.require(
        rows == frozen,
        f"version 0 grew from {len(frozen)} to {len(rows)} rows after it was fenced",
    )
    await world.verify()
