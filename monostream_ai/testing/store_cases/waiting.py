"""A version that its publisher has left waits for a successor (G3, G6)."""

from __future__ import annotations

import asyncio

from monostream_ai.errors import Fenced
from monostream_ai.interfaces import Store
from monostream_ai.testing.store_cases.acts import LONG, SHORT, StoreActs, new_token
from monostream_ai.types import Lease, Opening


class WaitingCases(StoreActs):
    """`claim` with `waits` leaves a version to the next claim with an attempt, of any process."""

    async def _left(
        self, store: Store, stream_id: str, *, attempt: int = 0, seconds: float = LONG
    ) -> Lease:
        token = new_token()
        opening = Opening(token, LONG, attempt=attempt, watched=True)
        lease = Lease(stream_id, await store.acquire(stream_id, None, opening), token)
        await self.write(store, lease, 0, "0")
        assert await store.claim(lease, lease=seconds, stop=False, waits=True) == 1
        return lease

    async def test_it_is_open_and_nobody_is_at_work(self, store: Store, peer: Store) -> None:
        lease = await self._left(store, "s")
        info = await self.info(peer, lease)
        assert (info.state, info.waiting, info.active, info.lost) == ("open", True, False, False)
        assert (info.attempt, info.attended) == (0, 0)
        assert 0 < info.lease_left <= LONG
        assert await peer.unattended(prefix="", limit=9) == []

    async def test_a_successor_takes_it_while_its_lease_runs(
        self, store: Store, peer: Store
    ) -> None:
        lease = await self._left(store, "s")
        taker = await self.taken(peer, lease, attempt=1)
        info = await self.info(store, lease)
        assert (info.waiting, info.active, info.attempt) == (False, True, 1)
        assert isinstance(await self.append(store, lease, 1, "late"), Fenced)
        await self.write(peer, taker, 1, "1", closes=True)
        assert await self.stored(store, "s") == ["0", "1"]
        assert not (await self.info(store, lease)).waiting

    async def test_of_many_successors_one_gets_it(self, store: Store, peer: Store) -> None:
        for number in range(10):
            lease = await self._left(store, f"s{number}")
            claims = await asyncio.gather(
                *(
                    (store, peer)[racer % 2].claim(
                        lease._replace(token=new_token()), lease=LONG, stop=False, attempt=1
                    )
                    for racer in range(6)
                )
            )
            assert sorted(claims, key=str) == [1, None, None, None, None, None]

    async def test_nobody_ends_it_or_lets_it_wait_while_its_lease_runs(self, store: Store) -> None:
        lease = await self._left(store, "s", attempt=1)
        for options in ({}, {"waits": True}, {"attempt": 1}, {"attempt": 3}):
            taker = lease._replace(token=new_token())
            assert await store.claim(taker, lease=LONG, stop=False, **options) is None
        await self.taken(store, lease, attempt=2)

    async def test_a_version_that_is_written_cannot_be_made_to_wait(self, store: Store) -> None:
        lease = await self.acquire(store, "s")
        other = lease._replace(token=new_token())
        assert await store.claim(other, lease=LONG, stop=False, waits=True) is None
        await self.write(store, lease, 0, "0")
        assert not (await self.info(store, lease)).waiting

    async def test_a_repeated_call_lets_it_wait_once(self, store: Store, peer: Store) -> None:
        lease = await self._left(store, "s", seconds=SHORT)
        for each in (store, peer, store):
            assert await each.claim(lease, lease=SHORT, stop=False, waits=True) == 1
        assert (await self.info(store, lease)).attended == 0
        await self.lapse(store, lease)
        again = await self.taken(peer, lease, waits=True)
        for each in (store, peer, store):
            assert await each.claim(again, lease=LONG, stop=False, waits=True) == 1
        info = await self.info(store, lease)
        assert (info.waiting, info.attempt, info.attended) == (True, 0, 1)

    async def test_its_waits_are_counted_until_a_successor_comes(self, store: Store) -> None:
        lease = await self._left(store, "s", seconds=SHORT)
        for waits in (1, 2, 3):
            await self.lapse(store, lease)
            await self.taken(store, lease, seconds=SHORT, waits=True)
            assert (await self.info(store, lease)).attended == waits
        successor = await self.taken(store, lease, attempt=1)
        assert (await self.info(store, lease)).attended == 0
        # A first wait after a loss is none that was in vain.
        await store.release(successor)
        attendant = lease._replace(token=new_token())
        assert await store.attend(attendant, lease=LONG, state="open") == 1
        await self.taken(store, lease, seconds=SHORT, waits=True)
        assert (await self.info(store, lease)).attended == 0
        await self.lapse(store, lease)
        [found] = await store.unattended(prefix="", limit=9)
        assert found.waiting

    async def test_one_that_waited_in_vain_is_lost(self, store: Store, peer: Store) -> None:
        lease = await self._left(store, "s", seconds=SHORT)
        await self.lapse(peer, lease)
        info = await self.info(peer, lease)
        assert (info.waiting, info.lost) == (True, True)
        [found] = await peer.unattended(prefix="", limit=9)
        assert (found.stream_id, found.waiting) == ("s", True)
        taker = await self.taken(peer, lease)
        assert not (await self.info(store, lease)).waiting
        await self.write(peer, taker, 1, "1", closes=True)

    async def test_a_late_renewal_does_not_touch_it(self, store: Store) -> None:
        lease = await self._left(store, "s", seconds=SHORT)
        await store.renew([lease], lease=LONG)
        info = await self.info(store, lease)
        assert info.waiting and info.lease_left <= SHORT

    async def test_a_stop_takes_it(self, store: Store, peer: Store) -> None:
        lease = await self._left(store, "s")
        taker = await self.taken(peer, lease, stop=True)
        assert not (await self.info(store, lease)).waiting
        successor = lease._replace(token=new_token())
        assert await store.claim(successor, lease=LONG, stop=False, attempt=1) is None
        await self.write(peer, taker, 1, "1", closes=True)
