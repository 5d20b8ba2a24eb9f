"""A publisher whose version was taken says so once."""

from __future__ import annotations

import logging

import pytest

from monostream_ai import DurableStreamService, Fenced
from monostream_ai.stores.memory import MemoryStore
from tests.chunks import PROTOCOL, Chunk, text


async def test_a_fence_that_the_block_raises_is_not_logged_too(
    caplog: pytest.LogCaptureFixture,
) -> None:
    store = MemoryStore()
    here, elsewhere = (DurableStreamService[Chunk](store, None, PROTOCOL) for _ in range(2))
    async with here, elsewhere:
        with caplog.at_level(logging.WARNING, "monostream_ai"), pytest.raises(Fenced):
            async with here.publisher("s") as pub:
                await pub.write(text(0))
                newer = await elsewhere.publisher("s").open()
                await pub.write(text(1))
        await newer.close("finish")

    assert caplog.messages == []
