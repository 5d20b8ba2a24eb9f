"""The statistics of a process tell how its turns have ended."""

from __future__ import annotations

import asyncio
from typing import Any

from monostream_ai.fastapi import ChatTurn
from tests.fastapi.chat_client import question
from tests.fastapi.conftest import NewService, Serve
from tests.fastapi.replies import TEXT, greet


async def test_replies_that_raise_count_as_errors(new_service: NewService, serve: Serve) -> None:
    async def fail(turn: ChatTurn) -> None:
        raise RuntimeError

    service = new_service()
    client = await serve(service, fail)

    await asyncio.gather(*(client.post({**question(), "id": f"c{n}"}) for n in range(10)))

    assert service.statistics().endings == {"finish": 0, "error": 10, "abort": 0, "lost": 0}


async def test_a_turn_that_the_sweep_ends_counts_as_lost(
    new_service: NewService, serve: Serve
) -> None:
    ended = asyncio.Event()

    async def on_finish(message: Any, turn: Any) -> None:
        ended.set()

    pub = await new_service().publisher("chat:c1", request=question(), watched=True).open()
    await pub.write({"type": "start", "messageId": "m1"}, *TEXT[:2])
    await pub.release()
    service = new_service()
    await serve(service, greet, on_finish=on_finish, sweep_interval=0.05)

    async with asyncio.timeout(10):
        await ended.wait()

    assert service.statistics().endings == {"finish": 0, "error": 0, "abort": 0, "lost": 1}
