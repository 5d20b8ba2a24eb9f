"""A successor goes on with a version where its publisher broke off (G3, G6)."""

from __future__ import annotations

import asyncio

import pytest

from monostream_ai.errors import Fenced, NotLost, VersionConflict
from monostream_ai.interfaces import Store
from monostream_ai.testing.store_cases.acts import LONG, SHORT, StoreActs, new_token
from monostream_ai.types import Lease, Opening


class GoingOnCases(StoreActs):
    """`claim` with an attempt takes a lost version to write on, within its budget of attempts."""

    async def _broken_off(self, store: Store, stream_id: str, *payloads: str) -> Lease:
        token = new_token()
        opening = Opening(token, LONG, message_id="m", owner="o", request="{}", watched=True)
        lease = Lease(stream_id, await store.acquire(stream_id, None, opening), token)
        await self.write(store, lease, 0, *payloads)
        await store.release(lease)
        return lease

    async def test_a_successor_writes_the_next_chunk(self, store: Store, peer: Store) -> None:
        lease = await self._broken_off(store, "s", "0", "1")
        taker = await self.taken(peer, lease, attempt=2)
        await self.write(peer, taker, 2, "2")
        assert isinstance(await self.append(store, lease, 2, '"late"'), Fenced)
        await self.write(peer, taker, 3, "3", closes=True)
        assert await self.stored(store, "s") == ["0", "1", "2", "3"]
        info = await self.info(store, lease)
        assert (info.version, info.attempt, info.state) == (0, 2, "closed")
        assert (info.message_id, info.owner) == ("m", "o")
        assert await store.request("s", 0) == "{}"

    async def test_each_attempt_is_made_once(self, store: Store, peer: Store) -> None:
        for number in range(10):
            lease = await self._broken_off(store, f"s{number}", "0")
            claims = await asyncio.gather(
                *(
                    (store, peer)[racer % 2].claim(
                        lease._replace(token=new_token()), lease=0.0, stop=False, attempt=2
                    )
                    for racer in range(6)
                )
            )
            assert sorted(claims, key=str) == [1, None, None, None, None, None]
            assert (await self.info(store, lease)).attempt == 2

    async def test_a_repeated_claim_makes_one_attempt(self, store: Store, peer: Store) -> None:
        taker = (await self._broken_off(store, "s", "0"))._replace(token=new_token())
        for each in (store, peer, store):
            assert await each.claim(taker, lease=LONG, stop=False, attempt=2) == 1
        assert (await self.info(store, taker)).attempt == 2

    async def test_attempts_follow_each_other(self, store: Store) -> None:
        lease = await self._broken_off(store, "s", "0")
        for attempt in (2, 3, 4):
            for wrong in (attempt - 1, attempt + 1):
                taker = lease._replace(token=new_token())
                assert await store.claim(taker, lease=LONG, stop=False, attempt=wrong) is None
            dead = await self.taken(store, lease, seconds=SHORT, attempt=attempt)
            assert (await self.info(store, lease)).attempt == attempt
            await self.lapse(store, dead)

    async def test_a_handover_is_counted_once(self, store: Store, peer: Store) -> None:
        lease = await self.acquire(store, "s")
        await store.release(lease._replace(token=new_token()), handover=True)
        for each in (store, peer):
            await each.release(lease, handover=True)
        assert (await self.info(peer, lease)).handovers == 1
        for attempt, handover, counted in ((2, False, 1), (3, True, 2)):
            successor = await self.taken(store, lease, attempt=attempt)
            await store.release(successor, handover=handover)
            info = await self.info(store, lease)
            assert (info.attempt, info.handovers) == (attempt, counted)

    async def test_a_version_whose_lease_has_lapsed_is_not_handed_over(self, store: Store) -> None:
        lease = await self.acquire(store, "s")
        dead = await self.taken(store, lease, stop=True, seconds=SHORT)
        await self.lapse(store, dead)
        await store.release(dead, handover=True)
        assert (await self.info(store, lease)).handovers == 0

    async def test_a_repetition_knows_the_handovers_before_it(self, store: Store) -> None:
        opening = Opening(new_token(), LONG, attempt=4, handovers=2)
        lease = Lease("s", await store.acquire("s", None, opening), opening.token)
        assert (await self.info(store, lease)).handovers == 2

    async def test_only_a_lost_version_is_repeated(self, store: Store, peer: Store) -> None:
        await self.acquire(store, "living")
        await self.closed_version(store, "closed")
        stopped = await self.acquire(store, "stopped")
        await self.lapse(store, await self.taken(store, stopped, stop=True, seconds=SHORT))
        for stream_id in ("living", "closed", "stopped", "unknown"):
            for version in (None, 1):
                opening = Opening(new_token(), LONG, attempt=2, repeats=True)
                with pytest.raises(NotLost):
                    await peer.acquire(stream_id, version, opening)
        assert (await self.info(store, stopped)).version == 0
        lost = await self._broken_off(store, "lost", "0")
        opening = Opening(new_token(), LONG, attempt=2, repeats=True)
        for each in (store, peer):
            assert await each.acquire("lost", 1, opening) == 1
        assert isinstance(await self.append(store, lost, 1, '"late"'), Fenced)
        with pytest.raises(VersionConflict):
            await peer.acquire("lost", 1, Opening(new_token(), LONG, attempt=2, repeats=True))

    async def test_a_version_that_ends_just_then_is_not_repeated(
        self, store: Store, peer: Store
    ) -> None:
        for number in range(20):
            lease = await self._broken_off(store, f"s{number}", "0")
            opening = Opening(new_token(), LONG, attempt=2, repeats=True)
            verdict, opened = await asyncio.gather(
                self.append(store, lease, 1, '"last"', closes=True),
                peer.acquire(lease.stream_id, 1, opening),
                return_exceptions=True,
            )
            assert isinstance(opened, NotLost) if verdict is None else opened == 1
            assert verdict is None or isinstance(verdict, Fenced)

    async def test_nobody_goes_on_with_a_living_or_stopped_version(self, store: Store) -> None:
        living = await self.acquire(store, "living")
        closed = await self.closed_version(store, "closed")
        superseded = await self._broken_off(store, "superseded", "0")
        await self.acquire(store, "superseded")
        stopped = await self.acquire(store, "stopped")
        await self.lapse(store, await self.taken(store, stopped, stop=True, seconds=SHORT))
        for lease in (living, closed, superseded, stopped):
            taker = lease._replace(token=new_token())
            assert await store.claim(taker, lease=LONG, stop=False, attempt=2) is None
            assert (await self.info(store, lease)).attempt == 1
        await self.taken(store, stopped)

    async def test_ending_a_version_is_no_attempt(self, store: Store) -> None:
        lease = await self._broken_off(store, "s", "0")
        await self.taken(store, lease)
        assert (await self.info(store, lease)).attempt == 1

    async def test_a_successor_that_dies_is_unattended_at_once(self, store: Store) -> None:
        lease = await self._broken_off(store, "s", "0")
        attendant = lease._replace(token=new_token())
        assert await store.attend(attendant, lease=LONG, state="open") == 1
        successor = await self.taken(store, lease, attempt=2)
        assert await store.unattended(prefix="", limit=9) == []
        await store.release(successor)
        [found] = await store.unattended(prefix="", limit=9)
        assert (found.stream_id, found.attempt, found.attended) == ("s", 2, 0)
