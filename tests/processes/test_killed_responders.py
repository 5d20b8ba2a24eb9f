"""Real processes are killed while they read a background response, and others go on."""

from __future__ import annotations

import asyncio
import random
import sys
from pathlib import Path

import pytest

from monostream_ai import create_service
from monostream_ai.ui_messages import reduce_chunks
from tests.openai.background_server import BackgroundServer, long_answer
from tests.openai.storing import check_message

PATIENCE = 60.0
"""Seconds for a process to start, and to answer."""


async def spawn(url: str, server: BackgroundServer) -> asyncio.subprocess.Process:
    arguments = ("-m", "tests.processes.responder", url, server.url)
    return await asyncio.create_subprocess_exec(sys.executable, *arguments)


async def answered(directory: Path, server: BackgroundServer, kills: list[int]) -> object:
    """Return the message after so many processes, each killed behind so many further events."""
    url = f"sqlite+aiosqlite:///{directory / 'chat.db'}"
    async with asyncio.timeout(PATIENCE), create_service(url) as service:
        for place in kills:
            pause = asyncio.create_task(server.pause_behind(place))
            process = await spawn(url, server)
            await pause
            async for chunk in service.subscribe("chat"):
                if "responseId" in chunk.get("messageMetadata", {}):
                    break
            process.kill()
            await process.wait()
            server.resume()
        process = await spawn(url, server)
        assert await process.wait() == 0
        chunks = await service.chunks("chat")
    check_message(chunks)
    return reduce_chunks(chunks)


@pytest.mark.sweep(1)
@pytest.mark.parametrize("seed", range(3))
async def test_a_killed_process_costs_no_character(tmp_path: Path, seed: int) -> None:
    chance = random.Random(seed)
    places = [chance.randrange(1, len(long_answer())) for _ in range(2)]
    (tmp_path / "whole").mkdir()
    async with BackgroundServer(lambda body: long_answer()).running() as server:
        expected = await answered(tmp_path / "whole", server, [])
        server.forget()

        assert await answered(tmp_path, server, places) == expected

    assert (server.creates, server.cancelled) == (1, [])
