"""Chunks pushed faster than the store takes them are merged if possible, and bounded (G9, H4)."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest

from monostream_ai import Overflow, create_service
from monostream_ai.errors import MonostreamError
from monostream_ai.protocol import JSONProtocol
from monostream_ai.service import DurableStreamService
from monostream_ai.stores.memory import MemoryStore
from monostream_ai.types import Append
from monostream_ai.ui_messages import UIMessageProtocol, reduce_chunks

TOKENS = [f"token {number} " for number in range(100_000)]


class Stalled(MemoryStore):
    """Takes appends only while `flows` is set."""

    def __init__(self) -> None:
        super().__init__()
        self.flows = asyncio.Event()
        self.largest = 0

    async def append(
        self, appends: Sequence[Append], *, lease: float
    ) -> list[MonostreamError | None]:
        await self.flows.wait()
        self.largest = max(self.largest, sum(len(append.payloads) for append in appends))
        return await super().append(appends, lease=lease)


async def test_deltas_pushed_into_a_stalled_store_are_merged_and_none_is_lost() -> None:
    store = Stalled()
    service = DurableStreamService(store, None, UIMessageProtocol())
    async with service, service.publisher("s") as pub:
        pub.push({"type": "start"}, {"type": "start-step"}, {"type": "text-start", "id": "t"})
        for token in TOKENS:
            pub.push({"type": "text-delta", "id": "t", "delta": token})
        store.flows.set()
        await pub.flush()
        chunks = await service.chunks("s")
        assert reduce_chunks(chunks)["parts"][-1]["text"] == "".join(TOKENS)
        assert len(chunks) < len(TOKENS) / 10


async def test_chunks_of_other_parts_are_not_merged() -> None:
    store = Stalled()
    service = DurableStreamService(store, None, UIMessageProtocol())
    async with service, service.publisher("s") as pub:
        pub.push(
            {"type": "start"}, {"type": "text-start", "id": "a"}, {"type": "text-start", "id": "b"}
        )
        for number, token in enumerate(TOKENS[:20_000]):
            pub.push({"type": "text-delta", "id": "ab"[number // 3 % 2], "delta": token})
        store.flows.set()
        await pub.flush()
        parts = reduce_chunks(await service.chunks("s"))["parts"]
    expected = ["", ""]
    for number, token in enumerate(TOKENS[:20_000]):
        expected[number // 3 % 2] += token
    assert [part["text"] for part in parts] == expected


async def test_what_cannot_be_merged_overflows_at_a_bound_and_the_version_ends_with_an_error() -> (
    None
):
    store = Stalled()
    protocol = JSONProtocol[str](ending=lambda ending: [ending])
    service = DurableStreamService(store, None, protocol)

    async def flood() -> None:
        async with service.publisher("s") as pub:
            for _ in range(40):
                pub.push("x" * 1024 * 512)
            store.flows.set()
            await asyncio.Event().wait()

    async with service:
        with pytest.raises(Overflow):
            await flood()
        chunks = await service.chunks("s")
        assert chunks[-1] == "error"
        assert len(chunks) < 40


async def test_a_store_that_keeps_up_stores_each_chunk_as_it_was_pushed() -> None:
    async with create_service("memory://") as service, service.publisher("s") as pub:
        pub.push({"type": "text-start", "id": "t"})
        for token in TOKENS[:1000]:
            pub.push({"type": "text-delta", "id": "t", "delta": token})
        await pub.flush()
        assert len(await service.chunks("s")) == 1001
