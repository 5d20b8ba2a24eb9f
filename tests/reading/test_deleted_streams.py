"""A stream that is deleted and begun anew is another one: nobody gets chunks of both (G2)."""

from __future__ import annotations

import asyncio
import sqlite3
from pathlib import Path

import pytest

from monostream_ai import DurableStreamService, Subscription
from monostream_ai.errors import CursorNotFound, StreamDeleted, UnknownStream, VersionConflict
from monostream_ai.types import Cursor
from tests.backends import BACKENDS, Backend, open_backend, sqlite_backend
from tests.chunks import FINISH, PROTOCOL, Chunk, text, texts
from tests.plugins.services import ServiceFactory

Service = DurableStreamService[Chunk]

OLD, NEW = 3_000, 100_000
"""More chunks than a window holds; and the number of the first new one."""


@pytest.fixture(params=BACKENDS)
def backend(request: pytest.FixtureRequest, tmp_path: Path) -> Backend:
    return open_backend(request.param, tmp_path, request)


async def write(service: Service, first: int) -> int:
    async with service.publisher("s") as pub:
        for start in range(first, first + OLD, 500):
            await pub.write(*texts(500, start))
        await pub.write(FINISH)
        return pub.version


async def read_slowly(reader: Subscription[Chunk], count: int) -> list[int]:
    return [(await anext(reader))["n"] for _ in range(count)]


async def rest_before_the_deletion(reader: Subscription[Chunk]) -> list[int]:
    seen = list[int]()
    with pytest.raises(StreamDeleted):
        async for chunk in reader:
            seen.append(chunk["n"])
    return seen


@pytest.mark.parametrize("read_before", [1, 300, 1700])
async def test_a_reader_behind_the_window_gets_no_chunk_of_the_successor(
    service_factory: ServiceFactory, read_before: int
) -> None:
    service, other = service_factory(), service_factory()
    await write(service, 0)
    readers = [each.subscribe("s", timeout=20) for each in (service, other)]
    seen = [await read_slowly(reader, read_before) for reader in readers]
    assert await other.delete("s")
    assert await write(other, NEW) == 1
    for before, reader in zip(seen, readers, strict=True):
        numbers = before + await rest_before_the_deletion(reader)
        assert numbers == list(range(len(numbers)))


async def test_a_reader_at_the_tail_is_told_of_a_deletion_that_it_missed(
    service_factory: ServiceFactory,
) -> None:
    service, other = service_factory(), service_factory()
    deleted = await service.publisher("s").open()
    await deleted.write(*texts(3))
    readers = [each.subscribe("s", timeout=20) for each in (service, other)]
    for reader in readers:
        await read_slowly(reader, 3)
    await other.delete("s")
    async with other.publisher("s") as successor:
        await successor.write(text(NEW))
        assert [await rest_before_the_deletion(reader) for reader in readers] == [[], []]


@pytest.mark.parametrize("on_superseded", ["follow", "raise"])
async def test_a_cursor_of_a_deleted_version_never_means_a_chunk_of_its_successor(
    service_factory: ServiceFactory, on_superseded: str
) -> None:
    service = service_factory()
    await write(service, 0)
    await service.delete("s")
    cursor = Cursor(0, 4)
    with pytest.raises(CursorNotFound):
        await anext(service.subscribe("s", after=cursor))
    await write(service_factory(), NEW)
    with pytest.raises(StreamDeleted):
        await anext(service.subscribe("s", after=cursor, on_superseded=on_superseded))
    first = await anext(service.subscribe("s", after=Cursor(1, -1)))
    assert first == text(NEW)


async def test_nothing_of_a_deleted_stream_is_found_by_its_number(
    service_factory: ServiceFactory,
) -> None:
    service, other = service_factory(), service_factory()
    await write(service, 0)
    await other.delete("s")
    await write(other, NEW)
    assert not await service.stop("s", 0)
    assert not await service.end_lost("s", 0)
    assert await service.request("s", 0) is None
    for call in (service.status, service.chunks):
        with pytest.raises(UnknownStream):
            await call("s", 0)
    with pytest.raises(VersionConflict):
        await service.publisher("s", 0).open()
    assert [info.version for info in await service.versions("s")] == [1]


async def test_a_superseded_version_is_followed_as_before(service_factory: ServiceFactory) -> None:
    """A deletion long ago is no deletion of the version that is being read."""
    service = service_factory()
    await write(service, 0)
    await service.delete("s")
    await write(service, 0)
    reader = service.subscribe("s", timeout=20)
    await read_slowly(reader, 2)
    version = await write(service_factory(), NEW)
    async for chunk in reader:
        if chunk == text(NEW):
            break
    assert (reader.cursor, version) == (Cursor(2, 0), 2)


async def test_a_deletion_by_an_older_release_is_noticed(tmp_path: Path) -> None:
    """It keeps no number, so the successor has the number of the deleted version."""
    store = sqlite_backend(tmp_path / "streams.db").new_store()
    async with DurableStreamService(store, None, PROTOCOL, create_tables=True) as service:
        await write(service, 0)
        reader = service.subscribe("s", timeout=20)
        await read_slowly(reader, 1)
        with sqlite3.connect(tmp_path / "streams.db") as other:
            other.execute("DELETE FROM stream_version")
            other.execute("DELETE FROM stream_chunk")
        other.close()
        assert await write(service, NEW) == 0
        await asyncio.sleep(0)
        assert all(number < NEW for number in await rest_before_the_deletion(reader))
