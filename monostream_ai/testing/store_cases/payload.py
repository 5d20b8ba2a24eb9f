"""Payloads come back as the text that went in, whatever JSON they are (G10)."""

from __future__ import annotations

import pytest

from monostream_ai.interfaces import Store
from monostream_ai.testing.store_cases.acts import LONG, MIB, StoreActs, new_token
from monostream_ai.types import MAX_CHUNK_BYTES, Opening

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


class PayloadCases(StoreActs):
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
        assert (info.request, info.metadata) == (text, text)
