"""A call whose answer was lost is made again: it must be a no-op with the same answer (G3)."""

from __future__ import annotations

import asyncio

from monostream_ai.errors import Fenced, StreamClosed, StreamDeleted, StreamStopped
from monostream_ai.interfaces import Store
from monostream_ai.testing.store_cases.acts import LONG, SHORT, StoreActs
from monostream_ai.types import Append


class RetryCases(StoreActs):
    async def test_a_repeated_append_lands_once(self, store: Store, peer: Store) -> None:
        lease = await self.acquire(store, "s")
        await self.write(store, lease, 0, "0", "1")
        await self.write(peer, lease, 0, "0", "1")
        assert await self.stored(store, "s") == ["0", "1"]
        await self.write(store, lease, 2, "2")

    async def test_an_append_repeated_at_once_lands_once(self, store: Store, peer: Store) -> None:
        lease = await self.acquire(store, "s")
        attempts = [
            self.append(each, lease, 0, "0", "1", closes=True) for each in (store, peer, store)
        ]
        assert await asyncio.gather(*attempts) == [None, None, None]
        assert await self.stored(store, "s") == ["0", "1"]

    async def test_an_append_repeated_after_the_next_one_is_still_landed(
        self, store: Store
    ) -> None:
        lease = await self.acquire(store, "s")
        await self.write(store, lease, 0, "0")
        await self.write(store, lease, 1, "1")
        await self.write(store, lease, 0, "0")
        assert await self.stored(store, "s") == ["0", "1"]

    async def test_a_repeated_closing_append_is_landed(self, store: Store) -> None:
        lease = await self.closed_version(store, "s", "0", "1")
        await self.write(store, lease, 0, "0", "1", closes=True)
        assert await self.stored(store, "s") == ["0", "1"]

    async def test_a_repeated_close_without_a_payload_is_landed(self, store: Store) -> None:
        lease = await self.acquire(store, "s")
        await self.write(store, lease, 0, closes=True)
        await self.write(store, lease, 0, closes=True)

    async def test_an_append_repeated_after_the_close_is_landed(self, store: Store) -> None:
        lease = await self.acquire(store, "s")
        await self.write(store, lease, 0, "0")
        await self.write(store, lease, 1, "1", closes=True)
        await self.write(store, lease, 0, "0")

    async def test_an_append_repeated_after_a_stop_is_landed(self, store: Store) -> None:
        lease = await self.acquire(store, "s")
        await self.write(store, lease, 0, "0", "1")
        taker = await self.taken(store, lease, stop=True)
        await self.write(store, lease, 0, "0", "1")
        await self.write(store, taker, 2, '"abort"', closes=True)
        await self.write(store, lease, 0, "0", "1")
        assert await self.stored(store, "s") == ["0", "1", '"abort"']

    async def test_an_append_that_a_stop_forestalled_has_not_landed(self, store: Store) -> None:
        lease = await self.acquire(store, "s")
        await self.write(store, lease, 0, "0")
        await self.write(
            store, await self.taken(store, lease, stop=True), 1, '"abort"', closes=True
        )
        assert isinstance(await self.append(store, lease, 1, "1"), StreamStopped)
        assert isinstance(await self.append(store, lease, 1, "1", "2", closes=True), StreamStopped)

    async def test_half_an_append_has_not_landed(self, store: Store) -> None:
        lease = await self.closed_version(store, "s", "0", "1")
        assert isinstance(await self.append(store, lease, 1, "1", "2"), StreamClosed)
        assert await self.stored(store, "s") == ["0", "1"]

    async def test_an_append_repeated_after_a_takeover_is_landed(self, store: Store) -> None:
        lease = await self.acquire(store, "s", lease=SHORT)
        assert await self.append(store, lease, 0, "0", seconds=SHORT) is None
        await self.lapse(store, lease)
        await self.write(store, await self.taken(store, lease), 1, '"error"', closes=True)
        await self.write(store, lease, 0, "0")

    async def test_an_append_repeated_after_a_newer_version_is_landed(self, store: Store) -> None:
        lease = await self.acquire(store, "s")
        await self.write(store, lease, 0, "0")
        await self.write(store, await self.acquire(store, "s"), 0, '"newer"')
        await self.write(store, lease, 0, "0")
        assert isinstance(await self.append(store, lease, 1, "1"), Fenced)
        assert await self.stored(store, "s") == ['"newer"']

    async def test_an_append_repeated_after_a_deletion_has_not_landed(self, store: Store) -> None:
        lease = await self.acquire(store, "s")
        await self.write(store, lease, 0, "0")
        await store.delete("s")
        assert isinstance(await self.append(store, lease, 0, "0"), StreamDeleted)

    async def test_landed_and_new_appends_share_a_batch(self, store: Store) -> None:
        landed, new = await self.acquire(store, "a"), await self.acquire(store, "b")
        await self.write(store, landed, 0, "0")
        batch = [Append(lease, 0, ("0",), False) for lease in (landed, new)]
        assert await store.append(batch, lease=LONG) == [None, None]
        assert [await self.stored(store, each) for each in "ab"] == [["0"], ["0"]]
