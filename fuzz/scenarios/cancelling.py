"""Tasks that are cancelled in the middle of a write or of a publisher's block."""

from __future__ import annotations

import asyncio

from fuzz.chunks import ABORT, FINISH, plain_chunks
from fuzz.reader import Reader, all_ended
from fuzz.virtual_time import turns
from fuzz.world import SLACK, Told, World
from fuzz.writer import Attempt, opened, publish, settle, try_to_publish
from monostream_ai._writing.publisher import OnCancel
from monostream_ai.errors import PublisherLost


async def cancelled_writes(world: World) -> None:
    """Single writes are cancelled at any instant: their chunks still land, in order, once."""
    service = world.service()
    readers = [Reader(world, world.service(n)) for n in range(world.few("readers", 1, 3))]
    draws = world.actor("writer")
    chunks = plain_chunks(draws, draws.number("chunks", 1, 15))
    async with service.publisher(world.stream) as pub:
        opened(world, pub, chunks, finished=True)
        for chunk in chunks:
            writing = asyncio.create_task(pub.write(chunk))
            # It must have begun, or the publisher has not been asked for anything.
            await turns(draws.number("instant", 1, 8))
            if draws.chance("cancel", 60):
                writing.cancel()
            await asyncio.wait([writing])
    await all_ended(readers)
    await world.verify()


async def cancelled_block(world: World) -> None:
    """A publisher's task is cancelled at any instant: the version is aborted, or given up."""
    on_cancel: OnCancel = world.draws.choice("on cancel", ("abort", "release"))
    service = world.own_service(0, slow=world.number("slow", 0, 3))[0]
    reader = Reader(world, world.service(1), slow=0)
    attempt = Attempt([])
    publishing = asyncio.create_task(
        try_to_publish(world, service, on_cancel=on_cancel, attempt=attempt)
    )
    for _ in range(world.number("cancels", 1, 3)):
        await turns(world.number("instant", 0, 40))
        await world.pause()
        publishing.cancel()
    # A task that is cancelled before it began runs nothing at all.
    await asyncio.wait([publishing])
    rows = await settle(world, attempt, ABORT)
    if attempt.version is not None:
        await reader.task
        closed = bool(rows) and rows[-1] in (FINISH, ABORT)
        world.require(
            closed or on_cancel == "release",
            f"a cancelled block left {len(rows)} rows and no ending",
        )
        world.require(
            reader.ended if closed else isinstance(reader.error, PublisherLost),
            f"the reader got {reader.error!r}",
        )
        reader.check()
        late = reader.over_at - attempt.over_at
        world.require(
            not world.site.virtual or late <= SLACK,
            f"a reader learned of the end after {late} seconds",
        )
    else:
        reader.task.cancel()
    # From the same process, so that an acquire that was cancelled on its way cannot come later.
    last = await publish(world, world.service(0))
    for unheard_of in {*range(last)} - {*world.truth}:
        world.truth[unheard_of] = Told([], "open")
    await all_ended([Reader(world, world.service())])
    await world.verify()
