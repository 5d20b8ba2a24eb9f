"""Streams are deleted at once. Versions are pruned by last activity, and keep their numbers."""

from __future__ import annotations

import asyncio

import pytest

from monostream_ai.errors import MonostreamError, StreamDeleted, VersionConflict
from monostream_ai.interfaces import Store
from monostream_ai.testing.store_cases.acts import LONG, SHORT, StoreActs, new_token
from monostream_ai.types import Lease, Opening

AGE = 0.05
"""Age in seconds from which these cases prune a version."""


class RetentionCases(StoreActs):
    async def _prune(self, store: Store, *, limit: int = 100) -> int:
        await self.pass_time(2 * AGE)
        return await store.prune(older_than=AGE, limit=limit)

    async def _released(self, store: Store, stream_id: str) -> Lease:
        lease = await self.acquire(store, stream_id)
        await self.write(store, lease, 0, "0")
        await store.release(lease)
        return lease

    async def test_a_deleted_stream_is_gone(self, store: Store, peer: Store) -> None:
        await self.closed_version(store, "s")
        await self.acquire(store, "s")
        assert await peer.delete("s") is True
        assert await store.delete("s") is False
        assert await store.info("s") is None
        assert (await self.page(store, "s", 0, 1)).head is None

    async def test_numbers_go_on_after_a_deletion(self, store: Store, peer: Store) -> None:
        old = await self.acquire(store, "s", 3)
        await self.write(store, old, 0, '"old"')
        await store.delete("s")
        new = await self.acquire(peer, "s")
        assert new.version == 4
        assert isinstance(await self.append(store, old, 1, '"old"'), MonostreamError)
        await self.write(store, new, 0, '"new"')
        assert await self.stored(store, "s") == ['"new"']
        await store.delete("s")
        assert (await self.acquire(store, "s")).version == 5
        with pytest.raises(VersionConflict):
            await self.acquire(store, "s", 4)

    async def test_a_deleted_stream_is_unknown_until_it_is_begun_anew(
        self, store: Store, peer: Store
    ) -> None:
        old = await self.closed_version(store, "s")
        await store.delete("s")
        for each in (store, peer):
            assert await each.info("s") is None
            assert await each.info("s", old.version) is None
            assert await each.streams(prefix="", after=None, limit=10) == []
            assert await each.versions("s", before=None, limit=10) == []
            assert await each.payloads("s", 0, 0, max_rows=9, max_bytes=9) == []
            assert await each.timeline("s", 0, 0, max_rows=9) == []
            assert await each.request("s", 0) is None
        new = await self.acquire(store, "s")
        assert [info.version for info in await peer.versions("s", before=None, limit=10)] == [
            new.version
        ]
        assert [info.version for info in await peer.streams(prefix="", after=None, limit=10)] == [
            new.version
        ]
        assert await peer.info("s", old.version) is None

    async def test_a_head_tells_which_versions_were_deleted_before_it(
        self, store: Store, peer: Store
    ) -> None:
        await self.acquire(store, "s", 2)
        assert await self._deleted_to(peer, "s") == -1
        await store.delete("s")
        await self.acquire(store, "s")
        assert await self._deleted_to(peer, "s") == 2
        await self.acquire(peer, "s")
        assert await self._deleted_to(store, "s") == 2

    async def _deleted_to(self, store: Store, stream_id: str) -> int:
        head = (await self.page(store, stream_id)).head
        assert head is not None
        return head.deleted_to

    async def test_deleting_and_pruning_remove_the_request(self, store: Store) -> None:
        for name in ("deleted", "pruned"):
            opening = Opening(new_token(), LONG, request='{"secret":1}')
            version = await store.acquire(name, None, opening)
            lease = Lease(name, version, opening.token)
            await self.write(store, lease, 0, "0", closes=True)
        await store.delete("deleted")
        await self._prune(store)
        assert await store.request("deleted", 0) is None
        assert await store.request("pruned", 0) is None

    async def test_a_deletion_ends_leases_and_claims(self, store: Store) -> None:
        lease = await self.acquire(store, "s")
        await store.delete("s")
        assert [type(verdict) for verdict in await store.renew([lease], lease=1.0)] == [
            StreamDeleted
        ]
        assert await store.claim(lease, lease=1.0, stop=True) is None
        await store.release(lease)
        assert await store.info("s") is None

    async def test_an_old_closed_version_is_pruned(self, store: Store, peer: Store) -> None:
        await self.closed_version(store, "s", "0", "1")
        assert await self._prune(peer) == 1
        page = await self.page(store, "s")
        assert page.head is not None
        assert (page.head.version, page.head.state, list(page.payloads)) == (0, "pruned", [])

    async def test_a_young_version_is_kept(self, store: Store) -> None:
        await self.closed_version(store, "s", "0")
        await self.pass_time(2 * AGE)
        assert await store.prune(older_than=3600.0, limit=100) == 0
        assert await self.stored(store, "s") == ["0"]

    async def test_the_newest_version_keeps_its_number(self, store: Store) -> None:
        for _ in range(3):
            await self.closed_version(store, "s")
        assert await self._prune(store) == 3
        info = await store.info("s")
        assert info is not None
        assert (info.version, info.state) == (2, "pruned")
        assert await store.info("s", 1) is None
        assert (await self.acquire(store, "s")).version == 3

    async def test_nothing_is_pruned_twice(self, store: Store) -> None:
        await self.closed_version(store, "s")
        assert await self._prune(store) == 1
        assert await self._prune(store) == 0

    async def test_a_pruned_version_goes_when_a_newer_one_is_pruned(self, store: Store) -> None:
        await self.closed_version(store, "s")
        await self._prune(store)
        await self.closed_version(store, "s")
        await self._prune(store)
        await self._prune(store)
        assert await store.info("s", 0) is None

    async def test_a_leased_version_is_never_pruned(self, store: Store) -> None:
        lease = await self.acquire(store, "s")
        await self.write(store, lease, 0, "0")
        assert await self._prune(store) == 0
        await self.write(store, lease, 1, "1")
        assert await self.stored(store, "s") == ["0", "1"]

    async def test_a_long_answer_that_closed_just_now_is_kept(self, store: Store) -> None:
        lease = await self.acquire(store, "s")
        await self.pass_time(SHORT)
        await self.write(store, lease, 0, "0", closes=True)
        assert await store.prune(older_than=SHORT, limit=100) == 0

    async def test_a_lost_version_is_pruned_once_its_lease_is_old(self, store: Store) -> None:
        lease = await self._released(store, "s")
        assert await store.prune(older_than=3600.0, limit=100) == 0
        assert await self._prune(store) == 1
        assert (await self.info(store, lease)).state == "pruned"

    async def test_a_publisher_that_was_pruned_cannot_write(self, store: Store) -> None:
        lease = await self._released(store, "s")
        await self._prune(store)
        assert isinstance(await self.append(store, lease, 1, "1"), StreamDeleted)
        assert [type(verdict) for verdict in await store.renew([lease], lease=1.0)] == [
            StreamDeleted
        ]
        assert await store.claim(lease, lease=1.0, stop=True) is None
        assert await self.stored(store, "s") == []

    async def test_an_older_version_is_pruned_under_an_open_one(self, store: Store) -> None:
        old = await self.closed_version(store, "s")
        new = await self.acquire(store, "s")
        assert await self._prune(store) == 1
        assert await store.info("s", old.version) is None
        await self.write(store, new, 0, "0")

    async def test_a_call_prunes_up_to_its_limit(self, store: Store) -> None:
        for number in range(5):
            await self.closed_version(store, f"s{number}")
        counts = [await self._prune(store, limit=2) for _ in range(4)]
        assert counts == [2, 2, 1, 0]

    async def test_two_pruners_at_once_remove_each_version_once(
        self, store: Store, peer: Store
    ) -> None:
        for number in range(6):
            await self.closed_version(store, f"s{number}")
        counts = await asyncio.gather(self._prune(store), self._prune(peer))
        assert sum(counts) == 6
