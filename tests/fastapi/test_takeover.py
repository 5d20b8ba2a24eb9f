"""Takeovers that see a version at two moments, between which it moved on."""

from __future__ import annotations

import asyncio

from monostream_ai.chats.files import ChatFiles
from monostream_ai.chats.turns.finishing import Finisher
from monostream_ai.chats.turns.replies import ChatReplies
from monostream_ai.chats.turns.runner import TurnRunner
from monostream_ai.chats.turns.takeover import Takeover
from monostream_ai.chats.turns.writing import TurnWriter
from tests.fastapi.chat_client import question
from tests.fastapi.conftest import NewService
from tests.fastapi.replies import TEXT, greet

LEASE = 0.4


async def test_a_turn_that_is_lost_once_more_is_not_ended(new_service: NewService) -> None:
    """A reader that hears of a loss finds the turn taken over. Then the store is away for longer
    than a lease, so that the successor is lost too, before the reader asks again.
    """
    service = new_service(lease=LEASE)
    replies = ChatReplies(greet, on_lost="continue")
    finisher = Finisher(service, None)
    writer = TurnWriter(service, replies, finisher, ChatFiles(None, "chat:").hook_for)
    runner = TurnRunner(service, writer, finisher, max_attempts=3, drain_timeout=1.0)
    takeover = Takeover(service, runner, finisher, max_attempts=3, goes_on=True)
    pub = await service.publisher("chat:c1", message_id="m1", request=question()).open()
    await pub.write({"type": "start", "messageId": "m1"}, *TEXT[:2])
    taken_over = await service.status("chat:c1")
    # A publisher that is dropped stops renewing its lease, like one whose process was killed.
    del pub
    while not (await service.status("chat:c1")).lost:
        await asyncio.sleep(0.05)

    assert not taken_over.lost
    assert await takeover.run_again_or_end(taken_over)

    assert (await service.status("chat:c1")).state == "open"
    await takeover.run_again_or_end(await service.status("chat:c1"))
    while (turn := await service.status("chat:c1")).state == "open":
        await asyncio.sleep(0.05)
    assert (await service.chunks("chat:c1"))[-1]["type"] == "finish"
    assert (turn.version, turn.attempt) == (0, 2)
