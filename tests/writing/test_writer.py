"""The store's verdict on an append is its publisher's alone; a broken promise is an error, never a
wait.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest

from fuzz.virtual_time import VirtualTimeLoop
from monostream_ai import DurableStreamService
from monostream_ai.errors import Fenced, MonostreamError
from monostream_ai.json_text import encode_json
from monostream_ai.stores.forwarding import ForwardingStore
from monostream_ai.stores.memory import MemoryStore
from monostream_ai.testing import UnreliableStore
from monostream_ai.types import Append, Opening
from tests.chunks import PROTOCOL, Chunk, text
from tests.hooked_store import Gate, HookedStore, still_waits


class Silent(ForwardingStore):
    """Gives no verdict on streams called silent."""

    async def append(
        self, appends: Sequence[Append], *, lease: float
    ) -> list[MonostreamError | None]:
        verdicts = await super().append(appends, lease=lease)
        return [] if appends[0].lease.stream_id == "silent" else verdicts


async def test_a_store_that_gives_too_few_verdicts_is_an_error_of_its_publishers() -> None:
    service: DurableStreamService[Chunk] = DurableStreamService(
        Silent(MemoryStore()), None, PROTOCOL
    )
    pub = await service.publisher("silent").open()
    with pytest.raises(RuntimeError, match="0 verdicts on 1 appends"):
        async with asyncio.timeout(3):
            await pub.write(text(0))
    other = await service.publisher("other").open()
    async with asyncio.timeout(3):
        assert await other.write(text(0)) == 0


async def test_a_fenced_publisher_disturbs_nobody_whose_chunks_are_in_the_same_append() -> None:
    store = HookedStore(MemoryStore())
    async with DurableStreamService[Chunk](store, None, PROTOCOL) as service:
        first, fenced, other = [
            await service.publisher(stream_id).open() for stream_id in ("first", "fenced", "other")
        ]
        store.before["append"] = gate = Gate()
        writing = [asyncio.create_task(pub.write(text(0))) for pub in (first, fenced, other)]
        await gate.reached.wait()
        await store.acquire("fenced", None, Opening("another", 60.0))
        calls = store.calls["append"]
        gate.open()
        outcomes = await asyncio.gather(*writing, return_exceptions=True)
        assert [outcomes[0], outcomes[2]] == [0, 0]
        assert isinstance(outcomes[1], Fenced)
        assert store.calls["append"] <= calls + 1


async def test_what_is_queued_when_the_service_is_closed_is_written() -> None:
    store = HookedStore(MemoryStore())
    service: DurableStreamService[Chunk] = DurableStreamService(store, None, PROTOCOL)
    pub = await service.publisher("s").open()
    store.before["append"] = gate = Gate()
    pub.push(text(0))
    await gate.reached.wait()
    pub.push(text(1))
    closing = asyncio.create_task(service.aclose())
    assert await still_waits(closing)
    gate.open()
    await closing
    assert await store.payloads("s", 0, 0, max_rows=10, max_bytes=1000) == [
        encode_json(text(number)) for number in range(2)
    ]


def test_a_publisher_lives_through_outages_that_are_too_long_only_together() -> None:
    async def write_through_outages() -> None:
        clock = asyncio.get_running_loop().time
        store = UnreliableStore(MemoryStore(clock))
        async with DurableStreamService[Chunk](
            store, None, PROTOCOL, lease=600.0, outage_timeout=10.0
        ) as service:
            pub = await service.publisher("s").open()
            for number in range(4):
                store.refused = 1.0
                writing = asyncio.create_task(pub.write(text(number)))
                await asyncio.sleep(6.0)
                store.refused = 0.0
                assert await writing == number
            await pub.close()

    VirtualTimeLoop().run_until_complete(write_through_outages())
