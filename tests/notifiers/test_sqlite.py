"""The notifier of SQLite hears of commits from the kernel, and looks where the kernel is silent."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from monostream_ai import create_service
from monostream_ai.notifiers import file_events
from monostream_ai.notifiers import sqlite as notifier_module
from monostream_ai.notifiers.file_events import FileEvents
from tests.chunks import FINISH, PROTOCOL, text

NEVER = 600.0
"""Seconds that no test waits."""


class Writes:
    """Our own writes to a file."""

    def __init__(self) -> None:
        self.number = 0

    def __call__(self) -> int:
        return self.number


@pytest.fixture
def file(tmp_path: Path) -> Path:
    (tmp_path / "log").touch()
    return tmp_path / "log"


@pytest.fixture
async def events(file: Path, own: Writes) -> AsyncIterator[FileEvents]:
    with FileEvents(str(file), own) as events:
        yield events


@pytest.fixture
def own() -> Writes:
    return Writes()


async def test_a_write_is_told_once(file: Path, events: FileEvents) -> None:
    assert events.come
    file.write_text("a")
    assert await events.wait(NEVER)
    assert not await events.wait(0.01)
    file.write_text("b")
    assert await events.wait(NEVER)


@pytest.mark.parametrize("now", [1, 2], ids=["during one", "after one"])
async def test_our_own_writes_are_not_told(
    file: Path, events: FileEvents, own: Writes, now: int
) -> None:
    own.number = now
    file.write_text("ours")
    assert not await events.wait(0.05)
    own.number = 2
    file.write_text("ours")
    assert await events.wait(0.05) == (now == 2)
    file.write_text("another's")
    assert await events.wait(NEVER)


async def test_where_there_is_no_file_or_no_room_nothing_is_told(
    file: Path, own: Writes, monkeypatch: pytest.MonkeyPatch
) -> None:
    for path in (None, str(file) + "-none"):
        with FileEvents(path, own) as events:
            assert not events.come
    monkeypatch.setattr(file_events, "_watch", lambda path: None)
    with FileEvents(str(file), own) as events:
        file.write_text("a")
        assert not await events.wait(0.01)


@pytest.mark.parametrize("told", [True, False], ids=["told", "looking"])
async def test_a_chunk_of_another_store_comes_by_either_way(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, told: bool
) -> None:
    url = f"sqlite:///{tmp_path / 'chat.db'}"
    if told:
        monkeypatch.setattr(notifier_module, "FASTEST", NEVER)
        monkeypatch.setattr(notifier_module, "SLOWEST", NEVER)
    else:
        monkeypatch.setattr(file_events, "_watch", lambda path: None)
    async with (
        create_service(url, PROTOCOL, poll_interval=NEVER, lease=NEVER) as writer,
        create_service(url, PROTOCOL, poll_interval=NEVER, lease=NEVER) as reader,
        writer.publisher("s") as pub,
    ):
        await pub.write(text(0))
        subscription = reader.subscribe("s")
        async with asyncio.timeout(30):
            assert await anext(subscription) == text(0)
            for number in range(1, 20):
                await pub.write(text(number))
                assert await anext(subscription) == text(number)
            await pub.write(FINISH)
            assert [chunk async for chunk in subscription] == [FINISH]
