"""The write-ahead log of a SQLite file stays small whatever other processes read, and recovers from
one that was stopped in the middle of a read.
"""

from __future__ import annotations

import asyncio
import signal
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest

from monostream_ai import DurableStreamService, Publisher, create_service
from monostream_ai.diagnosis import diagnose
from monostream_ai.errors import LogHeld
from monostream_ai.stores.sqlite.log import LARGE_LOG, LOG_LIMIT
from tests.chunks import PROTOCOL, Chunk

ROOT = Path(__file__).parents[2]

PATIENCE = 60.0

BLOCK = [{"type": "text", "text": "x" * 1_000_000}] * 4
"""About 4 MiB in one commit."""

Start = Callable[[str], Awaitable[asyncio.subprocess.Process]]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "streams.db"


@pytest.fixture
async def service(path: Path) -> AsyncIterator[DurableStreamService[Chunk]]:
    async with create_service(f"sqlite:///{path}", PROTOCOL, lease=60.0) as service:
        yield service


@pytest.fixture
async def start(path: Path) -> AsyncIterator[Start]:
    processes: list[asyncio.subprocess.Process] = []

    async def start(how: str) -> asyncio.subprocess.Process:
        module = ["-m", "tests.processes.sqlite_holder", how, str(path)]
        process = await asyncio.create_subprocess_exec(
            sys.executable, *module, cwd=ROOT, stdout=asyncio.subprocess.PIPE
        )
        processes.append(process)
        assert process.stdout is not None
        assert await process.stdout.readline() == f"{how}s\n".encode()
        return process

    yield start
    for process in processes:
        if process.returncode is None:
            process.kill()
        await process.communicate()


def log_size(path: Path) -> int:
    return Path(f"{path}-wal").stat().st_size


async def opened(service: DurableStreamService[Chunk]) -> list[Publisher[Chunk]]:
    return [await service.publisher(f"s{number}").open() for number in range(32)]


async def test_readers_that_overlap_do_not_let_the_log_grow(
    service: DurableStreamService[Chunk], path: Path, start: Start
) -> None:
    publishers = await opened(service)
    for _ in range(2):
        await start("read")
    largest = 0
    async with asyncio.timeout(PATIENCE):
        for pub in publishers:
            await pub.write(*BLOCK)
            largest = max(largest, log_size(path))
    assert path.stat().st_size + largest > 1.5 * LARGE_LOG
    assert largest < LARGE_LOG


async def test_a_stopped_reader_is_reported_and_the_log_is_emptied_once_it_is_gone(
    service: DurableStreamService[Chunk], path: Path, start: Start
) -> None:
    errors: list[tuple[str, BaseException]] = []
    service.on_error(lambda *error: errors.append(error))
    publishers = await opened(service)
    holder = await start("hold")
    holder.send_signal(signal.SIGSTOP)
    async with asyncio.timeout(PATIENCE):
        for pub in publishers:
            await pub.write(*BLOCK)
            if log_size(path) > LARGE_LOG + 2 * LOG_LIMIT:
                break
        while not errors:
            await asyncio.sleep(0.05)
    ((source, error),) = errors
    assert source == "checkpoint"
    assert isinstance(error, LogHeld)
    assert error.size >= LARGE_LOG
    assert service.statistics().errors == {"checkpoint": 1}
    found = {each.check: each async for each in diagnose(f"sqlite:///{path}")}
    assert found["journal"].level == "warn"
    assert "cannot be emptied" in found["journal"].found

    # Nobody writes any more.
    holder.kill()
    async with asyncio.timeout(PATIENCE):
        while log_size(path) > LOG_LIMIT:
            await asyncio.sleep(0.05)
    found = {each.check: each async for each in diagnose(f"sqlite:///{path}")}
    assert found["journal"].level == "ok"
