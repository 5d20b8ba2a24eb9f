"""What is stored of a stream can be looked at: its versions, and when each chunk came."""

from __future__ import annotations

from itertools import pairwise

from monostream_ai.interfaces import Store
from monostream_ai.testing.store_cases.acts import StoreActs


class HistoryCases(StoreActs):
    async def _numbers(self, store: Store, before: int | None, limit: int) -> list[int]:
        return [info.version for info in await store.versions("s", before=before, limit=limit)]

    async def test_versions_are_listed_newest_first(self, store: Store, peer: Store) -> None:
        for number in (0, 1, 5, 9):
            await self.acquire(store, "s", number)
        await self.acquire(store, "another")
        assert await self._numbers(peer, None, 10) == [9, 5, 1, 0]
        assert await self._numbers(peer, None, 2) == [9, 5]
        assert await self._numbers(peer, 5, 10) == [1, 0]
        assert await self._numbers(peer, 0, 10) == []

    async def test_a_listed_version_equals_its_info(self, store: Store) -> None:
        await self.closed_version(store, "s", "0", "1")
        (listed,) = await store.versions("s", before=None, limit=1)
        info = await store.info("s", 0)
        assert info is not None
        assert (listed.stream_id, listed.version, listed.state, listed.next_id) == (
            "s",
            0,
            "closed",
            2,
        )
        assert (listed.created_at, listed.closed_at) == (info.created_at, info.closed_at)

    async def test_an_unknown_stream_has_no_history(self, store: Store) -> None:
        assert await store.versions("s", before=None, limit=10) == []
        assert await store.timeline("s", 0, 0, max_rows=10) == []

    async def test_a_timeline_shows_the_time_and_size_of_each_chunk(
        self, store: Store, peer: Store
    ) -> None:
        lease = await self.acquire(store, "s")
        await self.write(store, lease, 0, "0", '"é"')
        await self.write(store, lease, 2, '{"n":2}', closes=True)
        chunks = await peer.timeline("s", 0, 0, max_rows=10)
        assert [(chunk.id, chunk.size) for chunk in chunks] == [(0, 1), (1, 4), (2, 7)]
        assert all(earlier.stored_at <= later.stored_at for earlier, later in pairwise(chunks))
        created_at = (await self.info(store, lease)).created_at
        assert created_at is not None
        assert all(abs((chunk.stored_at - created_at).total_seconds()) < 60.0 for chunk in chunks)

    async def test_a_timeline_is_read_in_pages(self, store: Store) -> None:
        await self.closed_version(store, "s", *(str(number) for number in range(5)))
        assert [chunk.id for chunk in await store.timeline("s", 0, 2, max_rows=2)] == [2, 3]
        assert await store.timeline("s", 0, 5, max_rows=2) == []

    async def test_an_older_version_has_its_own_timeline(self, store: Store) -> None:
        await self.closed_version(store, "s", "0")
        await self.closed_version(store, "s", "0", "1")
        assert [len(await store.timeline("s", version, 0, max_rows=9)) for version in (0, 1)] == [
            1,
            2,
        ]
