"""On Postgres, a process that dies is noticed in seconds, however long its leases are (G6)."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import time

import asyncpg
import pytest

from monostream_ai import DurableStreamService, create_service
from monostream_ai.errors import PublisherLost, SubscriptionTimeout
from tests.backends import Backend, postgres_backend
from tests.chunks import FINISH, PROTOCOL, Chunk, text
from tests.plugins.postgres import asyncpg_dsn
from tests.plugins.services import ServiceFactory
from tests.processes.conftest import PostgresServer, Process, Spawn

Service = DurableStreamService[Chunk]

LEASE = 600.0
"""Seconds that no test waits: it is presence that tells."""

SOON = 3.0
"""Seconds from a death until readers are told, at most."""

LONG_ENOUGH = 4.0
"""Seconds after which a process that was wrongly taken for dead would have lost its versions."""


@pytest.fixture
def backend(postgres_url: str) -> Backend:
    return postgres_backend(postgres_url)


async def writing(spawn: Spawn, stream_id: str = "s", *, watched: bool = False) -> Process:
    publisher = await spawn(lease=LEASE)
    await publisher.ask("watch" if watched else "open", stream_id)
    await publisher.ask("write", 0)
    return publisher


async def holder_of(url: str, stream_id: str = "s") -> str | None:
    connection = await asyncpg.connect(asyncpg_dsn(url))
    holder: str | None = await connection.fetchval(
        "SELECT holder FROM stream_version WHERE stream_id = $1", stream_id
    )
    await connection.close()
    return holder


async def told(service: Service, stream_id: str = "s") -> None:
    """Return once a reader that has read the first chunk is told of the loss."""
    async with asyncio.timeout(SOON):
        with pytest.raises(PublisherLost):
            async for _ in service.subscribe(stream_id):
                pass


async def stays(service: Service, stream_id: str = "s") -> None:
    """See that nobody takes the version for lost for a while."""
    with pytest.raises(SubscriptionTimeout):
        async for _ in service.subscribe(stream_id, timeout=LONG_ENOUGH):
            pass
    assert (await service.status(stream_id)).active
    assert not await service.end_lost(stream_id, 0)


async def test_readers_elsewhere_learn_of_a_death_soon(
    spawn: Spawn, service_factory: ServiceFactory
) -> None:
    publisher, reader, service = (
        await writing(spawn),
        await spawn(lease=LEASE),
        service_factory(lease=LEASE),
    )
    await reader.tell("read", "s")
    await reader.until("read")
    subscription = service.subscribe("s")
    assert await anext(subscription) == text(0)

    publisher.signal(signal.SIGKILL)
    async with asyncio.timeout(SOON):
        with pytest.raises(PublisherLost):
            await anext(subscription)
        assert await reader.until("error") == "error PublisherLost"
    assert (await service.status("s")).lost
    assert await service.end_lost("s", 0)


async def test_the_death_of_a_process_in_the_middle_of_its_writes_is_noticed(
    spawn: Spawn, service_factory: ServiceFactory
) -> None:
    """The server is just sending it answers, and counts its sessions as ended by an error."""
    service = service_factory(lease=LEASE)
    for number in range(3):
        publisher = await spawn(lease=LEASE)
        await publisher.ask("open", f"s{number}")
        await publisher.tell("run", 10**6)
        await publisher.until("wrote 200")
        subscription = service.subscribe(f"s{number}")
        await anext(subscription)
        await asyncio.sleep(1.5)
        publisher.signal(signal.SIGKILL)
        async with asyncio.timeout(SOON):
            with pytest.raises(PublisherLost):
                async for _ in subscription:
                    pass


async def test_readers_that_only_poll_learn_of_a_death_as_soon(
    spawn: Spawn, service_factory: ServiceFactory
) -> None:
    """Without a notifier, a connection is opened for the lock alone."""
    publisher = await writing(spawn)
    service = service_factory(lease=LEASE, wrap_notifier=lambda notifier: None)
    subscription = service.subscribe("s")
    assert await anext(subscription) == text(0)
    publisher.signal(signal.SIGKILL)
    async with asyncio.timeout(SOON):
        with pytest.raises(PublisherLost):
            await anext(subscription)


async def test_the_sweep_of_a_process_that_starts_afterwards_finds_the_version(
    spawn: Spawn, service_factory: ServiceFactory
) -> None:
    publisher = await writing(spawn, watched=True)
    publisher.signal(signal.SIGKILL)
    await publisher.rest()
    service = service_factory(lease=LEASE)
    async with asyncio.timeout(SOON):
        [found] = await service.unattended()
    assert found.lost


async def test_a_frozen_process_is_not_dead(spawn: Spawn, service_factory: ServiceFactory) -> None:
    publisher, service = await writing(spawn), service_factory(lease=LEASE)
    publisher.signal(signal.SIGSTOP)
    await stays(service)
    publisher.signal(signal.SIGCONT)
    assert await publisher.ask("write", 1) == "wrote 1"


@pytest.mark.parametrize("whose", ["of the writer", "of everybody"])
async def test_a_living_process_whose_sessions_are_ended_keeps_its_versions(
    spawn: Spawn, service_factory: ServiceFactory, postgres_url: str, whose: str
) -> None:
    publisher, service = await writing(spawn), service_factory(lease=LEASE)
    before = await holder_of(postgres_url)
    assert before is not None
    admin = await asyncpg.connect(asyncpg_dsn(postgres_url))
    staying = asyncio.create_task(stays(service))
    for _ in range(6):
        await asyncio.sleep(0.4)
        await admin.execute(
            "SELECT pg_terminate_backend(a.pid) FROM pg_stat_activity AS a "
            "WHERE a.pid <> pg_backend_pid() AND a.datname = current_database() "
            "AND ($1 OR a.pid IN (SELECT pid FROM pg_locks WHERE objid = $2 AND objsubid = 2))",
            whose == "of everybody",
            int(before.partition(":")[2]),
        )
    await staying
    await admin.close()
    assert await publisher.ask("write", 1) == "wrote 1"
    # For a moment it lives by its lease alone.
    while await holder_of(postgres_url) is None:
        await asyncio.sleep(0.05)
    publisher.signal(signal.SIGKILL)
    async with asyncio.timeout(SOON + 5.0):
        with pytest.raises(PublisherLost):
            async for _ in service.subscribe("s"):
                pass


async def test_a_frozen_process_whose_session_is_ended_is_left_to_its_lease(
    spawn: Spawn, service_factory: ServiceFactory, postgres_url: str
) -> None:
    """The server says that it ended the session, so the process may be alive."""
    publisher, service = await writing(spawn), service_factory(lease=LEASE)
    held = await holder_of(postgres_url)
    assert held is not None
    subscription = service.subscribe("s")
    assert await anext(subscription) == text(0)
    # Long enough for a look.
    await asyncio.sleep(1.5)
    publisher.signal(signal.SIGSTOP)
    admin = await asyncpg.connect(asyncpg_dsn(postgres_url))
    await admin.execute(
        "SELECT pg_terminate_backend(pid) FROM pg_locks WHERE objid = $1 AND objsubid = 2",
        int(held.partition(":")[2]),
    )
    await admin.close()
    await stays(service)
    publisher.signal(signal.SIGCONT)
    assert await publisher.ask("write", 1) == "wrote 1"
    async with asyncio.timeout(10):
        while await holder_of(postgres_url) is None:
            await asyncio.sleep(0.05)
    assert await anext(subscription) == text(1)


async def test_a_restart_of_the_server_leaves_the_leases(
    own_server: PostgresServer, no_task_is_left: None
) -> None:
    # It names the lock on the new server when it is renewed.
    writer, reader = (create_service(own_server.url, PROTOCOL, lease=9.0) for _ in range(2))
    async with writer, reader:
        pub = await writer.publisher("s").open()
        await pub.write(text(0))
        before = await holder_of(own_server.url)
        await asyncio.to_thread(own_server.stop, signal.SIGQUIT)
        await asyncio.to_thread(own_server.start)
        await stays(reader)
        async with asyncio.timeout(30):
            while (after := await holder_of(own_server.url)) is None:
                await asyncio.sleep(0.1)
        assert after != before
        await pub.write(FINISH)


async def test_a_process_that_died_with_the_server_is_left_to_its_lease(
    own_server: PostgresServer, no_task_is_left: None
) -> None:
    """The locks of all processes are gone, so they prove nothing."""
    async with create_service(own_server.url, PROTOCOL, lease=LEASE) as service:
        await service.publisher("s").open()
    admin = await asyncpg.connect(asyncpg_dsn(own_server.url))
    await admin.execute(
        "UPDATE stream_version SET holder = '1:1', lease_seconds = 600, "
        "lease_until = clock_timestamp() + interval '600 s'"
    )
    await admin.close()
    async with create_service(own_server.url, PROTOCOL, lease=LEASE) as service:
        await stays(service)


async def test_each_service_of_a_process_has_a_lock_of_its_own(
    service_factory: ServiceFactory, postgres_url: str
) -> None:
    first, second, reader = (service_factory(lease=LEASE) for _ in range(3))
    one = await first.publisher("one").open()
    two = await second.publisher("two").open()
    await two.write(text(0))
    assert await holder_of(postgres_url, "one") != await holder_of(postgres_url, "two")
    await one.close()
    await first.aclose()
    await stays(reader, "two")
    await two.close()


async def test_a_store_that_was_made_before_a_fork_locks_for_each_process(
    postgres_url: str, service_factory: ServiceFactory
) -> None:
    """A server that loads its application first and forks its workers then."""
    code = (
        "import asyncio, os, sys, time\n"
        "from monostream_ai import create_service\n"
        "service = create_service(sys.argv[1], lease=600.0)\n"
        "child = os.fork()\n"
        "async def main():\n"
        "    pub = await service.publisher('child' if child == 0 else 'parent').open()\n"
        "    print(child, flush=True)\n"
        "    await asyncio.sleep(60)\n"
        "asyncio.run(main())\n"
    )
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", code, postgres_url, stdout=asyncio.subprocess.PIPE, process_group=0
    )
    try:
        assert process.stdout is not None
        for _ in range(2):
            await process.stdout.readline()
        assert await holder_of(postgres_url, "child") != await holder_of(postgres_url, "parent")
        process.kill()
        service = service_factory(lease=LEASE)
        await told(service, "parent")
        await stays(service, "child")
    finally:
        await kill_group(process)


async def test_a_child_that_outlives_the_process_keeps_nothing_alive(
    postgres_url: str, service_factory: ServiceFactory
) -> None:
    """It has inherited the sockets, which would keep the sessions alive."""
    code = (
        "import asyncio, os, sys, time\n"
        "from monostream_ai import create_service\n"
        "async def main():\n"
        "    service = create_service(sys.argv[1], lease=600.0)\n"
        "    pub = await service.publisher('s').open()\n"
        "    await asyncio.sleep(0.5)\n"
        "    if os.fork() == 0:\n"
        "        time.sleep(60)\n"
        "    print('forked', flush=True)\n"
        "    await asyncio.sleep(60)\n"
        "asyncio.run(main())\n"
    )
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", code, postgres_url, stdout=asyncio.subprocess.PIPE, process_group=0
    )
    try:
        assert process.stdout is not None
        assert await process.stdout.readline() == b"forked\n"
        service = service_factory(lease=LEASE)
        await stays(service)
        process.kill()
        await told(service)
    finally:
        await kill_group(process)


async def kill_group(process: asyncio.subprocess.Process) -> None:
    os.killpg(process.pid, signal.SIGKILL)
    await process.communicate()


async def test_how_soon_a_death_is_noticed(spawn: Spawn, service_factory: ServiceFactory) -> None:
    service, times = service_factory(lease=LEASE), list[float]()
    for number in range(3):
        publisher = await writing(spawn, f"s{number}")
        subscription = service.subscribe(f"s{number}")
        await anext(subscription)
        publisher.signal(signal.SIGKILL)
        killed = time.monotonic()
        async with asyncio.timeout(SOON):
            with pytest.raises(PublisherLost):
                await anext(subscription)
        times.append(time.monotonic() - killed)
    print("death to PublisherLost:", *(f"{seconds * 1000:.0f} ms" for seconds in sorted(times)))
