from __future__ import annotations

import asyncio
import signal

import pytest

from tests.backends import Backend
from tests.chunks import ABORT, FINISH, text, texts
from tests.plugins.services import ServiceFactory
from tests.processes.conftest import Spawn

LEASE = 1.0


async def test_a_reader_in_another_process_gets_each_chunk_as_it_is_written(
    spawn: Spawn, service_factory: ServiceFactory
) -> None:
    reader = await spawn()
    await reader.tell("read", "s")
    async with service_factory().publisher("s") as pub:
        for number in range(20):
            await pub.write(text(number))
            assert await reader.line() == f"read 0.{number} {number}"
    assert [await reader.line() for _ in range(2)] == ["read 0.20 finish", "ended"]


async def test_racing_processes_get_versions_of_their_own_and_the_highest_writes(
    spawn: Spawn,
) -> None:
    racers = await asyncio.gather(*(spawn() for _ in range(4)))
    for number in range(5):
        stream_id = f"s{number}"
        opened = await asyncio.gather(*(racer.ask("open", stream_id) for racer in racers))
        assert sorted(opened) == [f"opened {version}" for version in range(4)]
        wrote = await asyncio.gather(*(racer.ask("write", 0) for racer in racers))
        for version, outcome in zip(opened, wrote, strict=True):
            assert outcome == ("wrote 0" if version == "opened 3" else "error Fenced")


async def test_one_of_racing_processes_gets_an_explicit_version(spawn: Spawn) -> None:
    racers = await asyncio.gather(*(spawn() for _ in range(4)))
    opened = await asyncio.gather(*(racer.ask("open", "s", 7) for racer in racers))
    assert sorted(opened) == ["error VersionConflict"] * 3 + ["opened 7"]


async def test_a_stop_ends_an_answer_in_another_process(
    spawn: Spawn, service_factory: ServiceFactory
) -> None:
    publisher, reader, stopper = await spawn(), await spawn(), await spawn()
    assert await publisher.ask("answer", "s") == "answering 0"
    await reader.tell("read", "s")
    assert await stopper.ask("stop", "s") == "stopped True"
    assert await publisher.line() == "error StreamStopped"
    assert await reader.until("ended") == "ended"
    assert await stopper.ask("stop", "s") == "stopped False"
    assert await service_factory().chunks("s") == [text(0), ABORT]


@pytest.mark.parametrize("takeover", ["next version", "lost ending"])
async def test_a_zombie_that_wakes_up_after_a_takeover_writes_nothing(
    spawn: Spawn, service_factory: ServiceFactory, takeover: str
) -> None:
    zombie, service = await spawn(lease=LEASE), service_factory()
    assert await zombie.ask("open", "s") == "opened 0"
    assert await zombie.ask("write", 0) == "wrote 0"
    zombie.signal(signal.SIGSTOP)
    while not (await service.status("s", 0)).lost:
        await asyncio.sleep(0.02)
    if takeover == "next version":
        async with service.publisher("s") as successor:
            await successor.write(text(100))
    else:
        assert await service.end_lost("s", 0)

    await zombie.tell("write", 1)
    zombie.signal(signal.SIGCONT)

    assert await zombie.line() in ("error Fenced", "error StreamClosed")
    if takeover == "next version":
        assert await service.chunks("s", 0) == [text(0)]
        assert await service.chunks("s", 1) == [text(100), FINISH]
    else:
        assert await service.chunks("s", 0) == [text(0), {"type": "error"}]


async def test_a_zombie_that_nobody_replaced_goes_on(
    spawn: Spawn, service_factory: ServiceFactory
) -> None:
    zombie, service = await spawn(lease=LEASE), service_factory()
    await zombie.ask("open", "s")
    zombie.signal(signal.SIGSTOP)
    while not (await service.status("s")).lost:
        await asyncio.sleep(0.02)
    await zombie.tell("write", 0)
    zombie.signal(signal.SIGCONT)
    assert await zombie.line() == "wrote 0"
    assert (await service.status("s")).active


async def test_processes_write_side_by_side_without_an_error(
    spawn: Spawn, service_factory: ServiceFactory
) -> None:
    writers = await asyncio.gather(*(spawn() for _ in range(3)))
    for number, writer in enumerate(writers):
        await writer.ask("open", f"s{number}")
    for writer in writers:
        await writer.tell("run", 300)
    assert await asyncio.gather(*(writer.until("closed") for writer in writers)) == ["closed"] * 3
    service = service_factory()
    for number in range(3):
        assert await service.chunks(f"s{number}") == [*texts(300), FINISH]


async def test_a_process_that_leaves_releases_what_it_was_writing(
    spawn: Spawn, backend: Backend
) -> None:
    publisher, reader = await spawn(lease=60.0), await spawn(lease=60.0)
    await publisher.ask("open", "s")
    await reader.tell("read", "s")
    await publisher.ask("write", 0)
    await publisher.tell("")
    assert await reader.until("error") == "error PublisherLost"
