"""One publisher's large or broken chunks cost neither memory nor the other publishers (G9)."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from typing import Any

import pytest

from monostream_ai import DurableStreamService, InvalidChunk, JSONProtocol, Overflow
from monostream_ai._writing.encoding import MAX_WRITE_SIZE
from monostream_ai._writing.outbox import FAIR_SHARE, MAX_WAITING, MAX_WAITING_TOGETHER
from monostream_ai.errors import ChunkRefused, MonostreamError, WriteTooLarge
from monostream_ai.interfaces import Store
from monostream_ai.stores.forwarding import ForwardingStore
from monostream_ai.stores.memory import MemoryStore
from monostream_ai.types import Append
from tests.chunks import PROTOCOL, Chunk, text
from tests.hooked_store import Gate, HookedStore
from tests.plugins.services import ServiceFactory

Service = DurableStreamService[Chunk]

LARGE = text(0) | {"n": "x" * 1_000_000}


class RawJSON(JSONProtocol[Any]):
    """Checks nothing: half a surrogate pair passes, and a bytes chunk stays bytes."""

    def encode(self, chunk: Any) -> str:
        return chunk if isinstance(chunk, bytes) else json.dumps(chunk, ensure_ascii=False)


class Picky(ForwardingStore):
    """Raises an error that nobody foresaw at streams called bad; notes the sizes of appends."""

    def __init__(self, inner: Store) -> None:
        super().__init__(inner)
        self.appends: list[list[tuple[str, int]]] = []

    async def append(
        self, appends: Sequence[Append], *, lease: float
    ) -> list[MonostreamError | None]:
        self.appends.append([(each.lease.stream_id, len(each.payloads)) for each in appends])
        if any(append.lease.stream_id == "bad" for append in appends):
            raise LookupError("a driver's own")
        return await super().append(appends, lease=lease)


async def test_a_write_over_the_limit_is_refused_and_the_version_goes_on() -> None:
    async with Service(MemoryStore(), None, PROTOCOL) as service:
        async with service.publisher("s") as pub:
            count = MAX_WRITE_SIZE // 1_000_000 + 1
            with pytest.raises(WriteTooLarge, match="in several calls"):
                await pub.write(*[LARGE] * count)
            with pytest.raises(WriteTooLarge):
                pub.push(*[LARGE] * count)
            assert await pub.write(text(0)) == 0


async def test_writes_that_wait_beyond_the_limit_are_refused_and_may_be_repeated() -> None:
    store = HookedStore(MemoryStore())
    async with Service(store, None, PROTOCOL) as service, service.publisher("s") as pub:
        store.before["append"] = gate = Gate()
        writing = [asyncio.create_task(pub.write(LARGE)) for _ in range(300)]
        await gate.reached.wait()
        refused = [task for task in writing if task.done()]
        gate.open()
        await asyncio.wait(writing)
        assert len(refused) == 300 - (MAX_WAITING // 1_000_000 + 1)
        assert all(isinstance(task.exception(), Overflow) for task in refused)
        assert sorted(task.result() for task in writing if task not in refused) == [*range(17)]
        assert await pub.write(LARGE) == 17


async def test_a_small_publisher_is_not_refused_because_of_the_others() -> None:
    store = HookedStore(MemoryStore())
    async with Service(store, None, PROTOCOL) as service:
        pubs = [await service.publisher(f"large {number}").open() for number in range(10)]
        small = await service.publisher("small").open()
        store.before["append"] = gate = Gate()
        count = MAX_WAITING_TOGETHER // 1_000_000 + 1
        writing = [
            asyncio.create_task(pubs[number % len(pubs)].write(LARGE)) for number in range(count)
        ]
        await gate.reached.wait()
        refused = asyncio.create_task(pubs[0].write(LARGE))
        for number in range(FAIR_SHARE // 20_000):
            writing.append(asyncio.create_task(small.write(text(number) | {"n": "x" * 10_000})))
        await asyncio.sleep(0)
        gate.open()
        await asyncio.gather(*writing)
        with pytest.raises(Overflow, match=str(MAX_WAITING_TOGETHER)):
            await refused
        # Everything that waited is off the load again.
        assert await pubs[0].write(LARGE) == len(range(0, count, len(pubs)))


async def test_a_publisher_with_a_lot_to_write_leaves_room_for_the_others() -> None:
    store = HookedStore(picky := Picky(MemoryStore()))
    async with Service(store, None, PROTOCOL) as service:
        first, heavy, light = [
            await service.publisher(stream_id).open() for stream_id in ("first", "heavy", "light")
        ]
        store.before["append"] = gate = Gate()
        writing = [asyncio.create_task(first.write(text(0)))]
        await gate.reached.wait()
        writing += [asyncio.create_task(heavy.write(LARGE)) for _ in range(12)]
        await asyncio.sleep(0)
        writing.append(asyncio.create_task(light.write(text(0))))
        await asyncio.sleep(0)
        gate.open()
        await asyncio.gather(*writing)
    assert picky.appends[1] == [("heavy", 2), ("light", 1)]


async def test_an_error_that_nobody_foresaw_reaches_the_publisher_at_fault_only() -> None:
    store = HookedStore(Picky(MemoryStore()))
    service = Service(store, None, PROTOCOL)
    async with service:
        pubs = {name: await service.publisher(name).open() for name in ("a", "bad", "b", "c")}
        store.before["append"] = gate = Gate()
        blocker = asyncio.create_task(pubs["a"].write(text(0)))
        await gate.reached.wait()
        writing = {name: asyncio.create_task(pub.write(text(1))) for name, pub in pubs.items()}
        await asyncio.sleep(0)
        gate.open()
        await blocker
        outcomes = await asyncio.gather(*writing.values(), return_exceptions=True)
    assert [type(outcome) for outcome in outcomes] == [int, LookupError, int, int]


@pytest.mark.parametrize("chunk", ["\ud800", {"deep": ["\udfff"]}, b"{}"], ids=repr)
async def test_a_chunk_that_no_store_can_hold_is_refused_before_it_is_queued(
    service_factory: ServiceFactory, chunk: Any
) -> None:
    """Also if the application's own protocol lets it pass."""
    service = service_factory(protocol=RawJSON())
    async with service:
        pubs = [await service.publisher(f"s{number}").open() for number in range(3)]
        writing = [asyncio.create_task(pub.write(1)) for pub in pubs]
        with pytest.raises(InvalidChunk):
            await pubs[0].write(chunk)
        with pytest.raises(InvalidChunk):
            pubs[0].push(chunk)
        assert await asyncio.gather(*writing) == [0, 0, 0]
        assert await pubs[0].write(2) == 1


class Refusing(ForwardingStore):
    """Cannot hold the chunk 399, and counts the payloads that it is sent."""

    sent = 0

    async def append(
        self, appends: Sequence[Append], *, lease: float
    ) -> list[MonostreamError | None]:
        self.sent += sum(len(append.payloads) for append in appends)
        if any('"n":399' in payload for append in appends for payload in append.payloads):
            return [ChunkRefused("s", 0)]
        return await super().append(appends, lease=lease)


async def test_a_refused_chunk_is_found_in_one_pass() -> None:
    store = HookedStore(refusing := Refusing(MemoryStore()))
    async with Service(store, None, PROTOCOL) as service, service.publisher("s") as pub:
        store.before["append"] = gate = Gate()
        first = asyncio.create_task(pub.write(text(0)))
        await gate.reached.wait()
        writing = [asyncio.create_task(pub.write(text(number))) for number in range(1, 400)]
        await asyncio.sleep(0)
        gate.open()
        outcomes = await asyncio.gather(first, *writing, return_exceptions=True)
        assert outcomes[:399] == [*range(399)]
        assert isinstance(outcomes[399], ChunkRefused)
        assert refusing.sent <= 3 * 400
