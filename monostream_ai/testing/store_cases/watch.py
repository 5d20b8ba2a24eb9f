"""Streams are listed, and watched versions stay listed until a process has settled them (G8)."""

from __future__ import annotations

import asyncio

from monostream_ai.interfaces import Store
from monostream_ai.testing.store_cases.acts import LONG, SHORT, StoreActs, new_token
from monostream_ai.types import Lease, Opening, WatchedState


class WatchCases(StoreActs):
    async def _watched(self, store: Store, stream_id: str, *, lease: float = LONG) -> Lease:
        token = new_token()
        return Lease(
            stream_id,
            await store.acquire(stream_id, None, Opening(token, lease, watched=True)),
            token,
        )

    async def _closed(self, store: Store, stream_id: str) -> Lease:
        lease = await self._watched(store, stream_id)
        await self.write(store, lease, 0, "0", closes=True)
        return lease

    async def _unattended(self, store: Store, prefix: str = "") -> list[tuple[str, int, str]]:
        found = await store.unattended(prefix=prefix, limit=100)
        return sorted((info.stream_id, info.version, info.state) for info in found)

    async def test_a_version_is_watched_until_it_is_settled(
        self, store: Store, peer: Store
    ) -> None:
        lease = await self._watched(store, "s")
        assert (await self.info(peer, lease)).watched
        await self.write(store, lease, 0, "0", closes=True)
        assert (await self.info(peer, lease)).watched
        taker = lease._replace(token=new_token())
        assert await store.attend(taker, lease=LONG) == 1
        await store.settle(taker)
        assert not (await self.info(peer, lease)).watched
        assert not (await self.info(peer, await self.acquire(store, "s"))).watched

    async def test_streams_are_listed_with_their_latest_version(
        self, store: Store, peer: Store
    ) -> None:
        for name in ("b:2", "a", "b:1", "b%", "b:3"):
            await self.acquire(store, name)
        await self.acquire(store, "b:2", 7)
        listed = await peer.streams(prefix="b:", after=None, limit=10)
        assert sorted((info.stream_id, info.version) for info in listed) == [
            ("b:1", 0),
            ("b:2", 7),
            ("b:3", 0),
        ]
        assert {info.stream_id for info in await peer.streams(prefix="", after=None, limit=10)} == {
            "a",
            "b%",
            "b:1",
            "b:2",
            "b:3",
        }

    async def test_a_listing_goes_on_where_a_page_ended(self, store: Store) -> None:
        names = {f"{letter}{number}" for letter in "aBé_" for number in range(5)}
        for name in names:
            await self.acquire(store, name)
        seen, after = list[str](), None
        while page := await store.streams(prefix="", after=after, limit=3):
            assert len(page) <= 3
            seen += [info.stream_id for info in page]
            after = seen[-1]
        assert (len(seen), set(seen)) == (len(names), names)

    async def test_only_watched_versions_are_unattended(self, store: Store) -> None:
        await self.closed_version(store, "plain")
        await self.acquire(store, "lost", lease=SHORT)
        await self._closed(store, "watched")
        assert await self._unattended(store) == [("watched", 0, "closed")]

    async def test_a_watched_version_is_unattended_once_its_lease_lapsed(
        self, store: Store, peer: Store
    ) -> None:
        lease = await self._watched(store, "s")
        assert await self._unattended(peer) == []
        await store.release(lease)
        assert await self._unattended(peer) == [("s", 0, "open")]

    async def test_unattended_versions_are_found_by_prefix_and_limit(self, store: Store) -> None:
        for name in ("chat:1", "chat:2", "chat%3", "job:1"):
            await self._closed(store, name)
        assert await self._unattended(store, "chat:") == [
            ("chat:1", 0, "closed"),
            ("chat:2", 0, "closed"),
        ]
        assert len(await store.unattended(prefix="", limit=3)) == 3

    async def test_a_version_superseded_while_open_is_not_unattended(self, store: Store) -> None:
        lease = await self._watched(store, "s")
        await store.release(lease)
        await self.acquire(store, "s")
        assert await self._unattended(store) == []

    async def test_a_version_superseded_after_its_end_stays_unattended(self, store: Store) -> None:
        await self._closed(store, "s")
        await self.acquire(store, "s")
        assert await self._unattended(store) == [("s", 0, "closed")]

    async def test_of_many_takers_one_attends(self, store: Store, peer: Store) -> None:
        lease = await self._closed(store, "s")
        takers = [lease._replace(token=new_token()) for _ in range(10)]
        taken = await asyncio.gather(
            *((store, peer)[n % 2].attend(taker, lease=LONG) for n, taker in enumerate(takers))
        )
        assert taken.count(True) == 1
        assert await store.attend(takers[taken.index(True)], lease=LONG)
        assert await self._unattended(store) == []

    async def test_open_settled_plain_and_unknown_versions_are_not_attended(
        self, store: Store
    ) -> None:
        open_, settled = await self._watched(store, "open"), await self._closed(store, "settled")
        await store.release(open_)
        plain = await self.closed_version(store, "plain")
        assert await store.attend(settled, lease=LONG)
        await store.settle(settled)
        for lease in (open_, settled, plain, Lease("unknown", 0, new_token())):
            assert not await store.attend(lease._replace(token=new_token()), lease=LONG)

    async def test_a_taker_that_dies_while_attending_is_replaced(
        self, store: Store, peer: Store
    ) -> None:
        dead = (await self._closed(store, "s"))._replace(token=new_token())
        assert await store.attend(dead, lease=SHORT)
        await self.lapse(store, dead)
        assert await self._unattended(peer) == [("s", 0, "closed")]
        heir = dead._replace(token=new_token())
        assert await peer.attend(heir, lease=LONG)
        await store.settle(dead)
        assert not await store.attend(dead, lease=LONG)
        await peer.settle(heir)
        assert not await peer.attend(heir, lease=LONG)

    async def test_each_attempt_keeps_others_away_for_twice_as_long(self, store: Store) -> None:
        lease = await self._closed(store, "s")
        for attempt, waiting in enumerate((SHORT, 2 * SHORT, 4 * SHORT), start=1):
            taker = lease._replace(token=new_token())
            assert await store.attend(taker, lease=SHORT) == attempt
            assert await store.attend(taker, lease=SHORT) == attempt
            assert (await self.info(store, lease)).attended == attempt
            await self.pass_time(waiting / 2)
            assert await store.attend(lease._replace(token=new_token()), lease=SHORT) is None
            assert await self._unattended(store) == []
            await self.pass_time(waiting / 2 + 0.05)
            assert await self._unattended(store) == [("s", 0, "closed")]

    async def test_what_was_attended_to_the_fewest_times_comes_first(
        self, store: Store, peer: Store
    ) -> None:
        for name in ("twice", "once", "older", "newer"):
            lease = await self._closed(store, name)
            await self.pass_time(0.02)
            for _ in range({"twice": 2, "once": 1}.get(name, 0)):
                assert await store.attend(lease._replace(token=new_token()), lease=0.001)
                await self.pass_time(0.02)
        found = await peer.unattended(prefix="", limit=3)
        assert [info.stream_id for info in found] == ["older", "newer", "once"]

    async def test_a_lost_version_is_attended_to_like_an_ended_one(
        self, store: Store, peer: Store
    ) -> None:
        lease = await self._watched(store, "s")
        taker = lease._replace(token=new_token())
        assert await store.attend(taker, lease=LONG, state="open") is None
        await store.release(lease)
        assert await store.attend(taker, lease=LONG, state="open") == 1
        assert await peer.attend(taker._replace(token=new_token()), lease=1, state="open") is None
        assert await self._unattended(peer) == []
        # It is as lost as before, and may be ended.
        assert (await self.info(peer, lease)).lost
        heir = await self.taken(peer, lease)
        await self.write(peer, heir, 0, "0", closes=True)
        # Its end is another matter, with its own attempts.
        assert [info.attended for info in await peer.unattended(prefix="", limit=9)] == [0]
        assert await peer.attend(taker._replace(token=new_token()), lease=LONG) == 1

    async def test_the_states_are_listed_apart(self, store: Store) -> None:
        await store.release(await self._watched(store, "lost"))
        await self._closed(store, "ended")
        asked: dict[WatchedState | None, list[str]] = {
            "open": ["lost"],
            "closed": ["ended"],
            None: ["ended", "lost"],
        }
        for state, names in asked.items():
            found = await store.unattended(prefix="", limit=9, state=state)
            assert sorted(info.stream_id for info in found) == names

    async def test_an_abandoned_version_is_listed_no_more_but_can_be_settled(
        self, store: Store, peer: Store
    ) -> None:
        lease = await self._closed(store, "s")
        taker = lease._replace(token=new_token())
        assert await store.attend(taker, lease=LONG) == 1
        await peer.abandon(taker._replace(token=new_token()))
        assert (await self.info(peer, lease)).abandoned_at is None
        await peer.abandon(taker)
        assert (await self.info(store, lease)).abandoned_at is not None
        assert await self._unattended(store) == []
        heir = lease._replace(token=new_token())
        assert await store.attend(heir, lease=SHORT) == 2
        assert await peer.attend(lease._replace(token=new_token()), lease=SHORT) is None
        await store.settle(heir)
        assert (await self.info(store, lease)).abandoned_at is None
        assert await peer.attend(lease._replace(token=new_token()), lease=LONG) is None

    async def test_attending_leaves_the_stored_version_unchanged(self, store: Store) -> None:
        lease = await self._closed(store, "s")
        await store.attend(lease._replace(token=new_token()), lease=LONG)
        assert (await self.stored(store, "s"), (await self.info(store, lease)).state) == (
            ["0"],
            "closed",
        )
        assert await self.append(store, lease, 0, "0", closes=True) is None

    async def test_a_stopped_version_is_unattended_at_once(self, store: Store, peer: Store) -> None:
        lease = await self._watched(store, "s")
        await self.write(peer, await self.taken(peer, lease, stop=True), 0, "0", closes=True)
        assert await self._unattended(store) == [("s", 0, "closed")]

    async def test_a_version_reports_how_long_it_has_been_closed(self, store: Store) -> None:
        lease = await self._closed(store, "s")
        await self.pass_time(SHORT)
        closed_for = (await self.info(store, lease)).closed_for
        assert closed_for is not None
        assert SHORT * 0.9 <= closed_for < 30
        assert (await self.info(store, await self.acquire(store, "open"))).closed_for is None

    async def test_pruning_ends_the_watch(self, store: Store) -> None:
        await self._closed(store, "s")
        await self.pass_time(0.01)
        assert await store.prune(older_than=0.001, limit=10) == 1
        assert await self._unattended(store) == []
