"""Publishers that write nothing: they learn of their end all the same, and so do their readers."""

from __future__ import annotations

import asyncio

from fuzz.chunks import ABORT, FINISH
from fuzz.reader import Reader, all_ended
from fuzz.sites import Service
from fuzz.world import SLACK, Told, World
from fuzz.writer import opened, publish
from monostream_ai.errors import Fenced, MonostreamError, PublisherLost, StreamStopped


async def stopped_while_idle(world: World) -> None:
    """A stop ends the block of a publisher that waits for its model: at once by a wake-up, and else
    with its next renewal.
    """
    service, bound = _service(world)
    task = asyncio.create_task(_wait_in_a_block(world, service))
    await world.until_open()
    reader = Reader(world, world.service(2))
    await world.pause()
    world.require(await world.service(1).stop(world.stream), "the stop found nothing to stop")
    await _ends_with(world, task, StreamStopped, bound)
    world.truth[0] = Told([ABORT], "closed")
    await all_ended([reader])
    await world.verify()


async def fenced_while_idle(world: World) -> None:
    """A newer version ends the block of a publisher that waits for its model."""
    service, bound = _service(world)
    task = asyncio.create_task(_wait_in_a_block(world, service))
    await world.until_open()
    await world.pause()
    async with world.service(1).publisher(world.stream) as pub:
        opened(world, pub)
        await _ends_with(world, task, Fenced, bound)
    world.truth[pub.version] = Told([FINISH], "closed")
    await all_ended([Reader(world, world.service(2))])
    await world.verify()


async def dropped(world: World) -> None:
    """A publisher that is dropped without being closed is lost one lease later, though its process
    lives.
    """
    service = world.own_service(0, lease=world.site.times.lease)[0]
    pub = service.publisher(world.stream)
    await pub.open()
    opened(world, pub)
    readers = [
        Reader(world, world.own_service(n)[0], slow=0) for n in range(world.few("readers", 1, 3))
    ]
    await world.pause()
    del pub
    dropped_at = asyncio.get_running_loop().time()
    for reader in readers:
        await reader.task
        world.require_error("a reader", reader.error, PublisherLost)
        late = reader.over_at - dropped_at - world.site.times.lease
        world.require(
            not world.site.virtual or late <= SLACK,
            f"the publisher was lost {late} seconds after its lease",
        )
    await publish(world, world.service(1))
    await all_ended([Reader(world, world.service())])
    await world.verify()


def _service(world: World) -> tuple[Service, float]:
    """Return a process, and the seconds within which its publisher must learn of a loss."""
    notified = world.draws.chance("notifier", 50)
    service = world.own_service(
        0, notifier=notified, slow=world.number("slow", 0, 3), lease=world.site.times.lease
    )[0]
    return service, SLACK if notified else world.site.times.lease / 3 + SLACK


async def _wait_in_a_block(world: World, service: Service) -> None:
    async with service.publisher(world.stream) as pub:
        opened(world, pub)
        await asyncio.Event().wait()


async def _ends_with(
    world: World, task: asyncio.Task[None], kind: type[MonostreamError], bound: float
) -> None:
    began = asyncio.get_running_loop().time()
    await asyncio.wait([task])
    waited = asyncio.get_running_loop().time() - began
    error = asyncio.CancelledError() if task.cancelled() else task.exception()
    world.require_error("the idle publisher", error, kind)
    world.require(
        not world.site.virtual or waited <= bound,
        f"the idle publisher learned of it after {waited} seconds",
    )
