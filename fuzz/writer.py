"""Publishing a version in one of several ways, and recording the chunks that must be stored."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal

from fuzz.chunks import ENDINGS, FINISH, Chunk, plain_chunks
from fuzz.draws import Draws
from fuzz.sites import Service
from fuzz.world import Told, World, brief
from monostream_ai import Publisher
from monostream_ai._writing.publisher import OnCancel
from monostream_ai.errors import MonostreamError
from monostream_ai.json_text import encode_json

MOST: Final = (3,) * 220 + (12,) * 26 + (40,) * 9 + (300,)
"""How many chunks a version has at most."""


async def write_in_batches(
    world: World, draws: Draws, pub: Publisher[Chunk], chunks: Sequence[Chunk]
) -> None:
    """Write chunks in batches of any size, some of them pushed; all are durable when it returns."""
    done = 0
    while done < len(chunks):
        part = chunks[done : done + draws.number("batch", 1, 8 if len(chunks) <= 40 else 60)]
        done += len(part)
        if draws.chance("push", 25):
            pub.push(*part)
        else:
            last = await pub.write(*part)
            world.require(last == done - 1, f"write returned {last} for chunk {done - 1}")
            if world.site.virtual and not world.chunks_may_go:
                stored = await world.stored(pub.version, last, 1)
                world.require(
                    stored == world.truth[pub.version].payloads[last:done],
                    f"write returned without chunk {last}",
                )
        await world.pause(draws)
    await pub.flush()


async def publish(
    world: World,
    service: Service,
    *,
    version: Literal["next"] | int = "next",
    least: int = 0,
    most: int | None = None,
) -> int:
    """Publish a version to its finish; return it."""
    draws = world.actor("writer")
    chunks = plain_chunks(draws, draws.number("chunks", least, most or draws.choice("most", MOST)))
    async with service.publisher(world.stream, version) as pub:
        opened(world, pub, chunks, finished=True)
        await world.pause(draws)
        await write_in_batches(world, draws, pub, chunks)
        match draws.choice("ending", ("leave", "close", "write", "push")):
            case "close":
                await pub.close()
            case "write":
                await pub.write({"type": "finish"})
            case "push":
                pub.push({"type": "finish"})
    return pub.version


async def crash(world: World, service: Service) -> int:
    """Write a part of a version and leave it open: released, or dropped without a word."""
    draws = world.actor("writer")
    chunks = plain_chunks(draws, draws.few("chunks", 0, 12))
    pub = service.publisher(world.stream)
    await pub.open()
    opened(world, pub, chunks)
    await write_in_batches(world, draws, pub, chunks)
    if draws.chance("release", 30):
        await pub.release()
    return pub.version


async def end_lost(world: World, process: int, draws: Draws) -> bool:
    """Try to end version 0 as lost, some time later; return whether this process did it."""
    await world.pause(draws)
    return await world.service(process).end_lost(world.stream, 0)


def opened(
    world: World, pub: Publisher[Chunk], chunks: Sequence[Chunk] = (), *, finished: bool = False
) -> None:
    """Record that a version is open, and the chunks it must have in the end.

    Args:
        finished: It must be finished behind these chunks.
    """
    world.newest = max(world.newest, pub.version)
    payloads = [*map(encode_json, chunks), *([FINISH] if finished else [])]
    world.truth[pub.version] = Told(payloads, "closed" if finished else "open")
    world.log("opened version", pub.version)


@dataclass(slots=True)
class Attempt:
    """A publisher that may be stopped, fenced, killed or cancelled at any time: its chunks, and how
    it ended.
    """

    payloads: list[str]
    version: int | None = None
    acknowledged: int = 0
    outcome: BaseException | None = None
    over_at: float = 0.0


async def try_to_publish(
    world: World,
    service: Service,
    *,
    version: Literal["next"] | int = "next",
    on_cancel: OnCancel = "abort",
    most: int = 12,
    attempt: Attempt | None = None,
) -> Attempt:
    """Publish a version come what may; our errors and cancellation become its outcome."""
    draws = world.actor("writer")
    attempt = attempt or Attempt([])
    chunks = plain_chunks(draws, draws.number("chunks", 1, most))
    attempt.payloads.extend(map(encode_json, chunks))
    try:
        async with service.publisher(world.stream, version, on_cancel=on_cancel) as pub:
            attempt.version = pub.version
            opened(world, pub)
            for chunk in chunks:
                await world.pause(draws)
                attempt.acknowledged = await pub.write(chunk) + 1
                world.log("wrote", pub.version, attempt.acknowledged - 1)
    except (MonostreamError, asyncio.CancelledError) as error:
        attempt.outcome = error
        # The scenario goes on in this task, or awaits it.
        if isinstance(error, asyncio.CancelledError) and (task := asyncio.current_task()):
            task.uncancel()
    attempt.over_at = asyncio.get_running_loop().time()
    world.log("publisher of", attempt.version, "ended with", repr(attempt.outcome))
    return attempt


async def settle(world: World, attempt: Attempt, *endings: str) -> list[str]:
    """Insist that an attempt left correct rows, and make them final; return them.

    Args:
        endings: The terminal payloads it may have.
    """
    if attempt.version is None:
        return []
    rows = await world.rows(attempt.version)
    world.log("version", attempt.version, "holds", brief(rows))
    body = rows[:-1] if rows and rows[-1] in ENDINGS else rows
    which = f"version {attempt.version} ({attempt.outcome!r})"
    world.require(
        body == attempt.payloads[: len(body)],
        f"{which} holds {brief(rows)} of {brief(attempt.payloads)}",
    )
    world.require(
        len(body) >= attempt.acknowledged,
        f"{which} lacks chunks of {attempt.acknowledged} acknowledged ones",
    )
    if attempt.outcome is None:
        world.require(
            rows == [*attempt.payloads, FINISH], f"{which} holds {brief(rows)} but was finished"
        )
    if len(body) < len(rows):
        world.require(rows[-1] in (*endings, FINISH), f"{which} was ended with {rows[-1]}")
        whole = rows[-1] != FINISH or len(body) == len(attempt.payloads)
        world.require(whole, f"{which} was finished with {len(body)} chunks")
    world.truth[attempt.version] = Told(rows, "closed" if len(body) < len(rows) else "open")
    return rows
