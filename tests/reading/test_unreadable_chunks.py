"""A chunk that the protocol cannot read is an error of its readers only, and is not skipped."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest

from monostream_ai import Cursor, DurableStreamService, JSONProtocol
from monostream_ai.stores.forwarding import ForwardingStore
from monostream_ai.stores.memory import MemoryStore
from monostream_ai.types import Page, Position
from tests.chunks import FINISH, PROTOCOL, text
from tests.hooked_store import HookedStore


class Foreign(ForwardingStore):
    """Shows every version as one that another program wrote, without a lease or a state."""

    async def read(
        self, positions: Sequence[Position], *, max_rows: int, max_bytes: int
    ) -> list[Page]:
        pages = await super().read(positions, max_rows=max_rows, max_bytes=max_bytes)
        return [
            replace(page, head=replace(page.head, state="open", lease_left=float("inf")))
            if page.head
            else page
            for page in pages
        ]


class Forgetful(JSONProtocol[Any]):
    """Fails to decode a chunk at the first attempt."""

    failed = False

    def decode(self, payload: str) -> Any:
        if payload == "1" and not self.failed:
            self.failed = True
            raise RuntimeError("decode")
        return super().decode(payload)


async def test_a_foreign_chunk_that_cannot_be_judged_fails_no_other_stream() -> None:
    store = MemoryStore()
    writer: DurableStreamService[Any] = DurableStreamService(store, None, JSONProtocol())
    for stream_id, chunk in (("good", text(0)), ("bad", 7)):
        await (await writer.publisher(stream_id).open()).write(chunk)
    reader: DurableStreamService[Any] = DurableStreamService(Foreign(store), None, PROTOCOL)
    # Both in one turn of the loop, so that one read serves both.
    good, bad = await asyncio.gather(
        *(anext(reader.subscribe(stream_id, timeout=3.0)) for stream_id in ("good", "bad")),
        return_exceptions=True,
    )
    assert good == text(0)
    assert isinstance(bad, TypeError)


async def test_an_unfinished_foreign_version_is_not_ended_by_the_version_after_it() -> None:
    store = HookedStore(MemoryStore())
    writer: DurableStreamService[Any] = DurableStreamService(store, None, PROTOCOL)
    await (await writer.publisher("s").open()).write(text(0))

    async def follow() -> None:
        # Between a read of the first version and the look at its last chunk.
        if store.calls["read"] == 2:
            async with writer.publisher("s"):
                pass

    store.before["read"] = follow
    reader: DurableStreamService[Any] = DurableStreamService(Foreign(store), None, PROTOCOL)
    subscription = reader.subscribe("s", timeout=3.0)
    assert [chunk async for chunk in subscription] == [text(0), FINISH]
    assert subscription.cursor == Cursor(1, 0)


async def test_a_chunk_that_could_not_be_decoded_is_still_the_next_one() -> None:
    service: DurableStreamService[Any] = DurableStreamService(MemoryStore(), None, Forgetful())
    async with service.publisher("s") as pub:
        await pub.write(0, 1, 2)
    subscription = service.subscribe("s")
    assert await anext(subscription) == 0
    with pytest.raises(RuntimeError):
        await anext(subscription)
    assert [chunk async for chunk in subscription] == [1, 2]
