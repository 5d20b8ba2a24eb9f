"""A store that does not answer: lost answers, refused calls, outages, and processes that die in the
middle of an append.
"""

from __future__ import annotations

import asyncio

from fuzz.chunks import plain_chunks
from fuzz.reader import Reader, all_ended
from fuzz.virtual_time import turns
from fuzz.world import World
from fuzz.writer import Attempt, opened, publish, settle, try_to_publish, write_in_batches
from monostream_ai.errors import Fenced, StoreUnavailable

SLACK = 5.0
"""Seconds of virtual time between two attempts at a store that is away, and some more."""


async def lost_answers(world: World) -> None:
    """Calls fail before or after they take effect: nothing is lost and nothing is stored twice."""
    world.expects_errors = True
    writer, writer_store = world.own_service(0, slow=world.number("slow", 0, 3))
    elsewhere, reader_store = world.own_service(1)
    readers = [
        Reader(world, (writer, elsewhere)[n % 2], stubborn=True)
        for n in range(world.few("readers", 1, 4))
    ]
    draws = world.actor("writer")
    chunks = plain_chunks(draws, draws.number("chunks", 1, 15))
    async with writer.publisher(world.stream) as pub:
        opened(world, pub, chunks, finished=True)
        for store in (writer_store, reader_store):
            store.refused = draws.number("refused", 0, 30) / 100
            store.answers_lost = draws.number("lost", 0, 30) / 100
        await write_in_batches(world, draws, pub, chunks)
    await all_ended(readers)
    await world.verify()


async def lost_answer_then_fenced(world: World) -> None:
    """An answer is lost, and another publisher takes over before the retry: chunks that had landed
    count, the others are refused.
    """
    world.expects_errors = True
    service, store = world.own_service(0, slow=2)
    attempt = Attempt([])
    publishing = asyncio.create_task(try_to_publish(world, service, attempt=attempt))
    await world.until_open()
    store.answers_lost = world.number("lost", 0, 80) / 100
    await world.pause()
    await publish(world, world.service(1))
    await publishing
    world.require_error("the publisher", attempt.outcome, Fenced | None)
    await settle(world, attempt)
    await world.verify()


async def outage(world: World) -> None:
    """The store is away: for a while, and all goes on; for too long, and all get a named error."""
    world.expects_errors = True
    service, store = world.own_service(0)
    elsewhere, reader_store = world.own_service(1)
    reader = Reader(world, elsewhere, stubborn=True)
    publishing = asyncio.create_task(try_to_publish(world, service))
    await world.until_open()
    await world.pause()
    store.refused = reader_store.refused = 1.0
    began = asyncio.get_running_loop().time()
    too_long = world.site.virtual and world.draws.chance("too long", 30)
    share = 4 if too_long else world.number("share", 0, 40 if world.site.virtual else 5) / 100
    await asyncio.sleep(world.site.times.outage * share)
    store.refused = reader_store.refused = 0.0
    attempt = await publishing
    await reader.task
    world.require_error("the publisher", attempt.outcome, StoreUnavailable | None)
    world.require_error("the reader", reader.error, StoreUnavailable | None)
    world.require(too_long or attempt.outcome is None is reader.error, "a short outage did harm")
    waited = max(attempt.over_at, reader.over_at) - began
    world.require(
        not too_long or waited <= world.site.times.outage + world.site.times.poll_interval + SLACK,
        f"an outage was waited for {waited} seconds",
    )
    await settle(world, attempt)
    reader.check()
    if attempt.outcome is not None:
        await publish(world, world.service())
        await all_ended([Reader(world, world.service())])
    await world.verify()


async def killed(world: World) -> None:
    """A publisher's process dies at any instruction: acknowledged chunks are there, and readers go
    on with the next version.
    """
    world.expects_errors = True
    service, store = world.own_service(
        0, slow=world.number("slow", 0, 4), lease=world.site.times.lease
    )
    readers = [
        Reader(world, world.service(n), stubborn=True) for n in range(world.few("readers", 1, 3))
    ]
    attempt = Attempt([])
    publishing = asyncio.create_task(try_to_publish(world, service, attempt=attempt))
    await world.until_open()
    await turns(world.number("instant", 0, 60))
    store.pause()
    acknowledged = attempt.acknowledged
    await world.pause()
    store.kill()
    # Nothing reaches the store any more: this only ends the tasks of the dead process.
    await service.aclose()
    await publishing
    attempt.acknowledged = max(acknowledged, attempt.acknowledged)
    await settle(world, attempt)
    await publish(world, world.service(1), least=1)
    for reader in readers:
        await reader.task
        world.require(reader.ended, f"a reader got {reader.error!r}")
        reader.check()
    await world.verify()
