"""A version is taken over to be ended: by one process when it was lost, from anybody when it is
stopped (G6, G7).
"""

from __future__ import annotations

import asyncio

from monostream_ai.errors import Fenced, StreamClosed
from monostream_ai.interfaces import Store
from monostream_ai.testing.store_cases.acts import LONG, SHORT, StoreActs, new_token
from monostream_ai.types import Lease


class ClaimCases(StoreActs):
    async def _claim(self, store: Store, lease: Lease, *, stop: bool = False) -> int | None:
        return await store.claim(lease._replace(token=new_token()), lease=LONG, stop=stop)

    async def _lost(self, store: Store, stream_id: str, *payloads: str) -> Lease:
        lease = await self.acquire(store, stream_id)
        await self.write(store, lease, 0, *payloads)
        await store.release(lease)
        return lease

    async def test_a_live_publisher_is_not_claimed(self, store: Store) -> None:
        lease = await self.acquire(store, "s")
        assert await self._claim(store, lease) is None
        await self.write(store, lease, 0, "0")

    async def test_a_lapsed_version_is_claimed_at_its_next_id(
        self, store: Store, peer: Store
    ) -> None:
        lease = await self.acquire(store, "s", lease=SHORT)
        assert await self.append(store, lease, 0, "0", "1", seconds=SHORT) is None
        await self.lapse(store, lease)
        assert await self._claim(peer, lease) == 2

    async def test_the_taker_writes_and_the_publisher_does_not(
        self, store: Store, peer: Store
    ) -> None:
        lease = await self._lost(store, "s", "0")
        taker = await self.taken(peer, lease)
        assert isinstance(await self.append(store, lease, 1, "1"), Fenced)
        await self.write(peer, taker, 1, '"error"', closes=True)
        assert isinstance(await self.append(store, lease, 1, "1"), StreamClosed)
        assert await self.stored(store, "s") == ["0", '"error"']

    async def test_exactly_one_of_many_claims_wins(self, store: Store, peer: Store) -> None:
        for number in range(10):
            lease = await self._lost(store, f"s{number}", "0")
            claims = await asyncio.gather(
                *(self._claim((store, peer)[racer % 2], lease) for racer in range(6))
            )
            assert sorted(claims, key=str) == [1, None, None, None, None, None]

    async def test_a_repeated_claim_has_the_same_answer(self, store: Store, peer: Store) -> None:
        for stream_id, stop in (("a", False), ("b", True)):
            taker = (await self._lost(store, stream_id, "0"))._replace(token=new_token())
            answers = [
                await each.claim(taker, lease=LONG, stop=stop) for each in (store, peer, store)
            ]
            assert answers == [1, 1, 1]

    async def test_a_taker_that_dies_is_followed_by_the_next(self, store: Store) -> None:
        lease = await self._lost(store, "s", "0")
        dead = await self.taken(store, lease, seconds=SHORT)
        assert await self._claim(store, lease) is None
        await self.lapse(store, dead)
        assert await self._claim(store, lease) == 1
        assert isinstance(await self.append(store, dead, 1, "1"), Fenced)

    async def test_a_closed_superseded_or_unknown_version_is_not_claimed(
        self, store: Store
    ) -> None:
        closed = await self.closed_version(store, "closed")
        superseded = await self._lost(store, "superseded", "0")
        await self.acquire(store, "superseded")
        unknown = Lease("unknown", 0, new_token())
        missing = (await self.acquire(store, "missing"))._replace(version=7)
        for lease in (closed, superseded, unknown, missing):
            for stop in (False, True):
                assert await self._claim(store, lease, stop=stop) is None
        assert await store.info("unknown") is None

    async def test_a_stop_takes_from_a_live_publisher(self, store: Store, peer: Store) -> None:
        lease = await self.acquire(store, "s")
        await self.write(store, lease, 0, "0", "1", "2")
        assert await self._claim(peer, lease, stop=True) == 3
        assert await self.append(store, lease, 3, "3") is not None
        info = await self.info(store, lease)
        assert info.stop_requested_at is not None
        assert (info.state, info.next_id) == ("open", 3)

    async def test_a_claim_without_stop_stores_no_wish(self, store: Store) -> None:
        lease = await self._lost(store, "s", "0")
        await self.taken(store, lease)
        assert (await self.info(store, lease)).stop_requested_at is None

    async def test_a_second_stopper_waits_for_the_first_ones_lease(
        self, store: Store, peer: Store
    ) -> None:
        lease = await self.acquire(store, "s")
        first = await self.taken(store, lease, stop=True, seconds=SHORT)
        assert await self._claim(peer, lease, stop=True) is None
        assert await self._claim(peer, lease) is None
        await self.lapse(store, first)
        assert await self._claim(peer, lease, stop=True) == 0

    async def test_a_stop_that_died_is_still_on_record_for_its_successor(
        self, store: Store
    ) -> None:
        lease = await self.acquire(store, "s")
        asked = await self.taken(store, lease, stop=True, seconds=SHORT)
        stopped_at = (await self.info(store, lease)).stop_requested_at
        await self.lapse(store, asked)
        await self.taken(store, lease)
        assert stopped_at is not None
        assert (await self.info(store, lease)).stop_requested_at == stopped_at

    async def test_exactly_one_of_many_stops_wins(self, store: Store, peer: Store) -> None:
        for number in range(10):
            lease = await self.acquire(store, f"s{number}")
            stops = (self._claim((store, peer)[racer % 2], lease, stop=True) for racer in range(6))
            assert sorted(await asyncio.gather(*stops), key=str) == [
                0,
                None,
                None,
                None,
                None,
                None,
            ]

    async def test_a_stop_races_a_closing_append_to_exactly_one_ending(
        self, store: Store, peer: Store
    ) -> None:
        for number in range(20):
            lease = await self.acquire(store, f"s{number}")
            taker = lease._replace(token=new_token())
            finish, claimed = await asyncio.gather(
                self.append(store, lease, 0, '"finish"', closes=True),
                peer.claim(taker, lease=LONG, stop=True),
            )
            assert (finish is None) == (claimed is None)
            if claimed is not None:
                await self.write(peer, taker, claimed, '"abort"', closes=True)
            assert await self.stored(store, lease.stream_id) == [
                '"finish"' if finish is None else '"abort"'
            ]

    async def test_a_newer_version_supersedes_a_version_being_taken(self, store: Store) -> None:
        lease = await self._lost(store, "s", "0")
        taker = await self.taken(store, lease)
        newer = await self.acquire(store, "s")
        assert isinstance(await self.append(store, taker, 1, "1", closes=True), Fenced)
        await self.write(store, newer, 0, "0")
