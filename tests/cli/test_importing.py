"""`monostream-ai import` moves an application from SQLite to Postgres."""

from __future__ import annotations

import asyncio
import sqlite3
import tracemalloc
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from pathlib import Path
from typing import Any

import httpx
from click.testing import CliRunner, Result
from fastapi import FastAPI

from monostream_ai import DurableStreamService, create_service
from monostream_ai.cli.app import app
from monostream_ai.fastapi import ChatHistory, ChatTurn, create_chat_router
from monostream_ai.files import DatabaseFiles
from tests.cli.conftest import LEASE
from tests.cli.test_commands import executed
from tests.fastapi.chat_client import question, types_in

ODD = "Grüße \ud800 \0 🌍 \\u0000"
CALL = {"type": "tool-input-available", "toolCallId": "c", "toolName": "pay", "input": {}}
ASKS = {"type": "tool-approval-request", "toolCallId": "c", "approvalId": "a"}


def imported(file: Path, url: str, *options: str) -> Result:
    return CliRunner().invoke(app, ["import", str(file), "--url", url, *options])


@asynccontextmanager
async def served(
    url: str, gate: asyncio.Event
) -> AsyncIterator[tuple[httpx.AsyncClient, DurableStreamService[Any], ChatHistory]]:
    """An application with a history and a tool that asks; its second answer waits for the gate."""
    async with create_service(url, lease=LEASE) as service:
        history = ChatHistory(service)

        async def reply(turn: ChatTurn) -> None:
            conversation = await history.ask(turn)
            if turn.chat_id == "pays" and conversation[-1]["role"] == "user":
                await turn.pub.write(CALL, ASKS)
                return
            if turn.chat_id == "busy":
                await gate.wait()
            await turn.pub.write(
                {"type": "text-start", "id": "t"}, {"type": "text-delta", "id": "t", "delta": ODD}
            )

        application = FastAPI()
        options: dict[str, Any] = {
            "on_finish": history.finish,
            "on_busy": "queue",
            "sweep_interval": 0.2,
            "drain_timeout": 0.1,
        }
        router = create_chat_router(service, reply, on_lost="retry", **options)
        application.include_router(router, prefix="/api/chat")
        transport = httpx.ASGITransport(application)
        async with (
            application.router.lifespan_context(application),
            httpx.AsyncClient(transport=transport, base_url="http://app") as http,
        ):
            yield http, service, history


async def everything(url: str) -> list[Any]:
    async with create_service(url, lease=LEASE) as service:
        found = list[Any]()
        for latest in await service.streams(limit=1000):
            for info in await service.versions(latest.stream_id):
                place = info.stream_id, info.version
                stored = (await service.chunks(*place), await service.request(*place))
                told = (info.state, info.next_id, info.owner, info.message_id, info.metadata)
                times = (info.created_at, info.closed_at, info.stop_requested_at)
                found.append((place, told, times, info.waiting, info.watched, *stored))
        for chat in await ChatHistory(service).chats():
            messages = await ChatHistory(service).messages(chat.chat_id)
            found.append((chat.chat_id, chat.stored_at, chat.title, messages))
        return found


async def fill(file: Path) -> None:
    """Answer, ask for an approval, store a file, and leave a question behind one that was lost."""
    url, gate = f"sqlite:///{file}", asyncio.Event()
    async with served(url, gate) as (http, service, _):
        await http.post("/api/chat", json=question("said", ODD.replace("\ud800", "")))
        await http.post("/api/chat", json=question("pays"))
        await DatabaseFiles(service).store("chat:said", b"\0\xff" * 3000, "image/png")
        async with service.publisher("job:1", owner="worker"):
            pass
        later = {"Prefer": "respond-async"}
        for number in (1, 2):
            asked = question("busy", id=f"u{number}")
            assert (await http.post("/api/chat", json=asked, headers=later)).status_code == 202
        async with asyncio.timeout(10):
            while not await service.streams(prefix="chat:busy"):
                await asyncio.sleep(0.01)


async def test_an_application_goes_on_where_it_was(tmp_path: Path, postgres_url: str) -> None:
    file = tmp_path / "chat.db"
    await fill(file)
    await asyncio.sleep(LEASE)
    before = await everything(f"sqlite:///{file}")

    result = await asyncio.to_thread(imported, file, postgres_url)

    assert result.exit_code == 0, result.output
    assert "rows of stream_chunk" in result.output
    assert await everything(postgres_url) == before
    gate = asyncio.Event()
    gate.set()
    async with served(postgres_url, gate) as (http, service, history):
        # The lost answer runs again, then the question that waited is answered.
        async with asyncio.timeout(30):
            while len(await history.messages("busy")) < 4:
                await asyncio.sleep(0.1)
        [asked, answer] = await history.messages("pays")
        [call] = [part for part in answer["parts"] if "approval" in part]
        call.update(state="approval-responded", approval={"id": "a", "approved": True})
        body = {"id": "pays", "messages": [asked, answer]}
        assert types_in((await http.post("/api/chat", json=body)).text)[-1] == "finish"
        assert [each["role"] for each in await history.messages("said")] == ["user", "assistant"]


async def test_a_schema_of_the_target_is_used(tmp_path: Path, postgres_url: str) -> None:
    file, url = tmp_path / "chat.db", f"{postgres_url}&schema=streams"
    await fill(file)
    await asyncio.sleep(LEASE)

    result = await asyncio.to_thread(imported, file, url, "--json")

    assert result.exit_code == 0, result.output
    assert await everything(url) == await everything(f"sqlite:///{file}")
    assert await everything(postgres_url) == []


async def test_a_file_that_is_written_or_old_or_none_is_refused(
    tmp_path: Path, postgres_url: str
) -> None:
    file, url = tmp_path / "chat.db", f"sqlite:///{tmp_path / 'chat.db'}"
    async with create_service(url, lease=60) as service, service.publisher("s") as pub:
        await pub.write({"type": "start"})
        refused = await asyncio.to_thread(imported, file, postgres_url)
        assert (refused.exit_code, "are being written" in refused.stderr) == (1, True)
    await executed(f"sqlite+aiosqlite:///{file}", "DELETE FROM monostream_schema WHERE version > 1")
    old = await asyncio.to_thread(imported, file, postgres_url)
    assert (old.exit_code, "run `migrate" in old.stderr) == (1, True)
    with closing(sqlite3.connect(tmp_path / "empty.db")) as empty:
        empty.execute("CREATE TABLE mine (id)")
    other = await asyncio.to_thread(imported, tmp_path / "empty.db", postgres_url)
    assert (other.exit_code, "run `migrate" in other.stderr) == (1, True)
    (tmp_path / "text.db").write_text("no database at all, but a text of some length" * 100)
    text = await asyncio.to_thread(imported, tmp_path / "text.db", postgres_url)
    assert text.exit_code == 1
    assert text.stderr.startswith("Error: ")
    assert await everything(postgres_url) == []


async def test_a_database_with_streams_is_left_alone(tmp_path: Path, postgres_url: str) -> None:
    file = tmp_path / "chat.db"
    await fill(file)
    await asyncio.sleep(LEASE)
    async with create_service(postgres_url) as service, service.publisher("mine"):
        pass
    before = await everything(postgres_url)

    refused = await asyncio.to_thread(imported, file, postgres_url)

    assert (refused.exit_code, "import into an empty one" in refused.stderr) == (1, True)
    assert await everything(postgres_url) == before


def checkpoint(file: Path) -> None:
    """Leave nothing beside the file: with old releases of aiosqlite, the write-ahead log stays."""
    with closing(sqlite3.connect(file)) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")


async def test_the_name_of_a_file_may_have_the_signs_of_urls(
    tmp_path: Path, postgres_url: str
) -> None:
    file = tmp_path / "a b?c%41#d.db"
    async with create_service(f"sqlite:///{tmp_path / 'plain.db'}") as service:
        async with service.publisher("s"):
            pass
    checkpoint(tmp_path / "plain.db")
    (tmp_path / "plain.db").rename(file)

    result = await asyncio.to_thread(imported, file, postgres_url)

    assert result.exit_code == 0, result.output
    assert [place for place, *_ in await everything(postgres_url)] == [("s", 0)]


async def test_large_files_are_copied_in_small_batches(tmp_path: Path, postgres_url: str) -> None:
    file, content = tmp_path / "chat.db", b"\0" * 10_000_000
    async with create_service(f"sqlite:///{file}") as service:
        for _ in range(3):
            token = await DatabaseFiles(service).store("chat:c", content, "image/png")

    tracemalloc.start()
    try:
        result = await asyncio.to_thread(imported, file, postgres_url)
        _, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    assert result.exit_code == 0, result.output
    # All of it would be 40 MB.
    assert most < 20_000_000
    async with create_service(postgres_url) as service:
        files = DatabaseFiles(service)
        found = await files.find("chat:c", token)
        assert found is not None
        assert b"".join([piece async for piece in found.read()]) == content


async def test_a_version_may_be_held_for_ever(tmp_path: Path, postgres_url: str) -> None:
    file, ages = tmp_path / "chat.db", 1e12
    async with create_service(f"sqlite:///{file}", lease=ages) as service:
        async with service.publisher("s"):
            pass
    with closing(sqlite3.connect(file)) as source, source:
        source.execute("UPDATE stream_version SET lease_until = ?", (ages,))

    result = await asyncio.to_thread(imported, file, postgres_url)

    assert result.exit_code == 0, result.output


async def test_a_refused_row_and_a_damaged_file_are_one_line(
    tmp_path: Path, postgres_url: str
) -> None:
    file = tmp_path / "chat.db"
    async with create_service(f"sqlite:///{file}") as service:
        async with service.publisher("s") as pub:
            await pub.write({"type": "data-odd", "data": ODD})
    async with create_service(postgres_url):
        pass
    await executed(postgres_url, "ALTER TABLE stream_chunk ALTER chunk TYPE jsonb")

    refused = await asyncio.to_thread(imported, file, postgres_url)
    checkpoint(file)
    with file.open("r+b") as damaged:
        damaged.seek(3 * 4096)
        damaged.write(b"U" * 8000)
    unread = await asyncio.to_thread(imported, file, postgres_url)

    assert (refused.exit_code, refused.stderr.count("\n")) == (1, 1)
    assert "is a column jsonb" in refused.stderr
    assert (unread.exit_code, unread.stderr.count("\n")) == (1, 1)
    assert "damaged" in unread.stderr


def test_only_postgres_is_a_target(tmp_path: Path) -> None:
    (tmp_path / "chat.db").touch()
    for url in (f"sqlite:///{tmp_path / 'other.db'}", "memory://", "nonsense"):
        refused = imported(tmp_path / "chat.db", url)
        assert (refused.exit_code, refused.stderr.count("\n")) == (2, 1)
