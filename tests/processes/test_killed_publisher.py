from __future__ import annotations

import asyncio
import signal

import pytest

from monostream_ai import DurableStreamService
from monostream_ai.errors import SubscriptionTimeout
from tests.chunks import FINISH, Chunk, text, texts
from tests.plugins.services import ServiceFactory
from tests.processes.conftest import Process, Spawn

Service = DurableStreamService[Chunk]

LEASE = 1.0


def ids(lines: list[str], verb: str) -> list[str]:
    return [line.split()[1] for line in lines if line.startswith(f"{verb} ")]


async def killed_in_mid_stream(publisher: Process, after: int) -> int:
    """Let a publisher run, kill it after an acknowledgement, and return how many chunks were
    acknowledged.
    """
    await publisher.tell("run", 100_000)
    await publisher.until(f"wrote {after}")
    publisher.signal(signal.SIGKILL)
    await publisher.rest()
    return len(ids(publisher.lines, "wrote"))


@pytest.mark.parametrize("after", [0, 7, 150])
async def test_a_killed_publisher_loses_no_acknowledged_chunk(
    spawn: Spawn, service_factory: ServiceFactory, after: int
) -> None:
    publisher, reader = await spawn(lease=LEASE), await spawn(lease=LEASE)
    assert await publisher.ask("open", "s") == "opened 0"
    await reader.tell("read", "s")

    acknowledged = await killed_in_mid_stream(publisher, after)
    assert await reader.until("error") == "error PublisherLost"

    service = service_factory(lease=LEASE)
    stored = await service.chunks("s")
    assert len(stored) >= acknowledged > after
    assert stored == texts(len(stored))
    assert ids(reader.lines, "read") == [f"0.{id}" for id in range(len(stored))]
    status = await service.status("s")
    assert (status.state, status.lost) == ("open", True)


async def test_a_version_that_was_left_outlives_its_publisher(
    spawn: Spawn, service_factory: ServiceFactory
) -> None:
    publisher, service = await spawn(lease=60.0), service_factory()
    await publisher.ask("open", "s")
    await publisher.ask("write", 0)
    assert await publisher.ask("leave") == "left"
    publisher.signal(signal.SIGKILL)
    await publisher.rest()

    # Longer than it takes to notice a death.
    with pytest.raises(SubscriptionTimeout):
        async for _ in service.subscribe("s", timeout=4.0):
            pass
    assert await service.unattended() == []
    assert (await service.status("s")).waiting
    async with service.successor("s", 0) as pub:
        await pub.write(text(1))
    assert await service.chunks("s") == [*texts(2), FINISH]


async def test_a_killed_publisher_is_succeeded_at_once(
    spawn: Spawn, service_factory: ServiceFactory
) -> None:
    publisher, service = await spawn(lease=60.0), service_factory()
    await publisher.ask("open", "s")
    await killed_in_mid_stream(publisher, 10)
    attached = service.subscribe("s")
    assert await anext(attached) == text(0)
    async with service.publisher("s") as successor:
        assert successor.version == 1
        await successor.write(text(100))
    chunks = [chunk async for chunk in attached]
    assert chunks[-2:] == [text(100), FINISH]
    assert [chunk async for chunk in service.subscribe("s")] == [text(100), FINISH]


async def test_one_survivor_ends_what_a_killed_publisher_left(
    spawn: Spawn, service_factory: ServiceFactory
) -> None:
    publisher = await spawn(lease=LEASE)
    services = [service_factory(lease=LEASE) for _ in range(3)]
    await publisher.ask("open", "s")
    await killed_in_mid_stream(publisher, 10)
    while not (await services[0].status("s")).lost:
        await asyncio.sleep(0.02)
    assert sorted(await asyncio.gather(*(service.end_lost("s", 0) for service in services))) == [
        False,
        False,
        True,
    ]
    stored = await services[0].chunks("s")
    assert stored == [*texts(len(stored) - 1), {"type": "error"}]


async def test_a_stopper_that_is_killed_is_followed_by_the_next(
    spawn: Spawn, service_factory: ServiceFactory
) -> None:
    publisher, stopper, service = await spawn(), await spawn(), service_factory()
    assert await publisher.ask("answer", "s") == "answering 0"
    await stopper.tell("stop", "s")
    stopper.signal(signal.SIGKILL)
    async with asyncio.timeout(20):
        while (await service.status("s")).state == "open":
            await service.stop("s")
            await service.end_lost("s", 0)
            await asyncio.sleep(0.05)
    assert await service.chunks("s") == [text(0), {"type": "abort"}]
    assert await publisher.line() == "error StreamStopped"
