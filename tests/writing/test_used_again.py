"""A publisher writes one version: used again, it says so."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from monostream_ai import (
    DurableStreamService,
    PublisherClosed,
    StreamClosed,
    StreamStopped,
    WrongEventLoop,
    create_service,
)
from monostream_ai.stores.memory import MemoryStore
from monostream_ai.threads import SyncPublisher
from tests.chunks import FINISH, PROTOCOL, Chunk, text

Service = DurableStreamService[Chunk]


@pytest.fixture
def service() -> Service:
    return DurableStreamService(MemoryStore(), None, PROTOCOL)


async def test_a_publisher_that_has_ended_cannot_be_opened_again(service: Service) -> None:
    async with service.publisher("s") as pub:
        await pub.write(text(0))

    with pytest.raises(StreamClosed, match="'s' version 0 is closed"):
        async with pub:
            pytest.fail("the block must not begin")
    with pytest.raises(StreamClosed):
        await pub.open()


async def test_a_publisher_that_was_stopped_or_released_cannot_be_opened_again(
    service: Service,
) -> None:
    stopped, released = [await service.publisher(name).open() for name in "ab"]
    await service.stop("a")
    await released.release()

    with pytest.raises(StreamStopped):
        await stopped.open()
    with pytest.raises(PublisherClosed):
        await released.open()


async def test_a_publisher_in_a_block_cannot_have_a_second_one(service: Service) -> None:
    async with service.publisher("s") as pub:
        with pytest.raises(RuntimeError, match="in a block already"):
            async with pub:
                pytest.fail("the block must not begin")
        await pub.write(text(0))

    assert await service.chunks("s") == [text(0), FINISH]


async def test_an_open_publisher_may_be_opened_again_and_then_have_a_block(
    service: Service,
) -> None:
    pub = await service.publisher("s").open()
    assert await pub.open() is pub
    async with pub:
        await pub.write(text(0))

    assert await service.chunks("s") == [text(0), FINISH]


def test_a_sync_publisher_has_one_block() -> None:
    with SyncPublisher("memory://", "s") as pub:
        with pytest.raises(RuntimeError, match="entered before"), pub:
            pytest.fail("the block must not begin")
        pub.write({"type": "start"})

    with pytest.raises(RuntimeError, match="entered before"), pub:
        pytest.fail("the block must not begin")
    with pytest.raises(PublisherClosed):
        pub.push({"type": "start"})


async def make_service() -> Service:
    return create_service("memory://")


def test_a_sync_publisher_needs_a_url_or_a_function() -> None:
    given: Any
    for given in (create_service("memory://"), None, 1, make_service):
        with pytest.raises(TypeError, match="needs a URL, or a function"):
            SyncPublisher(given, "s")
    wrong: Any = lambda: "memory://"  # noqa: E731 - one word for each case
    with pytest.raises(TypeError, match="returned str"), SyncPublisher(wrong, "s"):
        pytest.fail("the block must not begin")


def test_a_sync_publisher_does_not_wait_for_itself() -> None:
    """Code on its loop, such as an async callback, would wait for the loop that it holds."""
    with SyncPublisher("memory://", "s") as pub:

        async def on_its_loop() -> None:
            pub.write({"type": "start"})

        with pytest.raises(WrongEventLoop):
            pub.wait_for(on_its_loop())
        pub.write({"type": "start"})


async def test_blocks_of_two_tasks_do_not_share_a_publisher(service: Service) -> None:
    pub, entered, go_on = service.publisher("s"), asyncio.Event(), asyncio.Event()

    async def write() -> None:
        async with pub:
            entered.set()
            await go_on.wait()
            await pub.write(text(0))

    first = asyncio.create_task(write())
    await entered.wait()
    with pytest.raises(RuntimeError, match="in a block already"):
        await write()
    go_on.set()
    await first

    assert await service.chunks("s") == [text(0), FINISH]
