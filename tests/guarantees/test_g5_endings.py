"""G5, seen from the publisher: however a block is left, its version gets exactly one ending, and
nothing queued is lost.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Literal

import pytest

from monostream_ai import DurableStreamService, JSONProtocol
from monostream_ai.errors import Fenced, MonostreamError, PublisherLost, StreamStopped
from monostream_ai.stores.forwarding import ForwardingStore
from monostream_ai.types import Append
from tests.chunks import ABORT, ERROR, FINISH, Chunk, text, texts
from tests.plugins.services import ServiceFactory

Service = DurableStreamService[Chunk]


class Slow(ForwardingStore):
    """Takes its time with each append, so that a cancel strikes in the middle of it."""

    async def append(
        self, appends: Sequence[Append], *, lease: float
    ) -> list[MonostreamError | None]:
        await asyncio.sleep(0.05)
        return await super().append(appends, lease=lease)


async def test_a_block_that_completes_finishes(service: Service) -> None:
    async with service.publisher("s") as pub:
        await pub.write(text(0))
    assert pub.closed
    assert await service.chunks("s") == [text(0), FINISH]


async def test_a_block_that_raises_ends_with_an_error_and_raises_on(service: Service) -> None:
    with pytest.raises(LookupError, match="secret"):
        async with service.publisher("s") as pub:
            await pub.write(text(0))
            raise LookupError("secret")
    assert await service.chunks("s") == [text(0), ERROR]


@pytest.mark.parametrize(("on_cancel", "ending"), [("abort", [ABORT]), ("release", [])])
async def test_a_cancelled_block_aborts_or_releases(
    service: Service, on_cancel: Literal["abort", "release"], ending: list[Chunk]
) -> None:
    opened = asyncio.Event()

    async def answer() -> None:
        async with service.publisher("s", on_cancel=on_cancel) as pub:
            await pub.write(text(0))
            opened.set()
            await asyncio.Event().wait()

    task = asyncio.create_task(answer())
    await opened.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert await service.chunks("s") == [text(0), *ending]
    assert (await service.status("s")).lost == (on_cancel == "release")


async def test_the_ending_is_written_although_the_task_is_cancelled_again(
    service_factory: ServiceFactory,
) -> None:
    service = service_factory(wrap_store=Slow)
    opened = asyncio.Event()

    async def answer() -> None:
        async with service.publisher("s") as pub:
            await pub.write(text(0))
            opened.set()
            await asyncio.Event().wait()

    task = asyncio.create_task(answer())
    await opened.wait()
    for _ in range(5):
        task.cancel()
        await asyncio.wait([task], timeout=0.01)
    with pytest.raises(asyncio.CancelledError):
        await task
    assert await service.chunks("s") == [text(0), ABORT]


async def test_a_timeout_around_a_block_ends_it_and_is_a_timeout(service: Service) -> None:
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(None) as limit, service.publisher("s") as pub:
            await pub.write(text(0))
            limit.reschedule(asyncio.get_running_loop().time())
            await asyncio.Event().wait()
    assert await service.chunks("s") == [text(0), ABORT]


async def test_a_write_that_is_cancelled_still_lands(service_factory: ServiceFactory) -> None:
    service = service_factory(wrap_store=Slow)
    async with service.publisher("s") as pub:
        for number in range(4):
            writing = asyncio.create_task(pub.write(text(number)))
            await asyncio.wait([writing], timeout=0.01)
            writing.cancel()
            await asyncio.gather(writing, return_exceptions=True)
    assert await service.chunks("s") == [*texts(4), FINISH]


async def test_pushed_and_written_chunks_keep_their_order(service: Service) -> None:
    async with service.publisher("s") as pub:
        for number in range(0, 90, 3):
            pub.push(text(number))
            pub.push(text(number + 1))
            assert await pub.write(text(number + 2)) == number + 2
        pub.push(text(90))
        await pub.flush()
        assert len(await service.chunks("s")) == 91
        pub.push(text(91))
    assert await service.chunks("s") == [*texts(92), FINISH]


async def test_chunks_pushed_from_a_thread_keep_their_order(service: Service) -> None:
    async with service.publisher("s") as pub:

        def push_all() -> None:
            for number in range(200):
                pub.push(text(number))

        await asyncio.to_thread(push_all)
    assert await service.chunks("s") == [*texts(200), FINISH]


async def test_chunks_pushed_after_the_end_are_counted(service: Service) -> None:
    async with service.publisher("s") as pub:
        await pub.write(FINISH)
        pub.push(text(0), text(1))
    pub.push(text(2))
    assert pub.dropped == 3
    assert await service.chunks("s") == [FINISH]


async def test_a_pushed_terminal_chunk_ends_the_version(service: Service) -> None:
    async with service.publisher("s") as pub:
        pub.push(text(0), ERROR)
        await pub.flush()
        assert pub.closed
    assert await service.chunks("s") == [text(0), ERROR]


@pytest.mark.parametrize("taken_by", ["stop", "newer version"])
async def test_a_block_that_lost_its_version_says_so(
    service_factory: ServiceFactory, taken_by: str
) -> None:
    writer, other = service_factory(), service_factory()
    with pytest.raises(StreamStopped if taken_by == "stop" else Fenced):
        async with writer.publisher("s") as pub:
            await pub.write(text(0))
            # In a task of its own: the block's task is cancelled as soon as its publisher learns of
            # it.
            taking = asyncio.create_task(take(other, taken_by))
            async with asyncio.timeout(10):
                await asyncio.Event().wait()
    await taking
    assert asyncio.current_task() is not None
    assert asyncio.current_task().cancelling() == 0  # type: ignore[union-attr]  # a test is a task
    assert await other.chunks("s", 0) == ([text(0), ABORT] if taken_by == "stop" else [text(0)])


async def take(service: Service, how: str) -> None:
    if how == "stop":
        await service.stop("s")
    else:
        await service.publisher("s").open()


async def test_a_block_that_lost_its_version_keeps_its_own_error(
    service_factory: ServiceFactory,
) -> None:
    writer, other = service_factory(), service_factory()
    with pytest.raises(LookupError):
        async with writer.publisher("s") as pub:
            await other.publisher("s").open()
            try:
                async with asyncio.timeout(10):
                    await asyncio.Event().wait()
            except asyncio.CancelledError:
                raise LookupError from None
    assert pub.closed


async def test_a_protocol_without_endings_closes_what_is_done(
    service_factory: ServiceFactory,
) -> None:
    service = service_factory(protocol=JSONProtocol[Chunk]())
    async with service.publisher("s") as pub:
        await pub.write(text(0))
    assert [chunk async for chunk in service.subscribe("s", timeout=5.0)] == [text(0)]
    assert (await service.status("s")).state == "closed"


async def test_a_protocol_without_endings_leaves_what_failed_to_be_lost(
    service_factory: ServiceFactory,
) -> None:
    service = service_factory(protocol=JSONProtocol[Chunk]())
    with pytest.raises(LookupError):
        async with service.publisher("s") as pub:
            await pub.write(text(0))
            raise LookupError
    with pytest.raises(PublisherLost):
        assert [chunk async for chunk in service.subscribe("s", timeout=5.0)] == [text(0)]


async def test_readers_in_another_process_hear_of_a_close_without_a_chunk(
    service_factory: ServiceFactory,
) -> None:
    writer, reader = (service_factory(protocol=JSONProtocol[Chunk]()) for _ in range(2))
    subscription = reader.subscribe("s")
    pub = await writer.publisher("s").open()
    await pub.write(text(0))
    assert await anext(subscription) == text(0)
    await pub.close()
    async with asyncio.timeout(10):
        assert [chunk async for chunk in subscription] == []
