"""A service counts each version that it has ended, once, by its ending."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any

import pytest

from monostream_ai import DurableStreamService, Fenced, Publisher, StreamStopped, create_service
from monostream_ai.ag_ui import AGUIProtocol
from monostream_ai.errors import StoreUnavailable
from monostream_ai.protocol import JSONProtocol
from monostream_ai.stores.memory import MemoryStore
from tests.chunks import ERROR, FINISH, PROTOCOL, Chunk, text
from tests.hooked_store import HookedStore, cancelled, failing_once

Service = DurableStreamService[Any]
NONE = {"finish": 0, "error": 0, "abort": 0, "lost": 0}
STARTED = {"type": "RUN_STARTED", "threadId": "c", "runId": "r"}
FINISHED = {**STARTED, "type": "RUN_FINISHED"}


@pytest.fixture
def service() -> Service:
    return DurableStreamService(MemoryStore(), None, PROTOCOL)


def ended(service: Service) -> dict[str, int]:
    """Return the endings that were counted at least once."""
    return {ending: count for ending, count in service.statistics().endings.items() if count}


async def returns(service: Service) -> None:
    async with service.publisher("s"):
        pass


async def raises(service: Service) -> None:
    with suppress(LookupError):
        async with service.publisher("s"):
            raise LookupError


async def is_cancelled(service: Service) -> None:
    opened = asyncio.Event()

    async def wait() -> None:
        async with service.publisher("s"):
            opened.set()
            await asyncio.Event().wait()

    task = asyncio.ensure_future(wait())
    await opened.wait()
    await cancelled(task)


async def is_stopped(service: Service) -> None:
    with suppress(StreamStopped):
        async with service.publisher("s"):
            assert await service.stop("s")
            await asyncio.Event().wait()


async def is_lost(service: Service) -> None:
    await (await service.publisher("s").open()).release()
    assert await service.end_lost("s", 0)
    assert not await service.end_lost("s", 0)


WAYS = [
    pytest.param(returns, "finish", id="finish"),
    pytest.param(raises, "error", id="error"),
    pytest.param(is_cancelled, "abort", id="cancel"),
    pytest.param(is_stopped, "abort", id="stop"),
    pytest.param(is_lost, "lost", id="lost"),
]


def test_every_ending_is_counted_from_zero(service: Service) -> None:
    assert service.statistics().endings == NONE


@pytest.mark.parametrize(("end", "ending"), WAYS)
async def test_a_version_counts_by_its_ending(
    service: Service, end: Callable[[Service], Awaitable[None]], ending: str
) -> None:
    await end(service)
    assert service.statistics().endings == {**NONE, ending: 1}


async def test_an_ending_without_a_chunk_counts_too() -> None:
    service: Service = DurableStreamService(MemoryStore(), None, JSONProtocol[Chunk]())
    await returns(service)
    await is_stopped(service)
    assert ended(service) == {"finish": 1, "abort": 1}


async def test_a_version_that_goes_on_elsewhere_does_not_count(service: Service) -> None:
    released = await service.publisher("released").open()
    await released.release()
    fenced = await service.publisher("fenced").open()
    successor = await service.publisher("fenced").open()
    with pytest.raises(Fenced):
        await fenced.close()
    assert not successor.closed
    assert ended(service) == {}


async def write(pub: Publisher[Any], chunk: Chunk) -> None:
    await pub.write(chunk)


async def push(pub: Publisher[Any], chunk: Chunk) -> None:
    pub.push(chunk)


async def push_from_a_thread(pub: Publisher[Any], chunk: Chunk) -> None:
    await asyncio.to_thread(pub.push, chunk)


@pytest.mark.parametrize("give", [write, push, push_from_a_thread])
@pytest.mark.parametrize(
    ("chunk", "ending"),
    [
        ({"type": "finish"}, "finish"),
        ({"type": "error", "errorText": "No."}, "error"),
        ({"type": "abort"}, "abort"),
    ],
)
async def test_an_ending_that_a_program_writes_itself_counts_by_its_chunk(
    give: Callable[[Publisher[Any], Chunk], Awaitable[None]], chunk: Chunk, ending: str
) -> None:
    async with create_service("memory://") as service:
        async with service.publisher("s") as pub:
            await give(pub, chunk)
        assert ended(service) == {ending: 1}


@pytest.mark.parametrize(
    ("event", "ending"),
    [
        (FINISHED, "finish"),
        ({**FINISHED, "outcome": {"type": "interrupt", "interrupts": [{"id": "i"}]}}, "finish"),
        ({**FINISHED, "outcome": {"type": "cancelled"}}, "abort"),
        ({**FINISHED, "outcome": {"type": "cancelled", "by": "a user"}}, "abort"),
        ({"type": "RUN_ERROR", "message": "No."}, "error"),
    ],
)
async def test_an_event_that_ends_a_run_counts_by_its_outcome(event: Chunk, ending: str) -> None:
    async with create_service("memory://", AGUIProtocol()) as service:
        async with service.publisher("s") as pub:
            await pub.write(STARTED, event)
        assert ended(service) == {ending: 1}


async def test_a_protocol_that_tells_no_endings_apart_counts_written_ones_as_finished(
    service: Service,
) -> None:
    async with service.publisher("s") as pub:
        await pub.write(ERROR)
    assert ended(service) == {"finish": 1}


async def test_an_ending_whose_answer_is_lost_counts_once() -> None:
    store = HookedStore(MemoryStore())
    store.after["append"] = failing_once(StoreUnavailable("the answer was lost"))
    service: Service = DurableStreamService(store, None, PROTOCOL)
    async with service.publisher("s") as pub:
        await pub.write(text(0), FINISH)
    assert store.calls["append"] == 2
    assert ended(service) == {"finish": 1}


async def test_an_ending_that_cannot_be_stored_does_not_count() -> None:
    store = HookedStore(MemoryStore())
    service: Service = DurableStreamService(store, None, PROTOCOL)
    store.before["append"] = failing_once(OSError("disk"))
    with pytest.raises(OSError, match="disk"):
        async with service.publisher("s"):
            pass
    assert ended(service) == {}
