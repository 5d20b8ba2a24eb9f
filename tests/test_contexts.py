"""Work in the background keeps nothing of the request that happened to start it."""

from __future__ import annotations

import asyncio
import gc
import weakref
from contextvars import ContextVar
from pathlib import Path

import pytest

from monostream_ai import Subscription, create_service

CHUNK = {"type": "text-start", "id": "t"}


class User:
    """An object that a framework puts into the context of a request."""


USER: ContextVar[User] = ContextVar("user")


# Not on Postgres: there a connection keeps the context in which the pool made it, as any
# transport of asyncio does.
@pytest.mark.parametrize("url", ["memory://", "sqlite:///{}/chat.db"], ids=["memory", "sqlite"])
async def test_no_background_work_keeps_the_context_of_a_request(url: str, tmp_path: Path) -> None:
    service = create_service(url.format(tmp_path), poll_interval=0.3)
    readers: list[Subscription[dict[str, object]]] = []

    async def request() -> weakref.ref[User]:
        user = User()
        USER.set(user)
        # The first use of everything: connections, renewals, the tailer and its polls.
        await (await service.publisher("s").open()).write(CHUNK)
        readers.append(service.subscribe("s", timeout=0.5))
        assert await anext(readers[0]) == CHUNK
        return weakref.ref(user)

    async with service:
        user = await asyncio.create_task(request())
        with pytest.raises(TimeoutError):
            await anext(readers[0])
        gc.collect()
        assert user() is None
