"""URLs as hosts of Postgres hand them out, tables in a schema, and named refusals."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import asyncpg
import pytest
from sqlalchemy import create_engine, make_url
from sqlalchemy.ext.asyncio import create_async_engine

from monostream_ai import DurableStreamService, create_service
from monostream_ai.errors import (
    InvalidEngine,
    InvalidSchema,
    InvalidURL,
    ReadOnlyDatabase,
    StoreUnavailable,
)
from monostream_ai.notifiers.postgres import PostgresNotifier
from monostream_ai.stores.postgres.urls import read_url
from monostream_ai.stores.sql import PostgresStore, SQLiteStore
from tests.chunks import FINISH, PROTOCOL, text

HOST = "postgresql://me:s%40cret@db.example.com"


@pytest.mark.parametrize(
    ("query", "arguments"),
    [
        ("connect_timeout=7", {"timeout": 7.0}),
        ("application_name=chat", {"server_settings": {"application_name": "chat"}}),
        ("options=-c%20work_mem%3D8MB", {"server_settings": {"options": "-c work_mem=8MB"}}),
        ("target_session_attrs=read-write", {"target_session_attrs": "read-write"}),
        ("gssencmode=prefer&sslcompression=0", {}),
        ("connection_limit=5&pool_timeout=3", {}),
    ],
)
def test_a_parameter_is_translated(query: str, arguments: dict[str, Any]) -> None:
    read = read_url(f"{HOST}/db?{query}")
    assert {key: read.arguments.get(key) for key in arguments} == arguments
    assert "s@cret" not in repr(read)


def test_what_is_without_meaning_is_ignored_with_one_log_line(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO)
    read_url(f"{HOST}/db?channel_binding=prefer&gssencmode=disable&sslsni=1")
    (record,) = caplog.records
    assert record.getMessage().endswith("ignored: channel_binding, gssencmode, sslsni")


@pytest.mark.parametrize(
    ("query", "key"),
    [
        ("gssencmode=require", "gssencmode"),
        ("sslmode=sometimes", "sslmode"),
        ("sslrootcert=/no/such/file", "sslrootcert"),
        ("sslmode=disable&channel_binding=require", "channel_binding"),
        ("connect_timeout=soon", "connect_timeout"),
        ("port=banana", "port"),
        ("frobnicate=1", "frobnicate"),
        ("target_session_attrs=best", "target_session_attrs"),
    ],
)
@pytest.mark.parametrize("door", ["service", "store", "notifier", "listen_url"])
def test_the_rest_is_refused_by_its_key_when_it_is_given(door: str, query: str, key: str) -> None:
    url = f"{HOST}/db?{query}"
    with pytest.raises(InvalidURL, match=key) as caught:
        match door:
            case "service":
                create_service(url)
            case "store":
                PostgresStore.from_url(url)
            case "notifier":
                PostgresNotifier.from_url(url)
            case _:
                create_service(f"{HOST}/db", listen_url=url)
    assert caught.value.key == key
    assert "s@cret" not in str(caught.value)


def test_several_hosts_are_tried_in_turn() -> None:
    read = read_url("postgresql://me@one:5433,two:5434/db?target_session_attrs=primary")
    assert read.servers == "one:5433, two:5434"
    assert read.url.query == {"host": "one,two", "port": "5433,5434"}


@pytest.mark.parametrize("query", ["pgbouncer=true", "statement_cache_size=0"])
def test_a_url_may_say_that_it_leads_through_a_pooler(query: str) -> None:
    assert read_url(f"{HOST}/db?{query}").pooler


async def test_a_hosted_url_serves_streams(postgres_url: str, database: asyncpg.Connection) -> None:
    url = make_url(postgres_url).update_query_dict(
        {
            "sslmode": "prefer",
            "channel_binding": "prefer",
            "connect_timeout": "10",
            "application_name": "hosted",
            "options": "-c work_mem=5MB",
            "keepalives_idle": "30",
            "target_session_attrs": "any",
        }
    )
    async with create_service(
        url.render_as_string(hide_password=False), PROTOCOL, create_tables=True
    ) as service:
        async with service.publisher("s") as pub:
            await pub.write(text(0), FINISH)
            names = (
                "SELECT application_name FROM pg_stat_activity WHERE application_name = 'hosted'"
            )
            assert await database.fetch(names)
        assert await service.chunks("s") == [text(0), FINISH]


@pytest.mark.parametrize("how", ["option", "url"])
async def test_two_schemas_are_as_separate_as_two_databases(
    postgres_url: str, database: asyncpg.Connection, how: str
) -> None:
    def service(schema: str) -> DurableStreamService[Any]:
        options: dict[str, Any] = {"create_tables": True, "poll_interval": 1.0}
        if how == "url":
            url = make_url(postgres_url).update_query_dict({"schema": schema})
            return create_service(url.render_as_string(hide_password=False), PROTOCOL, **options)
        return create_service(postgres_url, PROTOCOL, schema=schema, **options)

    names = ("one", 'The "second"; DROP')
    async with service(names[0]) as one, service(names[1]) as two, service(names[1]) as peer:
        async with one.publisher("s") as pub:
            await pub.write(text(1), FINISH)
        reader = peer.subscribe("s", timeout=20)
        async with two.publisher("s", watched=True, request={"n": 2}) as pub:
            await pub.write(text(2))
            assert await anext(reader) == text(2)
            await pub.write(FINISH)
        assert await one.chunks("s") == [text(1), FINISH]
        assert await two.request("s", 0) == {"n": 2}
        assert [info.stream_id for info in await peer.unattended()] == ["s"]
        assert await one.unattended() == []
        assert await one.delete("s")
        assert await two.chunks("s") == [text(2), FINISH]
        assert await two.prune(older_than=3600) == 0
    tables = (
        "SELECT count(*) FROM pg_tables WHERE tablename = 'stream_chunk' AND schemaname = ANY($1)"
    )
    assert await database.fetchval(tables, list(names)) == 2
    assert await database.fetchval("SELECT to_regclass('public.stream_chunk')") is None


@pytest.mark.parametrize("schema", ["", "x" * 64, "a\0b", 7])
def test_a_name_that_no_schema_can_have_is_refused(schema: Any) -> None:
    with pytest.raises(InvalidSchema):
        create_service(f"{HOST}/db", schema=schema)


def test_sqlite_has_no_schemas(tmp_path: Path) -> None:
    with pytest.raises(InvalidSchema, match="only Postgres"):
        create_service(f"sqlite:///{tmp_path}/s.db", schema="chat")


async def test_a_read_only_database_is_named(
    postgres_url: str, database: asyncpg.Connection
) -> None:
    store = PostgresStore.from_url(postgres_url)
    await store.setup()
    await store.aclose()
    url = make_url(postgres_url).update_query_dict(
        {"options": "-c default_transaction_read_only=on"}
    )
    store = PostgresStore.from_url(url.render_as_string(hide_password=False))
    service = DurableStreamService(store, None, PROTOCOL, outage_timeout=0.2)
    async with service:
        with pytest.raises(ReadOnlyDatabase, match="takes no writes"):
            await service.publisher("s").open()


async def test_a_refused_connection_names_the_server() -> None:
    service = create_service("postgresql://me:s3cret@127.0.0.1:1/db", PROTOCOL, outage_timeout=0.2)
    with pytest.raises(StoreUnavailable, match=r"127\.0\.0\.1:1") as caught:
        await service.status("s")
    await service.aclose()
    assert "s3cret" not in str(caught.value)


@pytest.mark.parametrize("make", [PostgresStore, PostgresNotifier, SQLiteStore])
def test_an_engine_of_another_kind_is_refused_when_it_is_given(make: Any, tmp_path: Path) -> None:
    sync = create_engine(f"sqlite:///{tmp_path}/x.db")
    with pytest.raises(InvalidEngine, match="an object of Engine"):
        make(sync)
    other = (
        f"sqlite+aiosqlite:///{tmp_path}/x.db"
        if make is not SQLiteStore
        else ("postgresql+asyncpg://me@localhost/db")
    )
    with pytest.raises(InvalidEngine, match="cannot use an engine of"):
        make(create_async_engine(other))
    with pytest.raises(InvalidEngine):
        make("postgresql://me@localhost/db")
