"""A tail against reads that are late, and against streams that are deleted and begun anew."""

from __future__ import annotations

import asyncio
import gc
import weakref
from collections.abc import Sequence

import pytest

from fuzz.virtual_time import VirtualTimeLoop
from monostream_ai import DurableStreamService, JSONProtocol, Subscription
from monostream_ai._reading.tail import Tail
from monostream_ai.errors import (
    PublisherLost,
    StoreUnavailable,
    StreamDeleted,
    SubscriptionTimeout,
)
from monostream_ai.interfaces import Store
from monostream_ai.notifiers.memory import MemoryNotifier
from monostream_ai.stores.forwarding import ForwardingStore
from monostream_ai.stores.memory import MemoryStore
from monostream_ai.types import Head, Page, Position, WakeUp
from tests.chunks import FINISH, PROTOCOL, Chunk, text, texts
from tests.guarantees.test_g2_order import Deaf
from tests.hooked_store import Gate, HookedStore, failing_once

Service = DurableStreamService[Chunk]

PATIENCE = 3.0


@pytest.fixture
def store() -> HookedStore:
    return HookedStore(MemoryStore())


def make(store: Store) -> Service:
    """Make a service that trusts a notifier which delivers nothing, so that it polls rarely."""
    return DurableStreamService(store, Deaf(MemoryNotifier()), PROTOCOL, poll_interval=60.0)


async def rest(subscription: Subscription[Chunk]) -> list[Chunk]:
    return [chunk async for chunk in subscription]


async def write_all(service: Service, *chunks: Chunk) -> None:
    async with service.publisher("s") as pub:
        await pub.write(*chunks)


async def test_a_reader_that_joins_while_the_version_is_closed_here_sees_the_end(
    store: HookedStore,
) -> None:
    service = make(store)
    pub = await service.publisher("s").open()
    await pub.write(text(0))
    first = service.subscribe("s", timeout=PATIENCE)
    assert await anext(first) == text(0)
    # Its answer is from before the close and comes after it.
    store.after["read"] = gate = Gate()
    second = asyncio.create_task(rest(service.subscribe("s", timeout=PATIENCE)))
    await gate.reached.wait()
    await pub.close()
    del store.after["read"]
    gate.open()
    assert await second == [text(0), FINISH]
    assert await rest(first) == [FINISH]


async def test_a_late_answer_does_not_open_a_closed_version_again(store: HookedStore) -> None:
    service: DurableStreamService[int] = DurableStreamService(
        store, Deaf(MemoryNotifier()), JSONProtocol(), poll_interval=60.0
    )
    pub = await service.publisher("s").open()
    await pub.write(0)
    first = service.subscribe("s", timeout=PATIENCE)
    assert await anext(first) == 0
    store.after["read"] = gate = Gate()
    second = service.subscribe("s", timeout=PATIENCE)
    joining = asyncio.create_task(anext(second))
    await gate.reached.wait()
    # A close without a chunk: the next id stays what it was.
    await pub.close()
    del store.after["read"]
    gate.open()
    assert await joining == 0
    for subscription in (first, second):
        assert [chunk async for chunk in subscription] == []


async def closed_feed_with_an_idle_reader(store: Store, service: Service) -> Subscription[Chunk]:
    """Leave a reader in the middle of a long closed version, then delete the stream behind the
    service's back.
    """
    await write_all(service, *texts(600))
    idle = service.subscribe("s", timeout=PATIENCE)
    assert await anext(idle) == text(0)
    await store.delete("s")
    return idle


async def test_a_new_reader_gets_the_stream_that_was_begun_anew(store: HookedStore) -> None:
    service = make(store)
    idle = await closed_feed_with_an_idle_reader(store, service)
    await write_all(make(store), text(1000))
    assert await rest(service.subscribe("s", timeout=PATIENCE)) == [text(1000), FINISH]
    idle.close()


async def test_an_old_reader_is_not_given_the_chunks_of_a_stream_begun_anew(
    store: HookedStore,
) -> None:
    service = make(store)
    idle = await closed_feed_with_an_idle_reader(store, service)
    async with make(store).publisher("s") as pub:
        await pub.write(*texts(1000, 1000))
        await pub.write(*texts(1000, 2000))
        # Somebody else's reading shows the new stream to the feed.
        await asyncio.gather(
            anext(service.subscribe("s", timeout=PATIENCE)), return_exceptions=True
        )
        seen: list[Chunk] = []
        with pytest.raises(StreamDeleted):
            async for chunk in idle:
                seen.append(chunk)
    assert all(chunk["n"] < 600 for chunk in seen if "n" in chunk)


async def test_a_reader_that_comes_after_the_deletion_is_not_given_what_was_deleted(
    store: HookedStore,
) -> None:
    service = make(store)
    idle = await closed_feed_with_an_idle_reader(store, service)
    late = service.subscribe("s", timeout=PATIENCE)
    with pytest.raises((StreamDeleted, SubscriptionTimeout)):
        await anext(late)
    idle.close()


async def test_a_first_reader_is_told_at_once_of_a_store_that_is_down_and_may_try_again(
    store: HookedStore,
) -> None:
    store.before["setup"] = failing_once(StoreUnavailable("it starts beside us"))
    service: Service = DurableStreamService(
        store, None, PROTOCOL, outage_timeout=60.0, create_tables=True
    )
    with pytest.raises(StoreUnavailable):
        await rest(service.subscribe("s", timeout=PATIENCE))
    await write_all(make(store), text(0))
    assert await rest(service.subscribe("s", timeout=PATIENCE)) == [text(0), FINISH]


def test_a_reader_lives_through_outages_that_are_too_long_only_together() -> None:
    async def read_through_outages() -> None:
        clock = asyncio.get_running_loop().time
        memory, notifier = MemoryStore(clock), MemoryNotifier()
        store = HookedStore(memory)
        away = False

        async def read() -> None:
            # Announces more than there is: the next read is due before this one ends.
            await notifier.notify([WakeUp("s", 0, 99)])
            await asyncio.sleep(0.1)
            if away:
                raise StoreUnavailable("the test says so")

        store.before["read"] = read
        # No chunk comes past the store, or a reader would not wait for the end of its outage.
        writer: Service = DurableStreamService(memory, notifier, PROTOCOL, inline="never")
        reader: Service = DurableStreamService(store, notifier, PROTOCOL, outage_timeout=10.0)
        async with writer, reader:
            subscription = reader.subscribe("s")
            async with writer.publisher("s") as pub:
                for number in range(4):
                    away = True
                    await pub.write(text(number))
                    reading = asyncio.create_task(anext(subscription))
                    await asyncio.sleep(6.0)
                    away = False
                    assert await reading == text(number)
                    await asyncio.sleep(1.0)
            assert await rest(subscription) == [FINISH]

    VirtualTimeLoop().run_until_complete(read_through_outages())


def test_a_loss_is_told_when_the_lease_of_the_last_local_commit_ends() -> None:
    async def lose() -> None:
        clock = asyncio.get_running_loop().time
        store = HookedStore(MemoryStore(clock))
        service: Service = DurableStreamService(
            store, Deaf(MemoryNotifier()), PROTOCOL, lease=5.0, poll_interval=600.0
        )
        async with service:
            subscription = service.subscribe("s")
            reading = asyncio.create_task(anext(subscription))
            await asyncio.sleep(1.0)
            # The read that the new version causes knows less than the commit that overtakes it.
            store.before["read"] = gate = Gate()
            pub = await service.publisher("s").open()
            await gate.reached.wait()
            await pub.write(text(0))
            committed_at = clock()
            assert await reading == text(0)
            gate.open()
            del store.before["read"], pub
            with pytest.raises(PublisherLost):
                await anext(subscription)
            assert clock() - committed_at < 6.0

    VirtualTimeLoop().run_until_complete(lose())


class Payload(str):
    """A string that one can tell the death of."""


class Tracking(ForwardingStore):
    """Gives payloads out as objects of its own, and notes which of them are still held."""

    def __init__(self, inner: Store) -> None:
        super().__init__(inner)
        self.held: weakref.WeakSet[Payload] = weakref.WeakSet()

    async def read(
        self, positions: Sequence[Position], *, max_rows: int, max_bytes: int
    ) -> list[Page]:
        pages = await super().read(positions, max_rows=max_rows, max_bytes=max_bytes)
        return [
            Page(page.head, page.first, [self._tracked(payload) for payload in page.payloads])
            for page in pages
        ]

    def _tracked(self, payload: str) -> Payload:
        tracked = Payload(payload)
        self.held.add(tracked)
        return tracked


async def test_nothing_is_held_for_a_stream_that_nobody_reads_any_more(store: HookedStore) -> None:
    pub = await make(store).publisher("s").open()
    await pub.write(*texts(100))
    tracking = Tracking(store)
    service = make(tracking)
    subscription = service.subscribe("s")
    await subscription.next_batch()
    # Before the poll of the open version, which is due much later.
    subscription.close()
    del subscription
    gc.collect()
    assert len(tracking.held) == 0


def test_a_replay_does_not_take_the_window_from_readers_that_are_close_to_the_end() -> None:
    tail, head = Tail(Position("s", 0, 5)), Head(0, "open", 8, 9.0, opener="o")
    tail.see(Page(head, 5, ["5", "6", "7"]), 0.0, landings=0)
    tail.see(Page(head, 0, ["0", "1", "2"]), 0.0, landings=0)

    batch = tail.batch_from(7)
    assert batch is not None
    assert batch.payloads == ["7"]
