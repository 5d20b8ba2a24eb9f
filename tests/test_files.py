"""Files of answers in the database, on every store."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from monostream_ai import DurableStreamService
from monostream_ai.errors import StreamDeleted
from monostream_ai.files import PIECE_BYTES, PIECES_AT_ONCE, DatabaseFiles, StoredFile
from monostream_ai.recording import consume_stream
from monostream_ai.stores.memory import MemoryStore
from monostream_ai.ui_messages import UIMessageProtocol
from tests.filing import LARGE, LARGE_BASE64, image
from tests.hooked_store import Gate, HookedStore
from tests.plugins.services import ServiceFactory
from tests.recording.test_files import FileMapper

CHAT = "chat:ada/c1"


def new_service(service_factory: ServiceFactory, **options: Any) -> Any:
    return service_factory(protocol=UIMessageProtocol(), **options)


async def content_of(file: StoredFile | None, *span: int) -> bytes:
    assert file is not None
    return b"".join([piece async for piece in file.read(*span)])


@pytest.mark.parametrize(
    "size",
    [
        0,
        1,
        PIECE_BYTES - 1,
        PIECE_BYTES,
        PIECE_BYTES + 1,
        2 * PIECE_BYTES,
        PIECE_BYTES * PIECES_AT_ONCE + 1,
    ],
)
async def test_a_file_of_any_size_comes_back(service_factory: ServiceFactory, size: int) -> None:
    content = bytes(n % 251 for n in range(1000)) * (size // 1000 + 1)
    content = content[:size]
    token = await DatabaseFiles(new_service(service_factory)).store(CHAT, content, "image/png")
    file = await DatabaseFiles(new_service(service_factory)).find(CHAT, token)
    assert await content_of(file) == content
    assert file is not None
    assert (file.size, file.media_type) == (size, "image/png")


async def test_a_span_of_a_file_comes_back(service_factory: ServiceFactory) -> None:
    files = DatabaseFiles(new_service(service_factory))
    content = image(3 * PIECE_BYTES + 7, mark=1)
    file = await files.find(CHAT, await files.store(CHAT, content, "image/png"))
    edges = (0, 1, PIECE_BYTES - 1, PIECE_BYTES, PIECE_BYTES + 1, 2 * PIECE_BYTES, len(content))
    for first in edges:
        for end in edges:
            assert await content_of(file, first, end) == content[first:end]


async def test_a_file_is_found_by_its_chat_and_token_only(service_factory: ServiceFactory) -> None:
    files = DatabaseFiles(new_service(service_factory))
    token = await files.store(CHAT, LARGE, "image/png")
    for chat, guess in [
        ("chat:eve/c1", token),
        ("chat:ada/c2", token),
        (CHAT, token[:-1]),
        (CHAT, "0" * 32),
        (CHAT, f"{token}0"),
        (CHAT, f"../c1/{token}"),
        (CHAT, ""),
    ]:
        assert await files.find(chat, guess) is None


async def test_a_file_belongs_to_the_owner_of_its_chat(service_factory: ServiceFactory) -> None:
    service = new_service(service_factory)
    token = await DatabaseFiles(service).store(CHAT, LARGE, "image/png", owner="ada")
    assert (await service.status(f"file:{CHAT}/{token}")).owner == "ada"


async def test_deleting_a_chats_files_leaves_those_of_others(
    service_factory: ServiceFactory,
) -> None:
    files = DatabaseFiles(new_service(service_factory))
    mine = [await files.store("chat:a", b"x", "image/png") for _ in range(3)]
    others = ["chat:a/b", "chat:ab", "chat:b"]
    kept = [await files.store(chat, b"x", "image/png") for chat in others]
    assert await files.delete("chat:a") == 3
    assert [await files.find("chat:a", token) for token in mine] == [None] * 3
    for chat, token in zip(others, kept, strict=True):
        assert await content_of(await files.find(chat, token)) == b"x"


async def test_pruning_removes_a_file(service_factory: ServiceFactory) -> None:
    service = new_service(service_factory)
    files = DatabaseFiles(service)
    token = await files.store(CHAT, LARGE, "image/png")
    file = await files.find(CHAT, token)
    await service.prune(older_than=3600.0)
    assert await content_of(file) == LARGE
    while await files.find(CHAT, token) is not None:
        await service.prune(older_than=0.0)
    with pytest.raises(StreamDeleted):
        await content_of(file)


async def test_a_capture_keeps_its_files_in_the_database(service_factory: ServiceFactory) -> None:
    service = new_service(service_factory)
    files = DatabaseFiles(service)
    hook = files.hook(CHAT, lambda token: f"/files/{token}", owner="ada")
    async with service.publisher(CHAT, owner="ada") as pub:
        url = f"data:image/png;base64,{LARGE_BASE64}"
        await consume_stream(["Look", url, "END"], pub, FileMapper, files=hook)
    [stored] = [chunk["url"] for chunk in await service.chunks(CHAT) if chunk["type"] == "file"]
    assert await content_of(await files.find(CHAT, stored.removeprefix("/files/"))) == LARGE


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ("image/png", "image/png"),
        ("IMAGE/PNG; charset=utf-8", "image/png"),
        ("image/svg+xml", "image/svg+xml"),
        ("", "application/octet-stream"),
        ("image", "application/octet-stream"),
        ("text/html\r\nx-evil: 1", "application/octet-stream"),
        ("a/b/c", "application/octet-stream"),
        ("image/" + "x" * 1000, "application/octet-stream"),
        ("bild/größe", "application/octet-stream"),
    ],
)
async def test_a_media_type_is_safe_for_a_header(
    service_factory: ServiceFactory, given: str, kept: str
) -> None:
    files = DatabaseFiles(new_service(service_factory))
    file = await files.find(CHAT, await files.store(CHAT, b"x", given))
    assert file is not None
    assert file.media_type == kept


async def test_a_file_that_is_stored_in_part_is_not_found() -> None:
    store = HookedStore(MemoryStore())
    async with DurableStreamService(store, None, UIMessageProtocol()) as service:
        files = DatabaseFiles(service)
        store.before["append"] = gate = Gate()
        storing = asyncio.create_task(files.store(CHAT, LARGE, "image/png"))
        await gate.reached.wait()
        [info] = await service.streams(prefix="file:")
        token = info.stream_id.rpartition("/")[2]
        assert await files.find(CHAT, token) is None
        storing.cancel()
        gate.open()
        await asyncio.wait([storing])
        assert await files.find(CHAT, token) is None


@pytest.mark.parametrize("url", ["api/chat", "javascript:x", ""])
def test_the_path_of_the_router_is_checked(service_factory: ServiceFactory, url: str) -> None:
    with pytest.raises(ValueError, match="url is"):
        DatabaseFiles(new_service(service_factory), url=url)


def test_a_service_is_needed() -> None:
    with pytest.raises(TypeError, match="needs a service, not str"):
        DatabaseFiles("sqlite+aiosqlite:///chat.db")  # type: ignore[arg-type]  # refused
