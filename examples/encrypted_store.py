"""Write your own store: this one encrypts chunks before SQLite gets them.

A stolen database file reveals nothing that was said. Longer than the other examples, because each
method that takes or returns chunks must encrypt or decrypt them.

    python examples/encrypted_store.py

`tests/examples/test_encrypted_store.py` runs the conformance suite for stores on it.
"""

import asyncio
import json
import sqlite3
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from itertools import accumulate

from cryptography.hazmat.primitives.ciphers.aead import AESSIV
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from monostream_ai import DurableStreamService, MonostreamError
from monostream_ai.notifiers.sqlite import SQLiteNotifier
from monostream_ai.stores.sql import SQLiteStore
from monostream_ai.types import Append, Page, Position, StoredChunk
from monostream_ai.ui_messages import UIMessageProtocol

SEAL = 34
"""Bytes that encryption adds to twice the size of a payload, since it is stored as hex digits."""


class EncryptedStore(SQLiteStore):
    """Encrypts each chunk for its place in its stream.

    Ids, owners, requests and metadata stay readable. `PostgresStore` can be extended the same way.
    """

    def __init__(self, engine: AsyncEngine, key: bytes) -> None:
        super().__init__(engine)
        # AES-SIV is deterministic: an append repeated after a lost reply must have equal payloads.
        self._cipher = AESSIV(key)

    async def append(
        self, appends: Sequence[Append], *, lease: float
    ) -> list[MonostreamError | None]:
        return await super().append([self._sealed(append) for append in appends], lease=lease)

    async def read(
        self, positions: Sequence[Position], *, max_rows: int, max_bytes: int
    ) -> list[Page]:
        pages = await super().read(
            positions, max_rows=max_rows, max_bytes=2 * max_bytes + SEAL * max_rows
        )
        opened = []
        for position, page in zip(positions, pages, strict=True):
            version = page.head.version if page.head else 0
            payloads = self._open(page.payloads, position.stream_id, version, page.first, max_bytes)
            opened.append(replace(page, payloads=payloads))
        return opened

    async def payloads(
        self, stream_id: str, version: int, first: int, *, max_rows: int, max_bytes: int
    ) -> list[str]:
        size = 2 * max_bytes + SEAL * max_rows
        sealed = await super().payloads(
            stream_id, version, first, max_rows=max_rows, max_bytes=size
        )
        return self._open(sealed, stream_id, version, first, max_bytes)

    async def timeline(
        self, stream_id: str, version: int, first: int, *, max_rows: int
    ) -> list[StoredChunk]:
        chunks = await super().timeline(stream_id, version, first, max_rows=max_rows)
        return [chunk._replace(size=(chunk.size - SEAL) // 2) for chunk in chunks]

    def _sealed(self, append: Append) -> Append:
        (stream_id, version, _), texts = append.lease, enumerate(append.payloads, append.first)
        sealed = [
            self._cipher.encrypt(text.encode(), place(stream_id, version, id)).hex()
            for id, text in texts
        ]
        return replace(append, payloads=[json.dumps(each) for each in sealed])

    def _open(
        self, payloads: Sequence[str], stream_id: str, version: int, first: int, max_bytes: int
    ) -> list[str]:
        sealed = enumerate((bytes.fromhex(json.loads(payload)) for payload in payloads), first)
        opened = [self._cipher.decrypt(each, place(stream_id, version, id)) for id, each in sealed]
        sizes = accumulate((len(text) for text in opened), initial=0)
        return [
            text.decode() for text, before in zip(opened, sizes, strict=False) if before < max_bytes
        ]


def place(stream_id: str, version: int, id: int) -> list[bytes]:
    return [f"{version}.{id} {stream_id}".encode()]


async def main(path: str) -> None:
    engine = create_async_engine(f"sqlite+aiosqlite:///{path}")
    store = EncryptedStore(engine, AESSIV.generate_key(512))
    async with DurableStreamService(
        store, SQLiteNotifier(store), UIMessageProtocol(), create_tables=True
    ) as service:
        async with service.publisher("chat:1") as pub:
            await pub.write(
                {"type": "text-start", "id": "t"},
                {"type": "text-delta", "id": "t", "delta": "Hello"},
            )
        async for chunk in service.subscribe("chat:1"):
            print(chunk)
    await engine.dispose()
    for (chunk,) in sqlite3.connect(path).execute("SELECT chunk FROM stream_chunk ORDER BY id"):
        print("on disk:", chunk[:60])


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as directory:
        asyncio.run(main(f"{directory}/chat.db"))
