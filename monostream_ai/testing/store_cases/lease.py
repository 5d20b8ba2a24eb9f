"""Leases are kept, lost and taken over; the new holder ends the version (G6, G7)."""

from __future__ import annotations

import asyncio

import pytest

from monostream_ai.errors import Fenced, StreamClosed, StreamDeleted, StreamStopped
from monostream_ai.interfaces import Store
from monostream_ai.testing.store_cases.acts import LONG, SHORT, StoreActs, new_token, numbered
from monostream_ai.types import Lease


class LeaseCases(StoreActs):
    """Leases are renewed, checked and released; each verdict says why one is lost (G6)."""

    async def _verdicts(self, store: Store, leases: list[Lease], *, renews: bool) -> list[type]:
        verdicts = await (store.renew(leases, lease=LONG) if renews else store.check(leases))
        return [type(verdict) for verdict in verdicts]

    async def test_a_renewal_prolongs_the_lease(self, store: Store) -> None:
        lease = await self.acquire(store, "s", lease=1.0)
        assert await store.renew([lease], lease=500.0) == [None]
        assert 400 < (await self.info(store, lease)).lease_left <= 500

    async def test_a_check_leaves_the_lease(self, store: Store) -> None:
        lease = await self.acquire(store, "s", lease=LONG)
        assert await store.check([lease]) == [None]
        assert (await self.info(store, lease)).lease_left <= LONG

    async def test_a_lapsed_lease_is_renewed_while_nobody_took_it(self, store: Store) -> None:
        lease = await self.acquire(store, "s", lease=SHORT)
        await self.lapse(store, lease)
        assert await store.renew([lease], lease=LONG) == [None]
        assert (await self.info(store, lease)).active

    @pytest.mark.parametrize("renews", [True, False], ids=["renew", "check"])
    async def test_verdicts_say_why_a_lease_is_lost(self, store: Store, renews: bool) -> None:
        held, fenced, taken, closed, stopped, deleted = [
            await self.acquire(store, each) for each in "abcdef"
        ]
        await self.acquire(store, "b")
        await store.release(taken)
        await self.taken(store, taken)
        await self.write(store, closed, 0, "0", closes=True)
        await self.write(store, await self.taken(store, stopped, stop=True), 0, "0", closes=True)
        await store.delete("f")
        leases = [held, fenced, taken, closed, stopped, deleted, held._replace(token=new_token())]
        expected = [type(None), Fenced, Fenced, StreamClosed, StreamStopped, StreamDeleted, Fenced]
        assert await self._verdicts(store, leases, renews=renews) == expected

    @pytest.mark.parametrize("renews", [True, False], ids=["renew", "check"])
    async def test_a_fence_names_the_version_that_fenced(self, store: Store, renews: bool) -> None:
        lease = await self.acquire(store, "s")
        await self.acquire(store, "s", 4)
        [verdict] = await (store.renew([lease], lease=LONG) if renews else store.check([lease]))
        assert isinstance(verdict, Fenced)
        assert (verdict.stream_id, verdict.version, verdict.current) == ("s", 0, 4)

    @pytest.mark.parametrize("renews", [True, False], ids=["renew", "check"])
    async def test_a_stop_in_progress_ends_the_lease(self, store: Store, renews: bool) -> None:
        lease = await self.acquire(store, "s")
        taker = await self.taken(store, lease, stop=True)
        lost, held = await self._verdicts(store, [lease, taker], renews=renews)
        assert issubclass(lost, Fenced | StreamStopped)
        assert held is type(None)

    @pytest.mark.parametrize("renews", [True, False], ids=["renew", "check"])
    async def test_many_leases_are_answered_in_order(self, store: Store, renews: bool) -> None:
        leases = [await self.acquire(store, f"s{number}") for number in range(60)]
        for lease in leases[::3]:
            await self.write(store, lease, 0, "0", closes=True)
        expected = [StreamClosed if number % 3 == 0 else type(None) for number in range(60)]
        assert await self._verdicts(store, leases, renews=renews) == expected
        assert await self._verdicts(store, [], renews=renews) == []

    async def test_a_renewal_does_not_revive_a_superseded_version(self, store: Store) -> None:
        lease = await self.acquire(store, "s", lease=SHORT)
        await self.acquire(store, "s")
        assert await self._verdicts(store, [lease], renews=True) == [Fenced]
        assert (await self.info(store, lease)).lease_left <= SHORT

    async def test_renewals_and_appends_at_once_all_succeed(
        self, store: Store, peer: Store
    ) -> None:
        leases = [await self.acquire(store, f"s{number}") for number in range(8)]
        writing = [asyncio.create_task(self._write_forty(store, lease)) for lease in leases]
        while not all(task.done() for task in writing):
            assert await peer.renew(leases, lease=LONG) == [None] * 8
            await asyncio.sleep(0)
        await asyncio.gather(*writing)

    async def _write_forty(self, store: Store, lease: Lease) -> None:
        for first in range(0, 40, 2):
            await self.write(store, lease, first, *numbered(2, first))
            await asyncio.sleep(0)

    async def test_a_released_lease_has_lapsed(self, store: Store, peer: Store) -> None:
        lease = await self.acquire(store, "s")
        await store.release(lease)
        info = await self.info(peer, lease)
        assert (info.lease_left <= 0, info.lost, info.state) == (True, True, "open")
        assert await peer.claim(lease._replace(token=new_token()), lease=LONG, stop=False) == 0

    async def test_releasing_twice_or_unheld_has_no_effect(self, store: Store) -> None:
        lease = await self.acquire(store, "s")
        await store.release(lease._replace(token=new_token()))
        await store.release(Lease("unknown", 3, new_token()))
        assert (await self.info(store, lease)).active
        await store.release(lease)
        await store.release(lease)
        taker = await self.taken(store, lease)
        await store.release(lease)
        assert (await self.info(store, taker)).active

    async def test_a_closed_version_is_neither_active_nor_lost(self, store: Store) -> None:
        lease = await self.closed_version(store, "s")
        await store.release(lease)
        info = await self.info(store, lease)
        assert (info.state, info.active, info.lost) == ("closed", False, False)

    async def test_info_is_of_the_latest_version_unless_asked(
        self, store: Store, peer: Store
    ) -> None:
        old = await self.closed_version(store, "s", "0", "1")
        new = await self.acquire(store, "s")
        latest, older = await peer.info("s"), await self.info(peer, old)
        assert latest is not None
        assert (latest.version, latest.state, latest.next_id, latest.closed_at) == (
            new.version,
            "open",
            0,
            None,
        )
        assert (older.version, older.state, older.next_id) == (old.version, "closed", 2)
        assert older.closed_at is not None
        assert older.created_at is not None
        assert older.closed_at >= older.created_at

    async def test_an_unknown_version_has_no_info(self, store: Store) -> None:
        assert await store.info("unknown") is None
        await self.acquire(store, "s", 3)
        assert await store.info("s", 2) is None
        assert await store.info("s", 4) is None


class ClaimCases(StoreActs):
    """One process takes over a lost version (G6), or stops a live one (G7), to end it."""

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
        assert isinstance(await self.append(store, lease, 1, "1"), Fenced)
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
