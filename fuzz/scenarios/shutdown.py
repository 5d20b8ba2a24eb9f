"""Services that are closed while others read and write."""

from __future__ import annotations

import asyncio

from fuzz.reader import Reader, all_ended
from fuzz.virtual_time import turns
from fuzz.world import SLACK, World
from fuzz.writer import publish, settle, try_to_publish
from monostream_ai.errors import MonostreamError, PublisherLost, ServiceClosed


async def shutdown(world: World) -> None:
    """A process closes its service at any instant: its readers are told, its version is given up,
    and other processes go on.
    """
    service = world.own_service(0, slow=world.number("slow", 0, 3))[0]
    here = [Reader(world, service) for _ in range(world.number("here", 1, 3))]
    elsewhere = Reader(world, world.service(1), slow=0)
    publishing = asyncio.create_task(try_to_publish(world, service))
    await world.until_open()
    await turns(world.number("instant", 0, 40))
    await world.pause()
    await service.aclose()
    closed_at = asyncio.get_running_loop().time()
    attempt = await publishing
    world.require_error("the publisher", attempt.outcome, MonostreamError | None)
    await settle(world, attempt)
    for reader in [*here, elsewhere]:
        await reader.task
        reader.check()
    for reader in here:
        world.require(
            reader.ended or isinstance(reader.error, ServiceClosed),
            f"a reader got {reader.error!r}",
        )
    world.require(
        elsewhere.ended or isinstance(elsewhere.error, PublisherLost),
        f"a reader got {elsewhere.error!r}",
    )
    late = elsewhere.over_at - closed_at
    world.require(
        not world.site.virtual or late <= SLACK,
        f"a reader elsewhere was told {late} seconds after the shutdown",
    )
    await publish(world, world.service(1))
    await all_ended([Reader(world, world.service(2))])
    await world.verify()
