"""Publishers, subscriptions and services show their state while they run."""

from __future__ import annotations

import asyncio
import logging

import pytest

from monostream_ai import DurableStreamService, InvalidURL, StreamStopped, create_service
from monostream_ai.notifiers.forwarding import ForwardingNotifier
from monostream_ai.notifiers.memory import MemoryNotifier
from monostream_ai.observing import Statistics
from monostream_ai.stores.memory import MemoryStore
from monostream_ai.threads import SyncPublisher
from tests.chunks import PROTOCOL, Chunk, text, texts
from tests.hooked_store import Gate, HookedStore

Service = DurableStreamService[Chunk]


async def test_a_publisher_shows_its_version_and_how_much_is_stored() -> None:
    store = HookedStore(MemoryStore())
    async with Service(store, None, PROTOCOL) as service:
        pub = service.publisher("chat:1")
        assert repr(pub) == "<Publisher 'chat:1' not open>"
        await pub.open()
        await pub.write(*texts(12))
        store.before["append"] = gate = Gate()
        pub.push(text(12), text(13))
        await gate.reached.wait()
        assert repr(pub) == "<Publisher 'chat:1' v0 open, 12 stored, 2 waiting>"
        gate.open()
        await pub.close()
        assert repr(pub) == "<Publisher 'chat:1' v0 closed, 15 stored, 0 waiting>"
        released = await service.publisher("chat:1").open()
        await released.release()
        assert repr(released) == "<Publisher 'chat:1' v1 released, 0 stored, 0 waiting>"


async def test_a_subscription_shows_where_it_stands() -> None:
    async with create_service("memory://") as service:
        subscription = service.subscribe("chat:1")
        assert repr(subscription) == "<Subscription 'chat:1' waiting>"
        async with service.publisher("chat:1") as pub:
            await pub.write({"type": "text-start", "id": "t"}, {"type": "text-end", "id": "t"})
            await anext(subscription)
            assert repr(subscription) == "<Subscription 'chat:1' v0, 1 read, 1 behind>"
        subscription.close()
        assert repr(subscription) == "<Subscription 'chat:1' over: SubscriptionClosed>"


async def test_a_service_shows_its_store_and_how_busy_it_is() -> None:
    service = create_service("memory://")
    async with service, service.publisher("chat:1"):
        assert repr(service).startswith("<DurableStreamService on ")
        assert repr(service).endswith(" open, 1 publishing, 0 reading>")
    assert " closing, " in repr(service)


def test_a_sync_publisher_shows_its_version_and_state() -> None:
    pub = SyncPublisher("memory://", "chat:1")
    assert repr(pub) == "<SyncPublisher 'chat:1' not open>"
    with pub:
        assert repr(pub) == "<SyncPublisher 'chat:1' v0 open>"
    assert repr(pub) == "<SyncPublisher 'chat:1' v0 closed>"


def test_a_sync_publisher_shows_that_it_failed_to_open() -> None:
    pub = SyncPublisher("nonsense", "chat:1")
    with pytest.raises(InvalidURL), pub:
        pass
    assert repr(pub) == "<SyncPublisher 'chat:1' failed>"


async def test_no_repr_shows_a_password() -> None:
    service = create_service("postgresql://ann:hush@127.0.0.1/chat")
    assert "hush" not in repr(service)
    await service.aclose()


async def test_statistics_count_publishers_readers_and_errors() -> None:
    service = Service(MemoryStore(), None, PROTOCOL)
    assert service.statistics() == Statistics(0, 0, 0, 0, 0, {})
    async with service, service.publisher("s") as pub:
        await pub.write(*texts(5))
        subscription = service.subscribe("s")
        await anext(subscription)
        assert service.statistics() == Statistics(1, 1, 1, 4, 0, {})


class Claiming(ForwardingNotifier):
    """Says of its health what the test wants."""

    healthy = False


async def test_a_rescue_is_news_that_a_healthy_notifier_should_have_brought() -> None:
    store, notifier = MemoryStore(), Claiming(MemoryNotifier())
    async with (
        Service(store, None, PROTOCOL) as writer,
        Service(store, notifier, PROTOCOL, poll_interval=0.3) as reader,
        writer.publisher("s") as pub,
    ):
        await pub.write(text(0))
        subscription = reader.subscribe("s")
        assert await anext(subscription) == text(0)
        await pub.write(text(1))
        # The poll that is due was set while no wake-up was expected.
        notifier.healthy = True
        assert await anext(subscription) == text(1)
        assert reader.statistics().rescues == 0
        for id in (2, 3):
            await pub.write(text(id))
            assert await anext(subscription) == text(id)
        assert reader.statistics().rescues > 0


async def test_the_older_ways_to_ask_warn_and_answer() -> None:
    async with create_service("memory://") as service:
        with pytest.deprecated_call(match=r"use service\.statistics\(\)\.errors"):
            assert service.error_counts == {}
        with pytest.deprecated_call(match=r"use service\.statistics\(\)\.rescues"):
            assert service.rescues == 0


async def test_debug_lines_tell_of_wake_ups_and_takeovers(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, "monostream_ai")
    store, notifier = MemoryStore(), MemoryNotifier()
    async with (
        Service(store, notifier, PROTOCOL) as writer,
        Service(store, notifier, PROTOCOL) as other,
    ):
        with pytest.raises(StreamStopped):
            async with writer.publisher("s") as pub:
                await pub.write(text(0))
                assert await other.stop("s")
                await asyncio.sleep(60)
    messages = [record.getMessage() for record in caplog.records]
    assert "took over stream 's' version 0 to end it" in messages
    assert "stream 's' version 0 is lost to its publisher: StreamStopped" in messages
    assert "sent wake-ups for 1 streams" in messages
