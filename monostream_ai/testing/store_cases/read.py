"""Reads return consistent snapshots, bounded in size, and the history of a stream (G2, G4, G9)."""

from __future__ import annotations

import asyncio
from datetime import datetime, timedelta
from itertools import pairwise

import pytest

from monostream_ai.interfaces import Store
from monostream_ai.testing.store_cases.acts import LONG, MIB, SHORT, StoreActs, numbered
from monostream_ai.types import Lease, Position, new_token


class ReadCases(StoreActs):
    """A page is one consistent snapshot of a stream, bounded in rows and bytes (G2, G4, G9)."""

    async def test_an_unknown_stream_has_no_head(self, store: Store) -> None:
        for version in (None, 0, 3):
            page = await self.page(store, "unknown", version)
            assert page.head is None
            assert list(page.payloads) == []

    async def test_an_open_version_without_payloads_has_a_head(
        self, store: Store, peer: Store
    ) -> None:
        lease = await self.acquire(store, "s")
        page = await self.page(peer, "s")
        assert self.position_of(page) == (lease.version, "open", 0)
        assert page.head is not None
        assert 0 < page.head.lease_left <= LONG
        assert (page.first, list(page.payloads)) == (0, [])

    async def test_a_head_names_the_token_that_may_write_or_none(
        self, store: Store, peer: Store
    ) -> None:
        lease = await self.acquire(store, "s")
        for page in (await self.page(peer, "s"), await self.page(store, "s")):
            assert page.head is not None
            assert page.head.writer in (lease.token, None)
        taker = Lease("s", lease.version, new_token())
        assert await store.claim(taker, lease=LONG, stop=True) == 0
        page = await self.page(peer, "s")
        assert page.head is not None
        assert page.head.writer in (taker.token, None)

    async def test_a_lapsed_lease_shows_in_the_head(self, store: Store) -> None:
        lease = await self.acquire(store, "s", lease=SHORT)
        await self.lapse(store, lease)
        page = await self.page(store, "s")
        assert page.head is not None
        assert page.head.lease_left <= 0

    async def test_a_page_starts_at_the_asked_id(self, store: Store) -> None:
        await self.closed_version(store, "s", *numbered(5))
        page = await self.page(store, "s", 0, 3)
        assert (page.first, list(page.payloads), page.end) == (3, numbered(2, 3), 5)
        assert self.position_of(page) == (0, "closed", 5)

    @pytest.mark.parametrize("next_id", [5, 6, 2**40])
    async def test_a_page_at_or_behind_the_end_is_empty(self, store: Store, next_id: int) -> None:
        await self.closed_version(store, "s", *numbered(5))
        page = await self.page(store, "s", 0, next_id)
        assert page.head is not None
        assert (page.head.next_id, list(page.payloads)) == (5, [])

    async def test_a_page_is_bounded_in_rows(self, store: Store) -> None:
        await self.closed_version(store, "s", *numbered(5))
        page = await self.page(store, "s", 0, 1, rows=3)
        assert (page.first, list(page.payloads)) == (1, numbered(3, 1))

    async def test_no_rows_asked_gives_the_head_only(self, store: Store) -> None:
        await self.closed_version(store, "s", *numbered(5))
        page = await self.page(store, "s", rows=0)
        assert list(page.payloads) == []
        assert self.position_of(page) == (0, "closed", 5)

    @pytest.mark.parametrize(
        ("size", "count"), [(1, 1), (99, 1), (100, 1), (101, 2), (200, 2), (201, 3), (10_000, 5)]
    )
    @pytest.mark.parametrize("letters", ["x" * 98, "é" * 49], ids=["ascii", "two-byte"])
    async def test_a_page_ends_with_the_payload_that_reaches_the_size(
        self, store: Store, letters: str, size: int, count: int
    ) -> None:
        await self.closed_version(store, "s", *[f'"{letters}"'] * 5)
        assert len((await self.page(store, "s", size=size)).payloads) == count

    async def test_a_page_holds_one_payload_however_large(self, store: Store) -> None:
        large = f'"{"x" * MIB}"'
        await self.closed_version(store, "s", large, "1")
        assert list((await self.page(store, "s", size=1)).payloads) == [large]

    @pytest.mark.parametrize("rows", [1, 7, 100])
    async def test_pages_add_up_to_the_version(self, store: Store, rows: int) -> None:
        await self.closed_version(store, "s", *numbered(100))
        collected: list[str] = []
        while (page := await self.page(store, "s", 0, len(collected), rows=rows)).payloads:
            collected += page.payloads
        assert collected == numbered(100)

    @pytest.mark.parametrize("next_id", [0, 2, 9])
    async def test_a_newer_version_is_read_from_its_start(self, store: Store, next_id: int) -> None:
        await self.closed_version(store, "s", *numbered(3))
        await self.closed_version(store, "s", '"new 0"', '"new 1"')
        page = await self.page(store, "s", 0, next_id)
        assert page.head is not None
        assert page.head.version == 1
        assert (page.first, list(page.payloads)) == (0, ['"new 0"', '"new 1"'])

    async def test_a_newer_version_without_payloads_hides_the_older(self, store: Store) -> None:
        await self.closed_version(store, "s", *numbered(3))
        await self.acquire(store, "s")
        for version in (None, 0):
            page = await self.page(store, "s", version, 1 if version == 0 else 0)
            assert self.position_of(page) == (1, "open", 0)
            assert (page.first, list(page.payloads)) == (0, [])

    async def test_many_positions_are_answered_in_order(self, store: Store) -> None:
        for number in range(31):
            await self.closed_version(store, f"s{number}", *numbered(3, number))
        positions = [
            Position(f"s{number}", 0 if number % 2 else None, number % 2) for number in range(62)
        ]
        positions += [Position("s3", 0, 2), Position("s3", None, 0)]
        pages = await store.read(positions, max_rows=10, max_bytes=MIB)
        expected = [numbered(3, n)[n % 2 :] if n < 31 else [] for n in range(62)] + [
            numbered(1, 5),
            numbered(3, 3),
        ]
        assert [list(page.payloads) for page in pages] == expected
        assert [page.head is None for page in pages] == [31 <= n < 62 for n in range(64)]

    async def test_bounds_hold_for_each_page_of_a_call(self, store: Store) -> None:
        for stream_id in "ab":
            await self.closed_version(store, stream_id, *numbered(5))
        pages = await store.read(
            [Position("a", None, 0), Position("b", 0, 1)], max_rows=2, max_bytes=MIB
        )
        assert [list(page.payloads) for page in pages] == [numbered(2), numbered(2, 1)]

    async def test_no_position_gives_no_page(self, store: Store) -> None:
        assert await store.read([], max_rows=10, max_bytes=MIB) == []

    async def test_payloads_of_a_superseded_version_can_be_read(
        self, store: Store, peer: Store
    ) -> None:
        await self.closed_version(store, "s", *numbered(5))
        await self.closed_version(store, "s", '"new"')
        assert await peer.payloads("s", 0, 0, max_rows=100, max_bytes=MIB) == numbered(5)
        assert await peer.payloads("s", 0, 3, max_rows=100, max_bytes=MIB) == numbered(2, 3)
        assert await peer.payloads("s", 1, 0, max_rows=100, max_bytes=MIB) == ['"new"']

    async def test_payloads_are_bounded_as_pages_are(self, store: Store) -> None:
        await self.closed_version(store, "s", *[f'"{"x" * 98}"'] * 5)
        for rows, size, count in (
            (2, MIB, 2),
            (100, 1, 1),
            (100, 100, 1),
            (100, 101, 2),
            (100, MIB, 5),
        ):
            assert len(await store.payloads("s", 0, 0, max_rows=rows, max_bytes=size)) == count

    async def test_there_are_no_payloads_past_the_end_or_of_unknown_versions(
        self, store: Store
    ) -> None:
        await self.closed_version(store, "s", *numbered(5))
        for stream_id, version, first in (
            ("s", 0, 5),
            ("s", 0, 2**40),
            ("s", 1, 0),
            ("unknown", 0, 0),
        ):
            assert (
                await store.payloads(stream_id, version, first, max_rows=100, max_bytes=MIB) == []
            )

    async def test_each_page_of_a_growing_version_agrees_with_its_head(
        self, store: Store, peer: Store
    ) -> None:
        lease = await self.acquire(store, "s")
        growing = asyncio.create_task(self._grow(store, lease.stream_id))
        state = "open"
        while state == "open":
            await asyncio.sleep(0)
            page = await self.page(peer, "s")
            assert page.head is not None
            state = page.head.state
            assert list(page.payloads) == numbered(page.head.next_id)
            assert state == "open" or page.head.next_id == 60
        await growing

    async def _grow(self, store: Store, stream_id: str) -> None:
        lease = await self.acquire(store, stream_id)
        for first in range(0, 60, 3):
            await self.write(store, lease, first, *numbered(3, first), closes=first == 57)
            await asyncio.sleep(0)

    async def test_a_read_after_an_append_returns_it(self, store: Store, peer: Store) -> None:
        lease = await self.acquire(store, "s")
        for first in range(20):
            await self.write(store, lease, first, *numbered(1, first))
            assert await self.stored(peer, "s") == numbered(first + 1)


class HistoryCases(StoreActs):
    """The store lists the versions of a stream, and the time and size of each chunk."""

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


class ChangesCases(StoreActs):
    """The store lists the open versions, and those that were closed since a time."""

    async def _changes(
        self, store: Store, since: datetime | None = None, *, prefix: str = ""
    ) -> list[tuple[str, int, str]]:
        found = await store.changes(prefix=prefix, since=since, after=None, limit=10)
        return [(info.stream_id, info.version, info.state) for info in found.versions]

    async def test_open_versions_are_listed_until_they_are_closed_or_superseded(
        self, store: Store, peer: Store
    ) -> None:
        old = await self.acquire(store, "s")
        await self.acquire(store, "t")
        await self.acquire(peer, "s")
        assert await self._changes(peer) == [("s", old.version + 1, "open"), ("t", 0, "open")]
        await self.closed_version(store, "s", "0")
        assert await self._changes(peer) == [("t", 0, "open")]
        await store.delete("t")
        assert await self._changes(peer) == []

    async def test_versions_closed_since_are_listed(self, store: Store, peer: Store) -> None:
        await self.closed_version(store, "s", "0")
        # Instants are of the real clock, whatever clock judges leases.
        await asyncio.sleep(0.02)
        between = (await peer.changes(prefix="", since=None, after=None, limit=1)).now
        await asyncio.sleep(0.02)
        await self.closed_version(store, "t", "0")
        assert await self._changes(peer, between) == [("t", 0, "closed")]
        assert await self._changes(peer, between - timedelta(minutes=1)) == [
            ("s", 0, "closed"),
            ("t", 0, "closed"),
        ]

    async def test_a_prefix_of_changes_means_itself(self, store: Store) -> None:
        for stream_id in ("a%", "a_", "aa", "A%"):
            await self.acquire(store, stream_id)
        assert await self._changes(store, prefix="a%") == [("a%", 0, "open")]

    async def test_changes_are_read_in_pages(self, store: Store) -> None:
        for number in range(5):
            await self.acquire(store, f"s{number}")
        after, seen = None, []
        while page := (await store.changes(prefix="s", since=None, after=after, limit=2)).versions:
            assert len(page) <= 2
            seen += [info.stream_id for info in page]
            after = page[-1].stream_id, page[-1].version
        assert seen == [f"s{number}" for number in range(5)]
