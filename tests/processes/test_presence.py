"""On SQLite, a process that dies is noticed at once, however long its leases are (G6)."""

from __future__ import annotations

import asyncio
import os
import runpy
import signal
import sqlite3
import sys
import time
import warnings
from contextlib import closing
from pathlib import Path

import pytest

from monostream_ai import DurableStreamService
from monostream_ai.errors import PublisherLost
from monostream_ai.stores.sqlite import presence
from monostream_ai.stores.sqlite.presence import Presence
from tests.backends import Backend, sqlite_backend
from tests.chunks import FINISH, Chunk, text
from tests.plugins.services import ServiceFactory
from tests.processes.conftest import Process, Spawn

Service = DurableStreamService[Chunk]

LEASE = 600.0
"""Seconds that no test waits: it is presence that tells."""

SOON = 3.0
"""Seconds; a tenth of one is enough on a machine with nothing else to do."""


@pytest.fixture
def backend(tmp_path: Path) -> Backend:
    return sqlite_backend(tmp_path / "streams.db")


async def writing(spawn: Spawn, stream_id: str = "s") -> Process:
    publisher = await spawn(lease=LEASE)
    await publisher.ask("open", stream_id)
    await publisher.ask("write", 0)
    return publisher


async def test_readers_elsewhere_learn_of_a_death_at_once(
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


async def test_a_process_that_starts_afterwards_sees_the_loss_with_its_first_look(
    spawn: Spawn, service_factory: ServiceFactory
) -> None:
    publisher = await writing(spawn)
    publisher.signal(signal.SIGKILL)
    await publisher.rest()
    service = service_factory(lease=LEASE)
    assert (await service.status("s")).lost
    assert [info.lost for info in await service.streams()] == [True]
    assert await service.end_lost("s", 0)


async def test_a_frozen_process_is_not_dead(spawn: Spawn, service_factory: ServiceFactory) -> None:
    publisher, service = await writing(spawn), service_factory(lease=LEASE)
    publisher.signal(signal.SIGSTOP)
    await asyncio.sleep(0.5)
    assert (await service.status("s")).active
    assert not await service.end_lost("s", 0)
    publisher.signal(signal.SIGCONT)
    assert await publisher.ask("write", 1) == "wrote 1"


async def test_a_child_of_the_process_keeps_nothing_alive(
    spawn: Spawn, service_factory: ServiceFactory
) -> None:
    """A lock is not inherited: a worker that a server has forked may outlive it."""
    service = service_factory(lease=LEASE)
    async with service.publisher("ours") as pub:
        await pub.write(text(0))
        with warnings.catch_warnings():
            # The child does nothing that its threads could keep it from.
            warnings.simplefilter("ignore", DeprecationWarning)
            child = os.fork()
        if child == 0:
            # Closes every descriptor that it has inherited.
            os._exit(0)
        os.waitpid(child, 0)
        other = await spawn(lease=LEASE)
        await other.tell("read", "ours")
        await other.until("read")
        await asyncio.sleep(0.5)
        await pub.write(text(1))
        assert await other.until("read") == "read 0.1 1"
        await pub.write(FINISH)


async def test_other_connections_of_the_process_that_close_give_nothing_up(
    spawn: Spawn, service_factory: ServiceFactory, backend: Backend
) -> None:
    """POSIX takes all locks of a process on a file when it closes any descriptor of it."""
    service = service_factory(lease=LEASE)
    async with service.publisher("ours") as pub:
        await pub.write(text(0))
        for _ in range(3):
            store = backend.new_store()
            assert await store.info("ours") is not None
            await store.aclose()
        other = await spawn(lease=LEASE)
        await other.tell("read", "ours")
        await other.until("read")
        await asyncio.sleep(0.5)
        await pub.write(text(1), FINISH)
        assert await other.until("ended") == "ended"


async def test_reading_the_presence_file_gives_nothing_up(
    spawn: Spawn, service_factory: ServiceFactory, tmp_path: Path
) -> None:
    """A program that copies its folder opens and closes each file."""
    service = service_factory(lease=LEASE)
    async with service.publisher("ours") as pub:
        await pub.write(text(0))
        (tmp_path / "streams.db-presence").read_bytes()
        ender = await spawn(lease=LEASE)
        assert await ender.ask("end", "ours") == "ended False"
        await pub.write(FINISH)


async def test_a_second_import_of_the_package_gives_nothing_up(
    spawn: Spawn, service_factory: ServiceFactory, tmp_path: Path
) -> None:
    service = service_factory(lease=LEASE)
    path = tmp_path / "streams.db"
    async with service.publisher("ours") as pub:
        await pub.write(text(0))
        ours, again = Presence.beside(str(path)), runpy.run_path(presence.__file__)
        other = again["Presence"].beside(str(path))
        assert ours is not None
        assert other.holder != ours.holder
        assert other.lives(ours.holder)
        assert ours.lives(other.holder)
        ender = await spawn(lease=LEASE)
        assert await ender.ask("end", "ours") == "ended False"
        await pub.write(FINISH)


def test_a_process_that_closed_all_its_files_takes_nobody_for_dead(tmp_path: Path) -> None:
    """Their numbers may lead to other files, which nobody has locked."""
    path = str(tmp_path / "streams.db")
    first = Presence.beside(path)
    assert first is not None
    inode = first.holder.partition(":")[0]
    with (tmp_path / "other").open("w") as other:
        os.dup2(other.fileno(), first._descriptor)
    assert first.lives(f"{inode}:12345")
    second = Presence.beside(path)
    assert second is not None
    assert second is not first
    assert not second.lives(f"{inode}:12345")
    first.close()
    os.close(first._descriptor)


@pytest.mark.parametrize("kind", ["open file", "process"])
async def test_either_kind_of_lock_tells(
    spawn: Spawn,
    service_factory: ServiceFactory,
    monkeypatch: pytest.MonkeyPatch,
    kind: str,
) -> None:
    if kind == "process":
        monkeypatch.setattr(presence, "OFD", None)
    publisher, service = await writing(spawn), service_factory(lease=LEASE)
    assert (await service.status("s")).active
    publisher.signal(signal.SIGKILL)
    await publisher.rest()
    assert (await service.status("s")).lost


async def test_a_forked_child_that_outlives_the_process_keeps_nothing_alive(
    tmp_path: Path,
) -> None:
    """A pre-fork server, or a worker of `multiprocessing`."""
    path = str(tmp_path / "streams.db")
    os_pipe, code = (
        os.pipe(),
        (
            "import os, sys, time\n"
            "from monostream_ai.stores.sqlite.presence import Presence\n"
            "ours = Presence.beside(sys.argv[1])\n"
            "if os.fork(): print(ours.holder, flush=True); os._exit(0)\n"
            "child = Presence.beside(sys.argv[1])\n"
            "os.write(int(sys.argv[2]), child.holder.encode())\n"
            "os.close(int(sys.argv[2]))\n"
            "os.close(1)  # a wait for the parent includes it\n"
            "time.sleep(60)\n"
        ),
    )
    child = await asyncio.create_subprocess_exec(
        sys.executable,
        "-c",
        code,
        path,
        str(os_pipe[1]),
        stdout=asyncio.subprocess.PIPE,
        pass_fds=[os_pipe[1]],
        process_group=0,
    )
    try:
        os.close(os_pipe[1])
        assert child.stdout is not None
        dead = (await child.stdout.readline()).decode().strip()
        living = (await asyncio.to_thread(os.read, os_pipe[0], 100)).decode()
        # To the end of its output, or the transport of the pipe is left open.
        await child.communicate()
        ours = Presence.beside(path)
        assert ours is not None
        assert not ours.lives(dead)
        assert ours.lives(living)
    finally:
        os.close(os_pipe[0])
        os.killpg(child.pid, signal.SIGKILL)


async def test_a_presence_file_that_was_deleted_tells_nothing(
    spawn: Spawn, service_factory: ServiceFactory, tmp_path: Path
) -> None:
    """Processes that came later cannot see the lock of one that lives."""
    publisher = await writing(spawn)
    (tmp_path / "streams.db-presence").unlink()
    service = service_factory(lease=LEASE)
    assert (await service.status("s")).active
    async with service.publisher("later") as pub:
        await pub.write(FINISH)
    publisher.signal(signal.SIGKILL)
    await publisher.rest()
    assert (await service.status("s")).active


async def test_a_folder_without_locks_leaves_the_lease(
    spawn: Spawn, service_factory: ServiceFactory, tmp_path: Path
) -> None:
    (tmp_path / "streams.db-presence").unlink()
    (tmp_path / "streams.db-presence").mkdir()
    publisher, service = await writing(spawn), service_factory(lease=LEASE)
    publisher.signal(signal.SIGKILL)
    await publisher.rest()
    assert (await service.status("s")).active


async def test_a_process_that_dies_while_it_ends_a_version_is_noticed_too(
    spawn: Spawn, service_factory: ServiceFactory, tmp_path: Path
) -> None:
    service = service_factory(lease=LEASE)
    publisher = await writing(spawn)
    publisher.signal(signal.SIGKILL)
    await publisher.rest()
    ender = await spawn(lease=LEASE)
    database = sqlite3.connect(tmp_path / "streams.db")
    # It waits for the lock, and dies with its claim written or not.
    await ender.tell("end", "s")
    await asyncio.sleep(0.05)
    ender.signal(signal.SIGKILL)
    await ender.rest()
    database.close()
    async with asyncio.timeout(SOON):
        while (await service.status("s")).state == "open":
            await service.end_lost("s", 0)


async def test_a_turn_that_an_earlier_release_settles_is_left_to_it(
    spawn: Spawn, service_factory: ServiceFactory, tmp_path: Path
) -> None:
    """That release opened it, a process of this one ended it and died, and the first settles it."""
    service = service_factory(lease=LEASE)
    await writing(spawn)
    with closing(sqlite3.connect(tmp_path / "streams.db")) as database:
        database.execute("UPDATE stream_version SET settler = writer, holder = NULL")
        database.commit()
        ender = await spawn(lease=LEASE)
        await ender.ask("stop", "s")
        ender.signal(signal.SIGKILL)
        await ender.rest()
        database.execute("UPDATE stream_version SET settler = 'earlier', lease_until = 1e11")
        database.commit()

    calls = list[str]()

    async def work() -> None:
        calls.append("settled")

    assert await service.unattended() == []
    assert not await service.settle("s", 0, work)
    assert calls == []


def test_a_process_has_one_lock_beside_each_database(tmp_path: Path) -> None:
    first = Presence.beside(str(tmp_path / "a.db"))
    assert first is not None
    assert Presence.beside(str(tmp_path / "a.db")) is first
    second = Presence.beside(str(tmp_path / "b.db"))
    assert second is not None
    assert second.holder != first.holder
    assert first.lives(first.holder)
    # Of another file, of an earlier release, or damaged: nothing is known.
    for unknown in (second.holder, None, "", "7", "x:y", f"{first.holder}x"):
        assert first.lives(unknown)
    inode = first.holder.partition(":")[0]
    assert not first.lives(f"{inode}:12345")


async def test_how_soon_a_death_is_noticed(spawn: Spawn, service_factory: ServiceFactory) -> None:
    service, times = service_factory(lease=LEASE), list[float]()
    for number in range(5):
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
