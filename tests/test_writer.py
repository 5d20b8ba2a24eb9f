"""A store that breaks its promises costs its publishers an error, never a wait without end."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest

from monostream_ai import DurableStreamService
from monostream_ai.errors import MonostreamError
from monostream_ai.stores.memory import MemoryStore
from monostream_ai.types import Append
from tests.chunks import PROTOCOL, Chunk, text
from tests.forwarding import ForwardingStore


class Silent(ForwardingStore):
    """Gives no verdict on streams called silent."""

    async def append(self, appends: Sequence[Append], *, lease: float) -> list[MonostreamError | None]:
        verdicts = await super().append(appends, lease=lease)
        return [] if appends[0].lease.stream_id == "silent" else verdicts


async def test_a_store_that_gives_too_few_verdicts_is_an_error_of_its_publishers() -> None:
    service: DurableStreamService[Chunk] = DurableStreamService(Silent(MemoryStore()), None, PROTOCOL)
    pub = await service.publisher("silent").open()
    with pytest.raises(RuntimeError, match="0 verdicts on 1 appends"):
        async with asyncio.timeout(3):
            await pub.write(text(0))
    other = await service.publisher("other").open()
    async with asyncio.timeout(3):
        assert await other.write(text(0)) == 0
