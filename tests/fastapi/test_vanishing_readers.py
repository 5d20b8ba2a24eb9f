"""Readers that connect and vanish leave no task, subscription or connection behind."""

from __future__ import annotations

import asyncio
import gc
from pathlib import Path

import pytest

from monostream_ai import create_service
from monostream_ai._reading.subscription import Subscription
from monostream_ai.fastapi import ChatTurn
from monostream_ai.ui_messages import UIMessageProtocol
from tests.fastapi.chat_client import question
from tests.fastapi.conftest import Serve
from tests.fastapi.replies import TEXT, Held

pytestmark = pytest.mark.every_framework

READERS = 1_000
AT_ONCE = 50


def subscriptions() -> int:
    gc.collect()
    return sum(isinstance(each, Subscription) for each in gc.get_objects())


async def test_a_thousand_vanishing_readers_leave_nothing_behind(
    tmp_path: Path, serve: Serve
) -> None:
    held = Held()

    async def reply(turn: ChatTurn) -> None:
        await held(turn)
        await turn.pub.write(*TEXT[:1])

    async with create_service(
        f"sqlite+aiosqlite:///{tmp_path / 'chat.db'}", UIMessageProtocol()
    ) as service:
        client = await serve(service, reply)
        host, port = client.http.base_url.host, client.http.base_url.port
        async with client.ask(question()):
            await held.started.wait()
            before, tasks = subscriptions(), len(asyncio.all_tasks())
            slots = asyncio.Semaphore(AT_ONCE)

            async def vanish(number: int) -> None:
                async with slots:
                    reader, writer = await asyncio.open_connection(host, port)
                    writer.write(b"GET /api/chat/c1/stream HTTP/1.1\r\nhost: x\r\n\r\n")
                    # Some leave before the answer, some in the middle of its first bytes.
                    await reader.read((0, 1, 200)[number % 3])
                    writer.transport.abort()

            await asyncio.gather(*map(vanish, range(READERS)))
            async with asyncio.timeout(30):
                while subscriptions() > before or len(asyncio.all_tasks()) > tasks:
                    await asyncio.sleep(0.1)
            assert (await client.status())["state"] == "open"
            held.go_on.set()
