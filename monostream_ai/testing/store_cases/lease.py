"""Leases are renewed, checked and released; each verdict names why one is lost (G6)."""

from __future__ import annotations

import asyncio

import pytest

from monostream_ai.errors import Fenced, StreamClosed, StreamDeleted, StreamStopped
from monostream_ai.interfaces import Store
from monostream_ai.testing.store_cases.acts import LONG, SHORT, StoreActs, new_token, numbered
from monostream_ai.types import Lease


class LeaseCases(StoreActs):
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
