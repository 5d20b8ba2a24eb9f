from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from monostream_ai.interfaces import Store
from tests.backends import Backend


@pytest.fixture
async def observer(backend: Backend) -> AsyncIterator[Store]:
    """A store of another process, which sees committed data only."""
    store = backend.new_store()
    await store.setup()
    yield store
    await store.aclose()
