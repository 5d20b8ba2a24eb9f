"""Appends land whole, once, and only from the writer of a version (G3, G5), as any JSON (G10)."""

from __future__ import annotations

import asyncio

import pytest

from monostream_ai.errors import ChunksMissing, Fenced, StreamClosed, StreamDeleted, StreamStopped
from monostream_ai.interfaces import Store
from monostream_ai.testing.store_cases.acts import (
    LONG,
    MIB,
    SHORT,
    StoreActs,
    new_token,
    numbered,
)
from monostream_ai.types import MAX_CHUNK_BYTES, Append, Lease, Opening

PAYLOADS = {
    "null": "null",
    "false": "false",
    "empty string": '""',
    "empty object": "{}",
    "NUL escape": r'"a\u0000b"',
    "NUL in a key": r'{"\u0000":1}',
    "lone surrogate": r'"\ud800"',
    "surrogates in the wrong order": r'"\udc00\ud800"',
    "surrogate pair": '"\U0001f600"',
    "escaped surrogate pair": r'"\ud83d\ude00"',
    "big integer": "123456789012345678901234567890",
    "beyond a double": '{"n":9007199254740993,"m":-9223372036854775809}',
    "float that overflows": "1e400",
    "float that underflows": "1e-400",
    "float spellings": "[1.0,1E5,1e5,-0,-0.0,0.10,1.7976931348623157e308]",
    "key order": '{"b":1,"a":2,"10":3,"9":4}',
    "duplicate keys": '{"a":1,"a":2}',
    "spaces": '{ "a" : [ 1 , 2 ] }',
    "escapes": r'"\/\b\f\n\r\t\"\\\u0041"',
    "line separators": '"\u2028\u2029\x85\x7f"',
    "not normalised": '"e\u0301 \u00e9"',
    "byte order mark and noncharacter": '"\ufeff\uffff\U0010ffff"',
    "percent and quotes": """{"sql":"'; DROP TABLE x; -- %s %(a)s :b $1"}""",
    "200 levels": "[" * 200 + "]" * 200,
}


class AppendCases(StoreActs):
    """An append lands whole, in order, and only for the version's one writer (G3, G5)."""

    async def test_payloads_are_read_in_the_order_of_their_appends(
        self, store: Store, peer: Store
    ) -> None:
        lease = await self.acquire(store, "s")
        for first in range(0, 12, 3):
            await self.write(store, lease, first, *numbered(3, first))
        assert await self.stored(peer, "s") == numbered(12)

    async def test_a_thousand_payloads_land_in_one_append(self, store: Store) -> None:
        lease = await self.acquire(store, "s")
        await self.write(store, lease, 0, *numbered(1000), closes=True)
        assert await self.stored(store, "s") == numbered(1000)

    async def test_no_append_at_all_is_fine(self, store: Store) -> None:
        assert await store.append([], lease=LONG) == []

    async def test_an_append_behind_the_end_is_refused(self, store: Store) -> None:
        lease = await self.acquire(store, "s")
        await self.write(store, lease, 0, "0")
        assert isinstance(await self.append(store, lease, 5, "5"), ChunksMissing)
        assert await self.stored(store, "s") == ["0"]

    async def test_a_stored_payload_is_never_replaced(self, store: Store) -> None:
        lease = await self.acquire(store, "s")
        await self.write(store, lease, 0, '"first"', '"second"')
        assert await self.append(store, lease, 0, '"other"') is not None
        assert await self.append(store, lease, 1, '"other"', '"third"') is not None
        assert await self.stored(store, "s") == ['"first"', '"second"']

    async def test_a_newer_version_fences(self, store: Store, peer: Store) -> None:
        old = await self.acquire(store, "s")
        new = await self.acquire(peer, "s")
        verdict = await self.append(store, old, 0, "0")
        assert isinstance(verdict, Fenced)
        assert verdict.current == new.version
        assert (await self.info(store, old)).next_id == 0

    async def test_a_takeover_fences(self, store: Store) -> None:
        lease = await self.acquire(store, "s", lease=SHORT)
        await self.lapse(store, lease)
        await self.taken(store, lease)
        verdict = await self.append(store, lease, 0, "0")
        assert isinstance(verdict, Fenced)
        assert verdict.current == lease.version
        assert await self.stored(store, "s") == []

    async def test_a_foreign_token_is_fenced(self, store: Store) -> None:
        lease = await self.acquire(store, "s")
        assert isinstance(
            await self.append(store, lease._replace(token=new_token()), 0, "0"), Fenced
        )
        assert await self.stored(store, "s") == []

    async def test_nothing_lands_in_a_closed_version(self, store: Store) -> None:
        lease = await self.closed_version(store, "s", "0")
        for closes in (False, True):
            verdict = await self.append(store, lease, 1, "1", closes=closes)
            assert type(verdict) is StreamClosed
        assert await self.stored(store, "s") == ["0"]

    async def test_nothing_lands_in_a_stopped_version(self, store: Store) -> None:
        lease = await self.acquire(store, "s")
        taker = await self.taken(store, lease, stop=True)
        await self.write(store, taker, 0, '"abort"', closes=True)
        assert isinstance(await self.append(store, lease, 0, "0"), StreamStopped)
        assert await self.stored(store, "s") == ['"abort"']

    async def test_nothing_lands_in_a_deleted_stream(self, store: Store) -> None:
        lease = await self.acquire(store, "s")
        await store.delete("s")
        assert isinstance(await self.append(store, lease, 0, "0"), StreamDeleted)
        assert (await self.page(store, "s")).head is None

    async def test_one_refused_append_leaves_the_others(self, store: Store) -> None:
        fine, fenced, closed, also_fine = [await self.acquire(store, each) for each in "abcd"]
        await self.acquire(store, "b")
        await self.write(store, closed, 0, "0", closes=True)
        gone = Lease("e", 0, new_token())
        batch = [
            Append(lease, 0, ('"x"', '"y"'), False)
            for lease in (fine, fenced, closed, gone, also_fine)
        ]
        verdicts = await store.append(batch, lease=LONG)
        assert [type(verdict) for verdict in verdicts] == [
            type(None),
            Fenced,
            StreamClosed,
            StreamDeleted,
            type(None),
        ]
        assert [await self.stored(store, each) for each in "abcde"] == [
            ['"x"', '"y"'],
            [],
            ["0"],
            ['"x"', '"y"'],
            [],
        ]

    async def test_two_versions_of_one_stream_in_one_batch(self, store: Store) -> None:
        old, new = await self.acquire(store, "s"), await self.acquire(store, "s")
        batch = [Append(lease, 0, ("0",), False) for lease in (old, new)]
        refused, landed = await store.append(batch, lease=LONG)
        assert isinstance(refused, Fenced)
        assert landed is None

    async def test_a_batch_over_many_streams_lands(self, store: Store) -> None:
        leases = [await self.acquire(store, f"s{number}") for number in range(100)]
        batch = [
            Append(lease, 0, (f'"{lease.stream_id}"',), number % 2 == 0)
            for number, lease in enumerate(leases)
        ]
        assert await store.append(batch, lease=LONG) == [None] * 100
        assert [await self.stored(store, lease.stream_id) for lease in leases] == [
            [f'"s{n}"'] for n in range(100)
        ]

    async def test_different_appends_at_one_id_land_once(self, store: Store, peer: Store) -> None:
        lease = await self.acquire(store, "s")
        verdicts = await asyncio.gather(
            self.append(store, lease, 0, '"a"'), self.append(peer, lease, 0, '"b"')
        )
        [landed] = [
            text for text, verdict in zip(('"a"', '"b"'), verdicts, strict=True) if verdict is None
        ]
        assert await self.stored(store, "s") == [landed]

    async def test_a_closing_append_stores_payloads_and_state_together(
        self, store: Store, peer: Store
    ) -> None:
        for number in range(20):
            lease = await self.acquire(store, f"s{number}")
            closing = asyncio.create_task(self.append(store, lease, 0, "0", "1", closes=True))
            for _ in range(1000):
                await asyncio.sleep(0)
                page = await self.page(peer, lease.stream_id)
                assert page.head is not None
                assert (page.head.state, list(page.payloads)) in [
                    ("open", []),
                    ("closed", ["0", "1"]),
                ]
                if page.head.state == "closed":
                    break
            assert await closing is None

    async def test_a_version_can_be_closed_without_a_payload(self, store: Store) -> None:
        lease = await self.acquire(store, "s")
        await self.write(store, lease, 0, "0")
        await self.write(store, lease, 1, closes=True)
        page = await self.page(store, "s")
        assert page.head is not None
        assert (page.head.state, page.head.next_id, list(page.payloads)) == ("closed", 1, ["0"])

    async def test_an_append_renews_the_lease(self, store: Store) -> None:
        lease = await self.acquire(store, "s", lease=1.0)
        assert await self.append(store, lease, 0, "0", seconds=500.0) is None
        assert 400 < (await self.info(store, lease)).lease_left <= 500

    async def test_a_lapsed_lease_may_write_while_nobody_took_it(self, store: Store) -> None:
        lease = await self.acquire(store, "s", lease=SHORT)
        await self.lapse(store, lease)
        await self.write(store, lease, 0, "0")
        assert (await self.info(store, lease)).active

    @pytest.mark.parametrize("writers", [2, 8])
    async def test_writers_of_different_streams_do_not_disturb_each_other(
        self, store: Store, peer: Store, writers: int
    ) -> None:
        leases = [await self.acquire(store, f"s{number}") for number in range(writers)]
        await asyncio.gather(
            *(self._fill((store, peer)[number % 2], lease) for number, lease in enumerate(leases))
        )
        for lease in leases:
            assert await self.stored(store, lease.stream_id) == numbered(20)

    async def _fill(self, store: Store, lease: Lease) -> None:
        for first in range(20):
            await self.write(store, lease, first, *numbered(1, first), closes=first == 19)


class RetryCases(StoreActs):
    """A call repeated after a lost answer changes nothing and gets the same answer (G3)."""

    async def test_a_repeated_append_lands_once(self, store: Store, peer: Store) -> None:
        lease = await self.acquire(store, "s")
        await self.write(store, lease, 0, "0", "1")
        await self.write(peer, lease, 0, "0", "1")
        assert await self.stored(store, "s") == ["0", "1"]
        await self.write(store, lease, 2, "2")

    async def test_an_append_repeated_at_once_lands_once(self, store: Store, peer: Store) -> None:
        lease = await self.acquire(store, "s")
        attempts = [
            self.append(each, lease, 0, "0", "1", closes=True) for each in (store, peer, store)
        ]
        assert await asyncio.gather(*attempts) == [None, None, None]
        assert await self.stored(store, "s") == ["0", "1"]

    async def test_an_append_repeated_after_the_next_one_is_still_landed(
        self, store: Store
    ) -> None:
        lease = await self.acquire(store, "s")
        await self.write(store, lease, 0, "0")
        await self.write(store, lease, 1, "1")
        await self.write(store, lease, 0, "0")
        assert await self.stored(store, "s") == ["0", "1"]

    async def test_a_repeated_closing_append_is_landed(self, store: Store) -> None:
        lease = await self.closed_version(store, "s", "0", "1")
        await self.write(store, lease, 0, "0", "1", closes=True)
        assert await self.stored(store, "s") == ["0", "1"]

    async def test_a_repeated_close_without_a_payload_is_landed(self, store: Store) -> None:
        lease = await self.acquire(store, "s")
        await self.write(store, lease, 0, closes=True)
        await self.write(store, lease, 0, closes=True)

    async def test_an_append_repeated_after_the_close_is_landed(self, store: Store) -> None:
        lease = await self.acquire(store, "s")
        await self.write(store, lease, 0, "0")
        await self.write(store, lease, 1, "1", closes=True)
        await self.write(store, lease, 0, "0")

    async def test_an_append_repeated_after_a_stop_is_landed(self, store: Store) -> None:
        lease = await self.acquire(store, "s")
        await self.write(store, lease, 0, "0", "1")
        taker = await self.taken(store, lease, stop=True)
        await self.write(store, lease, 0, "0", "1")
        await self.write(store, taker, 2, '"abort"', closes=True)
        await self.write(store, lease, 0, "0", "1")
        assert await self.stored(store, "s") == ["0", "1", '"abort"']

    async def test_an_append_that_a_stop_forestalled_has_not_landed(self, store: Store) -> None:
        lease = await self.acquire(store, "s")
        await self.write(store, lease, 0, "0")
        await self.write(
            store, await self.taken(store, lease, stop=True), 1, '"abort"', closes=True
        )
        assert isinstance(await self.append(store, lease, 1, "1"), StreamStopped)
        assert isinstance(await self.append(store, lease, 1, "1", "2", closes=True), StreamStopped)

    async def test_half_an_append_has_not_landed(self, store: Store) -> None:
        lease = await self.closed_version(store, "s", "0", "1")
        assert isinstance(await self.append(store, lease, 1, "1", "2"), StreamClosed)
        assert await self.stored(store, "s") == ["0", "1"]

    async def test_an_append_repeated_after_a_takeover_is_landed(self, store: Store) -> None:
        lease = await self.acquire(store, "s", lease=SHORT)
        assert await self.append(store, lease, 0, "0", seconds=SHORT) is None
        await self.lapse(store, lease)
        await self.write(store, await self.taken(store, lease), 1, '"error"', closes=True)
        await self.write(store, lease, 0, "0")

    async def test_an_append_repeated_after_a_newer_version_is_landed(self, store: Store) -> None:
        lease = await self.acquire(store, "s")
        await self.write(store, lease, 0, "0")
        await self.write(store, await self.acquire(store, "s"), 0, '"newer"')
        await self.write(store, lease, 0, "0")
        assert isinstance(await self.append(store, lease, 1, "1"), Fenced)
        assert await self.stored(store, "s") == ['"newer"']

    async def test_an_append_repeated_after_a_deletion_has_not_landed(self, store: Store) -> None:
        lease = await self.acquire(store, "s")
        await self.write(store, lease, 0, "0")
        await store.delete("s")
        assert isinstance(await self.append(store, lease, 0, "0"), StreamDeleted)

    async def test_landed_and_new_appends_share_a_batch(self, store: Store) -> None:
        landed, new = await self.acquire(store, "a"), await self.acquire(store, "b")
        await self.write(store, landed, 0, "0")
        batch = [Append(lease, 0, ("0",), False) for lease in (landed, new)]
        assert await store.append(batch, lease=LONG) == [None, None]
        assert [await self.stored(store, each) for each in "ab"] == [["0"], ["0"]]


class PayloadCases(StoreActs):
    """Payloads come back as exactly the text that was stored, whatever JSON it is (G10)."""

    @pytest.mark.parametrize("payload", list(PAYLOADS.values()), ids=list(PAYLOADS))
    async def test_a_payload_comes_back_as_it_was(
        self, store: Store, peer: Store, payload: str
    ) -> None:
        lease = await self.acquire(store, "s")
        await self.write(store, lease, 0, payload)
        await self.write(store, lease, 0, payload)
        assert await self.stored(peer, "s") == [payload]

    async def test_all_of_them_share_one_append(self, store: Store) -> None:
        await self.closed_version(store, "s", *PAYLOADS.values())
        assert await self.stored(store, "s") == list(PAYLOADS.values())

    async def test_the_largest_payload_comes_back(self, store: Store, peer: Store) -> None:
        payload = f'"{"é" * ((MAX_CHUNK_BYTES - 2) // 2)}"'
        assert len(payload.encode()) == MIB
        await self.closed_version(store, "s", payload)
        assert await self.stored(peer, "s") == [payload]

    async def test_the_fields_of_an_opening_come_back(self, store: Store) -> None:
        for number, text in enumerate(PAYLOADS.values()):
            await self._opening_comes_back(store, f"s{number}", text)

    async def _opening_comes_back(self, store: Store, stream_id: str, text: str) -> None:
        opening = Opening(new_token(), LONG, request=text, metadata=text)
        await store.acquire(stream_id, None, opening)
        info = await store.info(stream_id)
        assert info is not None
        assert (await store.request(stream_id, 0), info.metadata) == (text, text)
