"""Opening and giving up a version: safe to repeat, and no trouble for the block around it."""

from __future__ import annotations

import asyncio
import functools
import operator

import pytest

from monostream_ai import DurableStreamService, JSONProtocol
from monostream_ai.errors import StoreUnavailable
from monostream_ai.stores.forwarding import ForwardingStore
from monostream_ai.stores.memory import MemoryStore
from monostream_ai.types import Opening
from tests.chunks import PROTOCOL, Chunk, text
from tests.hooked_store import Gate, HookedStore, failing_once


async def test_two_openings_at_once_are_one() -> None:
    store = HookedStore(MemoryStore())
    service: DurableStreamService[Chunk] = DurableStreamService(store, None, PROTOCOL)
    store.before["acquire"] = gate = Gate()
    pub = service.publisher("s")

    async def open_and_write(number: int) -> int:
        await pub.open()
        return await pub.write(text(number))

    writes = [asyncio.create_task(open_and_write(number)) for number in range(2)]
    await gate.reached.wait()
    gate.open()
    assert sorted(await asyncio.gather(*writes)) == [0, 1]
    assert len(await service.chunks("s")) == 2
    assert (await service.status("s")).version == 0


class Tokens(ForwardingStore):
    """Notes what each version is opened with."""

    def __init__(self) -> None:
        super().__init__(MemoryStore())
        self.seen: list[str] = []

    async def acquire(self, stream_id: str, version: int | None, opening: Opening) -> int:
        self.seen.append(opening.token)
        return await super().acquire(stream_id, version, opening)


async def test_each_opening_has_a_token_of_its_own_that_nobody_guesses() -> None:
    store = Tokens()
    service: DurableStreamService[Chunk] = DurableStreamService(store, None, PROTOCOL)
    for number in range(50):
        await service.publisher(f"s{number % 2}").open()
    assert len(set(store.seen)) == 50
    # 128 bits, none of which is the same in all of them.
    bits = [int(token, 16) for token in store.seen]
    assert {len(token) for token in store.seen} == {32}
    assert functools.reduce(operator.or_, bits) == 2**128 - 1
    assert functools.reduce(operator.and_, bits) == 0


async def test_an_opening_that_failed_can_be_repeated() -> None:
    store = HookedStore(MemoryStore())
    service: DurableStreamService[Chunk] = DurableStreamService(store, None, PROTOCOL)
    store.after["acquire"] = failing_once(StoreUnavailable("the answer was lost"))
    pub = service.publisher("s")
    with pytest.raises(StoreUnavailable):
        await pub.open()
    await pub.open()
    assert pub.version == 0
    assert await pub.write(text(0)) == 0


async def test_a_version_released_inside_its_block_is_left_in_peace() -> None:
    service: DurableStreamService[Chunk] = DurableStreamService(MemoryStore(), None, PROTOCOL)
    async with service.publisher("s") as pub:
        await pub.write(text(0))
        await pub.release()
    assert (await service.status("s")).lost
    assert await service.chunks("s") == [text(0)]


async def test_an_ending_without_a_chunk_inside_the_block_is_left_in_peace() -> None:
    service: DurableStreamService[int] = DurableStreamService(MemoryStore(), None, JSONProtocol())
    async with service.publisher("s") as pub:
        await pub.write(0)
        # No chunk says that it failed, so the version is released instead of closed.
        await pub.close("error")
    assert (await service.status("s")).lost
