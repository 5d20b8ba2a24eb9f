"""G7: any process stops any version; the publisher learns of it, one ending is stored, the next
turn is untouched.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest

from monostream_ai import DurableStreamService
from monostream_ai.errors import MonostreamError, StreamStopped
from monostream_ai.stores.forwarding import ForwardingStore
from monostream_ai.types import Append, Lease
from tests.chunks import ABORT, FINISH, Chunk, text, texts
from tests.guarantees.test_g2_order import Deaf
from tests.plugins.services import ServiceFactory

Service = DurableStreamService[Chunk]

PATIENCE = 5.0


async def check_that_a_stop_ends_an_idle_publisher(writer: Service, stopper: Service) -> None:
    """The publisher waits for its model: only a wake-up or a renewal can tell it."""
    opened = asyncio.Event()

    async def answer() -> None:
        async with writer.publisher("s") as pub:
            await pub.write(text(0))
            opened.set()
            await asyncio.Event().wait()

    task = asyncio.create_task(answer())
    await opened.wait()
    reading = asyncio.create_task(collect(stopper))
    assert await stopper.stop("s") is True
    done, _ = await asyncio.wait([task], timeout=PATIENCE)
    task.cancel()
    result = (await asyncio.gather(task, return_exceptions=True))[0]
    assert done, "the publisher was not told"
    assert isinstance(result, StreamStopped)
    assert await reading == [text(0), ABORT]
    assert await stopper.chunks("s") == [text(0), ABORT]
    assert await stopper.stop("s") is False


async def check_that_a_stop_ends_a_writing_publisher(writer: Service, stopper: Service) -> None:
    written = 0
    pub = await writer.publisher("s").open()
    stopping: asyncio.Task[bool] | None = None
    outcome: object = None
    while written < 500 and not isinstance(outcome, BaseException):
        outcome = (await asyncio.gather(pub.write(text(written)), return_exceptions=True))[0]
        written += outcome == written
        if written == 5:
            stopping = stopping or asyncio.create_task(stopper.stop("s"))
        await asyncio.sleep(0)
    assert stopping is not None
    assert await stopping is True
    assert isinstance(outcome, StreamStopped)
    assert await stopper.chunks("s") == [*texts(written), ABORT]


async def collect(service: Service) -> list[Chunk]:
    return [chunk async for chunk in service.subscribe("s", timeout=PATIENCE)]


class Unstoppable(ForwardingStore):
    """Tells no publisher that it lost its version, and writes nothing for it either."""

    async def append(
        self, appends: Sequence[Append], *, lease: float
    ) -> list[MonostreamError | None]:
        await super().append(appends, lease=lease)
        return [None] * len(appends)

    async def renew(self, leases: Sequence[Lease], *, lease: float) -> list[MonostreamError | None]:
        await super().renew(leases, lease=lease)
        return [None] * len(leases)

    async def check(self, leases: Sequence[Lease]) -> list[MonostreamError | None]:
        return [None] * len(leases)


CHECKS = [check_that_a_stop_ends_an_idle_publisher, check_that_a_stop_ends_a_writing_publisher]


@pytest.mark.parametrize("check", CHECKS)
async def test_a_stop_reaches_a_publisher_in_another_process(
    service_factory: ServiceFactory, check: type
) -> None:
    await check(service_factory(), service_factory())


@pytest.mark.parametrize("check", CHECKS)
async def test_a_stop_reaches_a_publisher_in_the_same_process(
    service: Service, check: type
) -> None:
    await check(service, service)


@pytest.mark.parametrize("check", CHECKS)
@pytest.mark.parametrize("wrap_notifier", [Deaf, lambda notifier: None], ids=["deaf", "none"])
async def test_a_stop_needs_no_notifier(
    service_factory: ServiceFactory, check: type, wrap_notifier: type
) -> None:
    options = {"wrap_notifier": wrap_notifier, "lease": 1.5, "poll_interval": 0.3}
    await check(service_factory(**options), service_factory(**options))


@pytest.mark.sweep(1)
@pytest.mark.parametrize("check", CHECKS)
async def test_the_check_for_g7_notices_a_publisher_that_is_never_told(
    service_factory: ServiceFactory, check: type
) -> None:
    with pytest.raises(AssertionError):
        await check(service_factory(wrap_store=Unstoppable), service_factory())


async def test_of_many_stops_one_ends_the_version(service_factory: ServiceFactory) -> None:
    services = [service_factory() for _ in range(3)]
    await (await services[0].publisher("s").open()).write(text(0))
    assert sorted(await asyncio.gather(*(service.stop("s") for service in services))) == [
        False,
        False,
        True,
    ]
    assert await services[0].chunks("s") == [text(0), ABORT]


async def test_a_stop_that_names_a_version_leaves_the_next_turn(
    service_factory: ServiceFactory,
) -> None:
    writer, stopper = service_factory(), service_factory()
    async with writer.publisher("s") as first:
        await first.write(text(0))
    async with writer.publisher("s") as second:
        assert await stopper.stop("s", 0) is False
        await second.write(text(1))
    assert await stopper.chunks("s") == [text(1), FINISH]


async def test_a_stop_races_the_finish_to_one_ending(service_factory: ServiceFactory) -> None:
    writer, stopper = service_factory(), service_factory()
    for number in range(15):
        stream_id = f"s{number}"
        pub = await writer.publisher(stream_id).open()
        await pub.write(text(0))
        closed, stopped = await asyncio.gather(
            pub.close(), stopper.stop(stream_id), return_exceptions=True
        )
        assert (closed is None) == (stopped is False)
        assert await stopper.chunks(stream_id) == [text(0), FINISH if closed is None else ABORT]


async def test_a_stopped_stream_can_be_written_again(service: Service) -> None:
    await service.publisher("s").open()
    await service.stop("s")
    async with service.publisher("s") as pub:
        await pub.write(text(1))
    assert await collect(service) == [text(1), FINISH]
