"""A SQLite file that goes away under a running service: nothing is acknowledged that cannot be
found under the path.
"""

from __future__ import annotations

import asyncio
import shutil
import sqlite3
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from monostream_ai import DurableStreamService, create_service
from monostream_ai.errors import FileMoved, MonostreamError
from monostream_ai.stores.sql import SQLiteStore
from tests.chunks import FINISH, PROTOCOL, Chunk, text, texts

Service = DurableStreamService[Chunk]

PATIENCE = 10.0


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "data" / "streams.db"


@pytest.fixture
async def service(path: Path, no_task_is_left: None) -> AsyncIterator[Service]:
    path.parent.mkdir()
    url = f"sqlite:///{path}"
    async with create_service(url, PROTOCOL, lease=60.0, outage_timeout=0.5) as service:
        yield service


def move(path: Path) -> None:
    path.rename(path.with_name("elsewhere.db"))


def delete(path: Path) -> None:
    for each in path.parent.iterdir():
        each.unlink()


def delete_the_folder(path: Path) -> None:
    shutil.rmtree(path.parent)


def replace(path: Path) -> None:
    # A backup, as an operator would restore it.
    backup = path.with_name("backup.db")
    source, target = sqlite3.connect(path), sqlite3.connect(backup)
    source.backup(target)
    source.close()
    target.close()
    backup.rename(path)


def delete_the_log(path: Path) -> None:
    Path(f"{path}-wal").unlink()


def delete_the_index_of_the_log(path: Path) -> None:
    Path(f"{path}-shm").unlink()


WAYS = [
    move,
    delete,
    delete_the_folder,
    replace,
    delete_the_log,
    delete_the_index_of_the_log,
]
every_way = pytest.mark.parametrize("lose", WAYS, ids=lambda way: way.__name__)


@every_way
async def test_no_write_is_acknowledged_in_a_file_that_went_away(
    service: Service, path: Path, lose: Callable[[Path], None]
) -> None:
    pub = await service.publisher("s").open()
    await pub.write(text(0))
    lose(path)
    async with asyncio.timeout(PATIENCE):
        with pytest.raises(FileMoved, match="was moved, deleted or replaced"):
            await pub.write(text(1))
        with pytest.raises(FileMoved):
            await service.publisher("t").open()


@every_way
async def test_readers_of_a_file_that_went_away_are_told(
    service: Service, path: Path, lose: Callable[[Path], None]
) -> None:
    pub = await service.publisher("s").open()
    await pub.write(text(0))
    subscription = service.subscribe("s")
    assert await anext(subscription) == text(0)
    lose(path)
    async with asyncio.timeout(PATIENCE):
        with pytest.raises(FileMoved):
            await anext(subscription)
        with pytest.raises(FileMoved):
            await service.status("s")


@every_way
async def test_an_idle_service_reports_that_its_file_went_away(
    service: Service, path: Path, lose: Callable[[Path], None]
) -> None:
    reported: asyncio.Future[tuple[str, BaseException]] = asyncio.get_running_loop().create_future()
    service.on_error(lambda *error: reported.done() or reported.set_result(error))
    await service.streams()
    lose(path)
    async with asyncio.timeout(PATIENCE):
        source, error = await reported
    assert (source, type(error)) == ("listen", FileMoved)


async def test_a_file_that_is_put_back_in_time_goes_on(service: Service, path: Path) -> None:
    failed = asyncio.Event()
    async with service.publisher("s") as pub:
        await pub.write(*texts(3))
        service.on_error(lambda source, error: failed.set() if source == "append" else None)
        move(path)
        writing = asyncio.create_task(pub.write(text(3)))
        async with asyncio.timeout(PATIENCE):
            await failed.wait()
            path.with_name("elsewhere.db").rename(path)
            assert await writing == 3
    assert await service.chunks("s") == [*texts(4), FINISH]


async def test_connections_of_a_store_agree_on_the_file(path: Path, no_task_is_left: None) -> None:
    path.parent.mkdir()
    store = SQLiteStore.from_url(f"sqlite:///{path}")
    # This opens the connection that writes; the one that reads finds another file.
    await store.setup()
    replace(path)
    with pytest.raises(FileMoved):
        await store.info("s")
    await store.aclose()
    assert await store.info("s") is None
    await store.aclose()


async def test_a_folder_that_was_never_there_is_another_error(
    tmp_path: Path, no_task_is_left: None
) -> None:
    store = SQLiteStore.from_url(f"sqlite:///{tmp_path}/no/streams.db")
    with pytest.raises(MonostreamError, match="does its folder exist") as raised:
        await store.setup()
    assert not isinstance(raised.value, FileMoved)
    await store.aclose()
