"""Versions are acquired atomically, and a newer one fences every older one (G3)."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import pytest

from monostream_ai.errors import Fenced, MonostreamError, VersionConflict
from monostream_ai.interfaces import Store
from monostream_ai.testing.store_cases.acts import (
    LONG,
    STREAM_IDS,
    StoreActs,
    new_token,
    numbered,
)
from monostream_ai.types import MAX_VERSION, Lease, Opening

RACES = 60
"""Pairs of racers; a store without a lock for each stream fails about one in eight."""


class AcquireCases(StoreActs):
    async def test_the_first_version_is_zero(self, store: Store) -> None:
        assert (await self.acquire(store, "s")).version == 0

    async def test_the_next_version_is_one_above_the_latest(self, store: Store) -> None:
        versions = [(await self.acquire(store, "s")).version for _ in range(3)]
        assert versions == [0, 1, 2]

    async def test_an_explicit_version_may_skip_numbers(self, store: Store) -> None:
        await self.acquire(store, "s", 5)
        assert (await self.acquire(store, "s")).version == 6

    @pytest.mark.parametrize("version", [0, 3, 5])
    async def test_an_explicit_version_up_to_the_latest_is_refused(
        self, store: Store, version: int
    ) -> None:
        await self.acquire(store, "s", 5)
        with pytest.raises(VersionConflict) as caught:
            await self.acquire(store, "s", version)
        assert (caught.value.version, caught.value.latest) == (version, 5)

    async def test_a_refused_version_disturbs_nobody(self, store: Store) -> None:
        holder = await self.acquire(store, "s", 5)
        with pytest.raises(VersionConflict):
            await self.acquire(store, "s", 5)
        await self.write(store, holder, 0, '"still mine"')

    @pytest.mark.parametrize("lower", [None, 5], ids=["next", "explicit"])
    async def test_nothing_lands_in_the_lower_of_two_racing_versions(
        self, store: Store, lower: int | None
    ) -> None:
        for race in range(RACES):
            stream_id = f"race {race}"

            async def write_in_the_lower(stream_id: str = stream_id) -> None:
                try:
                    lease = await self.acquire(store, stream_id, lower)
                except VersionConflict:
                    return
                first = 0
                while await self.append(store, lease, first, "0") is None and first < RACES:
                    first += 1

            writing = asyncio.create_task(write_in_the_lower())
            # Another phase of the race each time.
            await asyncio.sleep(race % 20 * 0.0001)
            await self.acquire(store, stream_id, 7)
            before = await store.versions(stream_id, before=7, limit=10)
            await writing
            after = await store.versions(stream_id, before=7, limit=10)
            assert [info.next_id for info in after] == [info.next_id for info in before], race

    @pytest.mark.parametrize("version", [None, 7])
    async def test_the_same_token_gets_the_same_version_again(
        self, store: Store, version: int | None
    ) -> None:
        opening = Opening(new_token(), LONG)
        first = await store.acquire("s", version, opening)
        assert await store.acquire("s", version, opening) == first

    async def test_the_same_token_gets_the_same_version_after_a_newer_one(
        self, store: Store
    ) -> None:
        opening = Opening(new_token(), LONG)
        first = await store.acquire("s", None, opening)
        await self.acquire(store, "s")
        assert await store.acquire("s", None, opening) == first

    async def test_the_same_token_at_once_gets_one_version(self, store: Store, peer: Store) -> None:
        opening = Opening(new_token(), LONG)
        versions = await asyncio.gather(
            *(each.acquire("s", None, opening) for each in (store, peer))
        )
        assert versions == [0, 0]

    @pytest.mark.parametrize("racers", [2, 3, 8])
    async def test_racers_get_consecutive_versions_and_only_the_highest_writes(
        self, store: Store, peer: Store, racers: int
    ) -> None:
        leases = await asyncio.gather(
            *(self.acquire((store, peer)[racer % 2], "s") for racer in range(racers))
        )
        assert sorted(lease.version for lease in leases) == list(range(racers))
        for lease in leases:
            verdict = await self.append(store, lease, 0, "0")
            assert (verdict is None) == (lease.version == racers - 1)

    @pytest.mark.parametrize("racers", [2, 8])
    async def test_one_racer_gets_an_explicit_version(
        self, store: Store, peer: Store, racers: int
    ) -> None:
        attempts = [self.acquire((store, peer)[racer % 2], "s", 4) for racer in range(racers)]
        outcomes = await asyncio.gather(*attempts, return_exceptions=True)
        winners = [outcome for outcome in outcomes if not isinstance(outcome, VersionConflict)]
        assert len(winners) == 1
        assert not isinstance(winners[0], BaseException)
        await self.write(store, winners[0], 0, "0")

    async def test_of_two_explicit_versions_at_once_only_the_higher_writes(
        self, store: Store, peer: Store
    ) -> None:
        low, high = await asyncio.gather(
            self.acquire(store, "s", 6), self.acquire(peer, "s", 7), return_exceptions=True
        )
        assert not isinstance(high, BaseException)
        await self.write(store, high, 0, "0")
        if isinstance(low, BaseException):
            assert isinstance(low, VersionConflict)
        else:
            assert isinstance(await self.append(store, low, 0, "0"), Fenced)

    async def test_nothing_lands_in_an_older_version_once_acquire_returned(
        self, store: Store, peer: Store
    ) -> None:
        old = await self.acquire(store, "s")
        writing = asyncio.create_task(self._write_until_refused(store, old))
        while (await self.info(peer, old)).next_id < 3:
            await asyncio.sleep(0)
        await self.acquire(peer, "s")
        reached = (await self.info(peer, old)).next_id
        await writing
        assert (await self.info(peer, old)).next_id == reached

    async def _write_until_refused(self, store: Store, lease: Lease) -> None:
        first = 0
        while await self.append(store, lease, first, *numbered(2, first)) is None:
            first += 2
            await asyncio.sleep(0)

    async def test_the_highest_version_works(self, store: Store) -> None:
        lease = await self.acquire(store, "s", MAX_VERSION)
        await self.write(store, lease, 0, "0")
        assert await store.renew([lease], lease=LONG) == [None]
        page = await self.page(store, "s")
        assert page.head is not None
        assert page.head.version == (await self.info(store, lease)).version == MAX_VERSION

    async def test_no_version_follows_the_highest(self, store: Store) -> None:
        await self.acquire(store, "s", MAX_VERSION)
        with pytest.raises(MonostreamError):
            await self.acquire(store, "s")

    @pytest.mark.parametrize("stream_id", list(STREAM_IDS.values()), ids=list(STREAM_IDS))
    async def test_any_stream_id_works(self, store: Store, peer: Store, stream_id: str) -> None:
        lease = await self.acquire(store, stream_id)
        await self.write(store, lease, 0, "0", "1", closes=True)
        assert await self.stored(peer, stream_id) == ["0", "1"]
        assert (await self.info(peer, lease)).stream_id == stream_id
        assert await peer.delete(stream_id)

    @pytest.mark.parametrize("other", ["S", "s ", " s", "s\n", "ss", "s%", "_", "\u017f"])
    async def test_similar_stream_ids_are_different_streams(self, store: Store, other: str) -> None:
        await self.closed_version(store, "s", '"s"')
        assert (await self.page(store, other)).head is None
        await self.closed_version(store, other, '"other"')
        assert await store.delete(other)
        assert await self.stored(store, "s") == ['"s"']

    async def test_canonically_equal_stream_ids_are_different_streams(self, store: Store) -> None:
        await self.closed_version(store, "\u00e9")
        assert (await self.page(store, "e\u0301")).head is None

    async def test_the_fields_of_an_opening_are_kept(self, store: Store, peer: Store) -> None:
        opening = Opening(
            new_token(), LONG, "message", "owner's", 3, '{"b":1,"a":"\\u0000"}', "[1e400]"
        )
        version = await store.acquire("s", None, opening)
        info = await peer.info("s", version)
        assert info is not None
        assert (info.message_id, info.owner, info.attempt) == ("message", "owner's", 3)
        assert (await peer.request("s", version), info.metadata) == (
            opening.request,
            opening.metadata,
        )
        assert await peer.request("s", version + 1) is None
        assert info.created_at is not None
        assert info.created_at.utcoffset() == timedelta(0)
