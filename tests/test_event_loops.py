"""A service and its publishers belong to one event loop in one process, and let that loop end."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from monostream_ai import DurableStreamService, Publisher
from monostream_ai.errors import WrongEventLoop
from monostream_ai.stores.memory import MemoryStore
from tests.chunks import PROTOCOL, Chunk, text

Service = DurableStreamService[Chunk]

ROOT = Path(__file__).parents[1]
PATIENCE = 20.0

USES: dict[str, Callable[[Publisher[Chunk]], Awaitable[object]]] = {
    "write": lambda pub: pub.write(text(1)),
    "flush": lambda pub: pub.flush(),
    "close": lambda pub: pub.close(),
    "release": lambda pub: pub.release(),
}


async def in_another_loop(call: Callable[[], Awaitable[object]]) -> None:
    async def work() -> None:
        async with asyncio.timeout(3):
            await call()

    await asyncio.to_thread(lambda: asyncio.run(work()))


@pytest.mark.parametrize("use", USES)
async def test_a_publisher_refuses_another_event_loop(use: str) -> None:
    service: Service = DurableStreamService(MemoryStore(), None, PROTOCOL)
    pub = await service.publisher("s").open()
    await pub.write(text(0))
    with pytest.raises(WrongEventLoop):
        await in_another_loop(lambda: USES[use](pub))
    assert await pub.write(text(1)) == 1


async def test_another_event_loop_cannot_close_a_service() -> None:
    service: Service = DurableStreamService(MemoryStore(), None, PROTOCOL)
    pub = await service.publisher("s").open()
    with pytest.raises(WrongEventLoop):
        await in_another_loop(service.aclose)
    assert await pub.write(text(0)) == 0


async def lines_of(how: str) -> list[str]:
    """Run the program and return what it says; a program that hangs is killed."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "tests.processes.teardown",
        how,
        cwd=ROOT,
        stdout=asyncio.subprocess.PIPE,
    )
    try:
        async with asyncio.timeout(PATIENCE):
            output, _ = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
            await process.communicate()
    return output.decode().splitlines()


@pytest.mark.parametrize(
    ("how", "stored"),
    [
        ("abort", '{"type":"text","n":0} {"type":"text","n":1} {"type":"abort"}'),
        ("release", '{"type":"text","n":0} {"type":"text","n":1}'),
        ("terminal", '{"type":"text","n":0} {"type":"finish"}'),
    ],
)
async def test_the_end_of_the_loop_lets_a_push_in_flight_land(how: str, stored: str) -> None:
    assert await lines_of(how) == [stored]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system cannot fork")
async def test_a_forked_child_cannot_close_its_parents_service() -> None:
    assert await lines_of("fork") == ["child WrongEventLoop", "parent 3"]
