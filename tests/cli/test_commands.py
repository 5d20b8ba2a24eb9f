"""`monostream-ai` shows stored streams, ends and removes versions, and reports exit codes."""

from __future__ import annotations

import asyncio
import re
from pathlib import Path
from typing import Any

import pytest

from monostream_ai import DurableStreamService, create_service
from monostream_ai.service import DEFAULT_LEASE
from monostream_ai.stores.sql import PostgresStore, SQLiteStore
from monostream_ai.stores.sql.migrations import SCHEMA_VERSION
from monostream_ai.types import Lease, new_token
from tests.cli.conftest import Command, do


def listed(command: Command, *arguments: str) -> list[tuple[str, int, str, int]]:
    return [
        (each["stream_id"], each["version"], each["state"], each["chunks"])
        for each in command.json("ls", *arguments)
    ]


def test_ls_shows_the_latest_version_of_each_stream(command: Command) -> None:
    table = command("ls").stdout
    assert [line.split()[0] for line in table.splitlines()] == [
        "stream",
        "chat:1",
        "chat:lost",
        "job:1",
    ]
    assert listed(command, "chat:1") == [("chat:1", 1, "closed", 4)]


@pytest.mark.parametrize("arguments", [("ls",), ("inspect", "chat:1"), ("tail", "chat:1")])
def test_a_command_that_worked_says_nothing_of_errors(
    command: Command, arguments: tuple[str, ...], caplog: pytest.LogCaptureFixture
) -> None:
    for _ in range(5):
        result = command(*arguments)
        assert (result.exit_code, result.stderr) == (0, "")
    assert [record.getMessage() for record in caplog.records if record.levelname != "INFO"] == []


def test_ls_shows_all_versions_if_asked(command: Command) -> None:
    assert [each[:2] for each in listed(command, "--versions")] == [
        ("chat:1", 1),
        ("chat:1", 0),
        ("chat:lost", 0),
        ("job:1", 0),
    ]


def test_ls_says_how_to_list_the_rest(command: Command) -> None:
    first = command("ls", "--limit", "1")
    assert "--after 'chat:1'" in first.stderr
    assert [each[0] for each in listed(command, "--after", "chat:1", "--limit", "0")] == [
        "chat:lost",
        "job:1",
    ]


def test_ls_adds_up_sizes(command: Command) -> None:
    (chat,) = command.json("ls", "chat:1", "--sizes")
    (inspected,) = command.json("inspect", "chat:1")
    assert chat["size"] == inspected["size"] > 100


def test_ls_finds_the_versions_that_were_given_up(command: Command) -> None:
    async def give_up(service: DurableStreamService[Any]) -> None:
        async with service.publisher("chat:bad", watched=True) as pub:
            await pub.write({"type": "start"})
        sqlite = command.url.startswith("sqlite")
        store = (SQLiteStore if sqlite else PostgresStore).from_url(command.url)
        taker = Lease("chat:bad", 0, new_token())
        assert await store.attend(taker, lease=1.0) == 1
        await store.abandon(taker)
        await store.aclose()

    do(command.url, give_up)
    (bad,) = command.json("ls", "--versions", "--state", "abandoned", "--limit", "0")
    assert (bad["stream_id"], bad["version"], bad["state"]) == ("chat:bad", 0, "abandoned")
    assert bad["abandoned_at"] is not None
    assert "abandoned" in command("ls", "chat:bad").stdout
    states = ("--state", "abandoned", "--state", "closed")
    assert {row["stream_id"] for row in command.json("ls", *states)} == {
        "chat:1",
        "chat:bad",
        "job:1",
    }


def test_ls_shows_lost_publishers(command: Command) -> None:
    def until_lost() -> str:
        while (state := listed(command, "chat:lost")[0][2]) == "open":
            pass
        return state

    assert until_lost() == "lost"


def test_tail_prints_every_chunk_and_ends(command: Command) -> None:
    chunks = command.json("tail", "chat:1")
    assert [(each["version"], each["id"], each["chunk"]["type"]) for each in chunks] == [
        (1, 0, "text-start"),
        (1, 1, "text-delta"),
        (1, 2, "text-end"),
        (1, 3, "finish"),
    ]
    lines = command("tail", "chat:1").stdout.splitlines()
    assert lines[1].split() == ["1.1", "text-delta", '"Grüße"']


def test_tail_goes_on_after_a_cursor(command: Command) -> None:
    assert [each["id"] for each in command.json("tail", "chat:1", "--after", "1.1")] == [2, 3]


def test_tail_shows_a_superseded_version(command: Command) -> None:
    assert [each["version"] for each in command.json("tail", "chat:1", "--version", "0")] == [0] * 4


def test_tail_of_a_lost_stream_shows_its_chunks_and_says_lost(command: Command) -> None:
    result = command("tail", "chat:lost")
    assert (result.exit_code, len(result.stdout.splitlines())) == (4, 1)
    assert "was lost" in result.stderr


@pytest.mark.parametrize(
    "arguments",
    [
        ("tail", "nope"),
        ("inspect", "nope"),
        ("stop", "nope"),
        ("inspect", "chat:1", "--version", "9"),
    ],
)
def test_an_unknown_stream_has_an_exit_code_of_its_own(
    command: Command, arguments: tuple[str, ...]
) -> None:
    result = command(*arguments)
    assert (result.exit_code, result.stdout) == (3, "")
    assert "there is no stream" in result.stderr


def test_inspect_shows_the_version_and_its_siblings(command: Command) -> None:
    shown = command("inspect", "chat:1").stdout
    assert "m1" in shown
    assert "4 (" in shown
    (measured,) = command.json("inspect", "chat:1")
    assert (measured["chunks"], measured["missing"], sum(measured["histogram"])) == (4, [], 4)
    assert [each["version"] for each in measured["versions"]] == [1, 0]


async def test_inspect_shows_for_how_long_an_answer_is_silent_and_who_holds_it(
    command: Command,
) -> None:
    async with create_service(command.url) as service:
        async with service.publisher("chat:slow", attempt=2) as pub:
            await pub.write({"type": "start"})
            (chunk,) = await service.timeline("chat:slow", 0)
            store = await service._connected()
            held_by = await store.holder_of("chat:slow", 0)
            (first,) = await asyncio.to_thread(command.json, "inspect", "chat:slow")
            (measured,) = await asyncio.to_thread(command.json, "inspect", "chat:slow")
            shown = (await asyncio.to_thread(command, "inspect", "chat:slow")).stdout
    (ended,) = await asyncio.to_thread(command.json, "inspect", "chat:slow")

    assert measured["last_chunk_at"] == chunk.stored_at.isoformat()
    assert 0 < first["silent_for"] < measured["silent_for"] < 30
    assert measured["held_by"] == held_by
    assert (held_by is not None) == command.url.startswith("postgresql")
    rows = dict(re.findall(r"^(\S.*?) {2,}(\S.*?) *$", shown, re.MULTILINE))
    assert rows["last chunk"] == f"{chunk.stored_at:%Y-%m-%d %H:%M:%S} UTC"
    assert rows["attempt"] == "2"
    assert rows.get("held by") == held_by
    assert re.search(r"^silent for \d.* m?s$", shown, re.MULTILINE)
    assert (ended["silent_for"], ended["held_by"]) == (None, None)


def test_a_version_that_waits_or_was_lost_is_told_apart(command: Command) -> None:
    async def leave(service: DurableStreamService[Any]) -> None:
        pub = await service.publisher("chat:left").open()
        await pub.leave(within=60.0)

    do(command.url, leave)
    (left,) = command.json("inspect", "chat:left")
    (lost,) = command.json("inspect", "chat:lost")
    assert (left["state"], left["silent_for"]) == ("waiting", None)
    assert lost["silent_for"] > 0
    assert lost["held_by"] is None


def test_inspect_names_chunks_that_are_missing(command: Command) -> None:
    delete = "DELETE FROM stream_chunk WHERE stream_id = 'chat:1' AND version = 1 AND id IN (1, 3)"
    asyncio.run(executed(command.url, delete))
    (measured,) = command.json("inspect", "chat:1")
    assert measured["missing"] == [{"first": 1, "last": 1}, {"first": 3, "last": 3}]
    assert "chunks 1 to 1 are missing" in command("inspect", "chat:1").stdout


async def executed(url: str, statement: str) -> None:
    from sqlalchemy import text
    from sqlalchemy.ext.asyncio import create_async_engine

    engine = create_async_engine(url)
    async with engine.begin() as connection:
        await connection.execute(text(statement))
    await engine.dispose()


def test_stop_ends_a_version_with_its_protocols_abort(command: Command) -> None:
    assert command.json("stop", "chat:lost") == [
        {"stream_id": "chat:lost", "version": 0, "stopped": True}
    ]
    assert command.json("tail", "chat:lost")[-1]["chunk"]["type"] == "abort"
    again = command("stop", "chat:lost")
    assert (again.exit_code, again.stdout) == (3, "nothing to stop: version 0 has ended\n")


def test_stop_takes_a_protocol_by_name(command: Command) -> None:
    command.json("stop", "chat:lost", "--protocol", "tests.chunks:PROTOCOL")
    assert command.json("tail", "chat:lost")[-1]["chunk"] == {"type": "abort"}


def test_a_protocol_that_cannot_be_imported_is_wrong_usage(command: Command) -> None:
    assert command("stop", "chat:lost", "--protocol", "nowhere:NOTHING").exit_code == 2


def test_prune_removes_old_versions(command: Command) -> None:
    assert command.json("prune", "--older-than", "1h") == [{"pruned": 0}]
    # Two versions of chat:1, and job:1; chat:lost too, if its lease has lapsed by now.
    [counted] = command.json("prune", "--older-than", "0s", "--dry-run")
    assert counted["would_prune"] >= 3
    [removed] = command.json("prune", "--older-than", "0s")
    assert removed["pruned"] >= counted["would_prune"]
    [left] = command.json("prune", "--older-than", "0s", "--dry-run")
    assert removed["pruned"] + left["would_prune"] <= 4
    assert listed(command, "job:1") == [("job:1", 0, "pruned", 2)]


@pytest.mark.parametrize("age", ["", "1y", "-1", "soon", "1 d", "30", "0"])
def test_an_age_that_cannot_be_read_is_wrong_usage(command: Command, age: str) -> None:
    assert command("prune", "--older-than", age).exit_code == 2


def test_migrate_says_what_it_did(command: Command) -> None:
    assert command.json("migrate") == [{"before": SCHEMA_VERSION, "after": SCHEMA_VERSION}]
    asyncio.run(executed(command.url, "DELETE FROM monostream_schema WHERE version > 1"))
    upgraded = f"the schema was upgraded from version 1 to {SCHEMA_VERSION}\n"
    assert command("migrate").stdout == upgraded


@pytest.mark.parametrize("url", ["sqlite://chat.db", "sqlite+pysqlite:///chat.db"])
def test_a_sqlite_url_that_names_no_file_is_refused_in_one_line(url: str) -> None:
    for arguments in (["ls"], ["doctor"], ["stop", "s"], ["migrate"]):
        result = Command(url)(*arguments)
        assert (result.exit_code, result.stdout) == (2, ""), result.stderr
        assert result.stderr.startswith("Error: ") and result.stderr.count("\n") == 1


def test_a_file_that_does_not_exist_is_not_created(tmp_path: Path) -> None:
    path = tmp_path / "typo.db"
    for arguments in (["ls"], ["doctor"], ["prune", "--older-than", "1d"]):
        result = Command(f"sqlite:///{path}")(*arguments)
        assert (result.exit_code, result.stdout) == (1, "")
        assert "no such SQLite file" in result.stderr
    assert not path.exists()


def test_migrate_creates_a_database(tmp_path: Path) -> None:
    new = Command(f"sqlite:///{tmp_path / 'new.db'}")
    assert new.json("migrate") == [{"before": 0, "after": SCHEMA_VERSION}]
    assert new.json("ls") == []


@pytest.mark.parametrize(
    "url",
    ["memory://", "mysql://u:hunter2@h/db", "nonsense", "postgresql+psycopg://u:hunter2@h/db"],
)
def test_a_url_that_cannot_be_used_is_wrong_usage(url: str) -> None:
    result = Command(url)("ls")
    assert result.exit_code == 2
    assert "hunter2" not in result.output


def test_a_database_that_is_down_is_named_without_its_password() -> None:
    down = Command("postgresql://me:hunter2@127.0.0.1:9/db")
    for arguments in (["ls"], ["migrate"], ["doctor"], ["tail", "s"]):
        result = down(*arguments)
        assert result.exit_code == 1
        assert "hunter2" not in result.output + str(result.exception)


def test_tail_follows_a_publisher_in_another_process(command: Command) -> None:
    async def publish(service: DurableStreamService[Any]) -> None:
        async with service.publisher("live") as pub:
            await pub.write({"type": "text-start", "id": "t"})
            tail = asyncio.create_task(asyncio.to_thread(command.json, "tail", "live"))
            for _ in range(20):
                await pub.write({"type": "text-delta", "id": "t", "delta": "x"})
                await asyncio.sleep(0.05)
        chunks = await tail
        assert [each["id"] for each in chunks] == [*range(len(chunks))]
        assert chunks[-1]["chunk"]["type"] == "finish"

    # The command runs in a thread of this process, and takes its time.
    do(command.url, publish, lease=DEFAULT_LEASE)
