"""An error that many readers or many calls get does not grow with each of them."""

from __future__ import annotations

import asyncio
import traceback
from collections.abc import Awaitable
from typing import Any

from monostream_ai import DurableStreamService
from monostream_ai.errors import Fenced, StreamDeleted
from monostream_ai.stores.memory import MemoryStore
from tests.chunks import PROTOCOL, Chunk, text
from tests.hooked_store import HookedStore, failing_once

Service = DurableStreamService[Chunk]

MANY = 50


def frames(error: BaseException) -> int:
    return len(traceback.extract_tb(error.__traceback__))


async def outcome(call: Awaitable[object]) -> Any:
    return (await asyncio.gather(call, return_exceptions=True))[0]


async def test_an_error_that_many_readers_get_stays_small() -> None:
    store = MemoryStore()
    service: Service = DurableStreamService(store, None, PROTOCOL, poll_interval=60.0)
    await (await service.publisher("s").open()).write(text(0))
    subscriptions = [service.subscribe("s") for _ in range(MANY)]
    assert [await outcome(anext(each)) for each in subscriptions] == [text(0)] * MANY
    readers = [asyncio.create_task(outcome(anext(each))) for each in subscriptions]
    await service.delete("s")
    errors = await asyncio.gather(*readers)
    assert all(isinstance(error, StreamDeleted) for error in errors)
    assert max(frames(error) for error in errors) < MANY


async def test_an_error_that_one_reader_gets_many_times_stays_small() -> None:
    store = HookedStore(MemoryStore())
    service: Service = DurableStreamService(store, None, PROTOCOL)
    store.before["read"] = failing_once(RuntimeError("a driver's own"))
    subscription = service.subscribe("s")
    errors = [await outcome(anext(subscription)) for _ in range(MANY)]
    assert all(isinstance(error, RuntimeError) for error in errors)
    assert frames(errors[-1]) < MANY


async def test_an_error_that_a_publisher_gets_many_times_stays_small() -> None:
    service: Service = DurableStreamService(MemoryStore(), None, PROTOCOL)
    pub = await service.publisher("s").open()
    await service.publisher("s").open()
    errors = [await outcome(pub.write(text(0))) for _ in range(MANY)]
    assert all(isinstance(error, Fenced) for error in errors)
    assert frames(errors[-1]) < MANY
