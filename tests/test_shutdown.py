"""Closing a service goes on to its end, is bounded in time, and reaches every reader."""

from __future__ import annotations

import asyncio
import sqlite3
import threading
from pathlib import Path

import anyio
import pytest

from monostream_ai import DurableStreamService, Publisher, create_service
from monostream_ai.errors import PublisherLost, SchemaTooNew, ServiceClosed
from monostream_ai.interfaces import Notifier, Store
from monostream_ai.notifiers.memory import MemoryNotifier
from monostream_ai.stores.memory import MemoryStore
from tests.chunks import PROTOCOL, Chunk, text, texts
from tests.hooked_store import Gate, HookedStore, cancelled, still_waits

Service = DurableStreamService[Chunk]

PATIENCE = 5.0


@pytest.fixture
def store() -> HookedStore:
    return HookedStore(MemoryStore())


def make(store: Store, notifier: Notifier | None = None) -> Service:
    """Make a service that polls so rarely that only announced chunks arrive."""
    return DurableStreamService(store, notifier, PROTOCOL, lease=60.0, poll_interval=60.0)


async def lost(store: Store, stream_id: str = "s") -> bool:
    info = await store.info(stream_id)
    return info is not None and info.lost


async def test_a_closing_whose_caller_leaves_goes_on(store: HookedStore) -> None:
    service = make(store)
    pub = await service.publisher("s").open()
    store.before["release"] = gate = Gate()
    closing = asyncio.create_task(service.aclose())
    await gate.reached.wait()
    await cancelled(closing)
    again = asyncio.create_task(service.aclose())
    assert await still_waits(again)
    gate.open()
    await again
    assert await lost(store, pub.stream_id)
    assert store.calls["aclose"] == 1


async def test_two_closings_end_together(store: HookedStore) -> None:
    service = make(store)
    pub = await service.publisher("s").open()
    store.before["release"] = gate = Gate()
    closings = [asyncio.create_task(service.aclose()) for _ in range(2)]
    await gate.reached.wait()
    assert await still_waits(closings[1])
    gate.open()
    await asyncio.gather(*closings)
    assert await lost(store, pub.stream_id)
    assert store.calls["aclose"] == 1


def test_a_service_left_in_a_cancelled_scope_is_closed_before_the_program_ends() -> None:
    store = HookedStore(MemoryStore())
    # Held, because a publisher that is dropped is left to lapse.
    pubs: list[Publisher[Chunk]] = []

    async def program() -> None:
        with anyio.CancelScope() as scope:
            async with make(store) as service:
                pubs.append(await service.publisher("s").open())
                # Something that takes a turn of the loop, as any database does.
                store.before["release"] = lambda: asyncio.sleep(0.01)
                scope.cancel()
                await anyio.sleep_forever()

    thread = threading.Thread(target=asyncio.run, args=[program()])
    thread.start()
    thread.join(PATIENCE)
    assert not thread.is_alive()
    assert store.calls["aclose"] == 1
    assert asyncio.run(lost(store))


async def test_leases_are_released_all_together(store: HookedStore) -> None:
    service = make(store)
    pubs = [await service.publisher(f"s{number}").open() for number in range(20)]
    everybody = asyncio.Event()

    async def wait_for_the_others() -> None:
        if store.calls["release"] == len(pubs):
            everybody.set()
        await everybody.wait()

    store.before["release"] = wait_for_the_others
    async with asyncio.timeout(PATIENCE):
        await service.aclose()
    assert all([await lost(store, pub.stream_id) for pub in pubs])


async def test_a_frozen_store_does_not_keep_a_service_from_closing(store: HookedStore) -> None:
    service = make(store)
    pubs = [await service.publisher(f"s{number}").open() for number in range(3)]
    store.before["release"] = Gate()
    async with asyncio.timeout(3 * PATIENCE):
        await service.aclose()
    assert store.calls["aclose"] == 1
    assert not any([await lost(store, pub.stream_id) for pub in pubs])


async def test_readers_elsewhere_hear_at_once_that_the_publisher_is_gone(
    store: HookedStore,
) -> None:
    notifier = MemoryNotifier()
    writer, reader = make(store, notifier), make(store, notifier)
    pub = await writer.publisher("s").open()
    await pub.write(text(0))
    subscription = reader.subscribe("s", timeout=PATIENCE)
    assert await anext(subscription) == text(0)
    waiting = asyncio.create_task(anext(subscription))
    assert await still_waits(waiting)
    await writer.aclose()
    with pytest.raises(PublisherLost):
        await waiting


async def test_a_version_that_is_written_while_the_service_closes_is_released(
    store: HookedStore,
) -> None:
    service = make(store)
    opened = asyncio.Event()
    go_on = asyncio.Event()

    async def answer() -> None:
        async with service.publisher("s") as pub:
            await pub.write(text(0))
            opened.set()
            await go_on.wait()
            await pub.write(text(1))

    # Another version keeps the writer busy, so that the closing waits for it.
    other = await service.publisher("other").open()
    task = asyncio.create_task(answer())
    await opened.wait()
    store.before["append"] = gate = Gate()
    writing = asyncio.create_task(other.write(text(0)))
    await gate.reached.wait()
    closing = asyncio.create_task(service.aclose())
    assert await still_waits(closing)
    go_on.set()
    with pytest.raises(ServiceClosed):
        await task
    gate.open()
    await closing
    assert await writing == 0
    assert await lost(store)


async def test_a_reader_in_the_middle_of_a_replay_hears_that_the_service_is_closed(
    store: HookedStore,
) -> None:
    service = make(store)
    pub = await service.publisher("s").open()
    for start in range(0, 3200, 400):
        await pub.write(*texts(400, start))
    gate = Gate()
    subscription = service.subscribe("s")
    await subscription.next_batch()

    async def read_on() -> None:
        store.before["read"] = gate
        while True:
            await subscription.next_batch()

    reading = asyncio.create_task(read_on())
    await gate.reached.wait()
    await service.aclose()
    with pytest.raises(ServiceClosed):
        async with asyncio.timeout(PATIENCE):
            await reading
    assert reading.cancelling() == 0


async def test_a_version_that_opens_while_the_service_closes_is_released(
    store: HookedStore,
) -> None:
    service = make(store)
    store.after["acquire"] = gate = Gate()
    pub = service.publisher("s")
    opening = asyncio.create_task(pub.open())
    await gate.reached.wait()
    await service.aclose()
    tasks = asyncio.all_tasks()
    gate.open()
    with pytest.raises(ServiceClosed):
        await opening
    assert await lost(store)
    assert asyncio.all_tasks() < tasks


async def test_a_first_reader_hears_that_the_service_is_closed(store: HookedStore) -> None:
    service: Service = DurableStreamService(
        store, None, PROTOCOL, poll_interval=60.0, create_tables=True
    )
    store.before["setup"] = gate = Gate()
    reading = asyncio.create_task(anext(service.subscribe("s", timeout=PATIENCE)))
    await gate.reached.wait()
    closing = asyncio.create_task(service.aclose())
    assert await still_waits(closing)
    gate.open()
    await closing
    with pytest.raises(ServiceClosed):
        await reading


async def test_a_service_that_cannot_start_closes_its_store(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'newer.db'}"
    async with create_service(url):
        pass
    with sqlite3.connect(tmp_path / "newer.db") as connection:
        connection.execute("INSERT INTO monostream_schema (version) VALUES (99)")
    connection.close()
    threads = {*threading.enumerate()}

    for _ in range(3):
        with pytest.raises(SchemaTooNew):
            async with create_service(url):
                pytest.fail("it has started")

    # A thread ends a moment after its last call was answered.
    async with asyncio.timeout(PATIENCE):
        while not {*threading.enumerate()} <= threads:
            await asyncio.sleep(0.01)
