"""The encrypted store passes the conformance suite, and leaves no readable chunk on disk."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESSIV
from sqlalchemy.ext.asyncio import create_async_engine

from examples.encrypted_store import EncryptedStore
from monostream_ai.interfaces import Store
from monostream_ai.testing import StoreConformance

KEY = AESSIV.generate_key(512)


class TestEncryptedStore(StoreConformance):
    @pytest.fixture
    async def store(self, tmp_path: Path) -> AsyncIterator[Store]:
        engine = create_async_engine(f"sqlite+aiosqlite:///{tmp_path / 'streams.db'}")
        store = EncryptedStore(engine, KEY)
        yield store
        await store.aclose()
        await engine.dispose()

    async def test_nothing_of_a_payload_is_on_disk(self, store: Store, tmp_path: Path) -> None:
        lease = await self.acquire(store, "s")
        await self.write(store, lease, 0, '"a secret"', closes=True)

        files = list(tmp_path.iterdir())

        assert any(b"stream_chunk" in file.read_bytes() for file in files)
        assert not any(b"a secret" in file.read_bytes() for file in files)

    async def test_another_key_opens_nothing(self, store: Store, tmp_path: Path) -> None:
        lease = await self.acquire(store, "s")
        await self.write(store, lease, 0, '"a secret"', closes=True)
        engine = create_async_engine(f"sqlite+aiosqlite:///{tmp_path / 'streams.db'}")
        thief = EncryptedStore(engine, AESSIV.generate_key(512))

        with pytest.raises(InvalidTag):
            await self.stored(thief, "s")
        await thief.aclose()
        await engine.dispose()
