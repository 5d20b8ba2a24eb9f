"""Limits of a database role are told by name, and with the statement that lifts them."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import asyncpg
import pytest
from sqlalchemy import make_url
from sqlalchemy.ext.asyncio import create_async_engine

from monostream_ai import create_service
from monostream_ai.diagnosis import diagnose
from monostream_ai.errors import MissingPrivilege, SchemaMissing, StoreUnavailable
from monostream_ai.notifiers.postgres import PostgresNotifier
from monostream_ai.stores.sql import PostgresStore
from monostream_ai.types import WakeUp
from tests.chunks import FINISH, PROTOCOL
from tests.cli.conftest import Command
from tests.plugins.postgres import asyncpg_dsn

PASSWORD = "s3cret"


@pytest.fixture
async def role(database: asyncpg.Connection) -> AsyncIterator[str]:
    name = f"Limited {secrets.token_hex(4)}"
    await database.execute(f"CREATE ROLE \"{name}\" LOGIN PASSWORD '{PASSWORD}'")
    yield name
    await database.execute(f'DROP OWNED BY "{name}"; DROP ROLE "{name}"')


@pytest.fixture
def url(postgres_url: str, role: str) -> str:
    """The URL of the database for the role."""
    url = make_url(postgres_url).set(username=role, password=PASSWORD)
    return url.render_as_string(hide_password=False)


@pytest.fixture
async def closed(database: asyncpg.Connection, role: str) -> str:
    """Let nobody connect who is not named; return the statement that would let the role."""
    name = await database.fetchval("SELECT current_database()")
    await database.execute(f"REVOKE CONNECT ON DATABASE {name} FROM PUBLIC")
    return f'GRANT CONNECT ON DATABASE {name} TO "{role}"'


async def made_by_the_owner(postgres_url: str) -> None:
    store = PostgresStore.from_url(postgres_url)
    await store.setup()
    await store.aclose()


async def grant_tables(database: asyncpg.Connection, role: str) -> None:
    await database.execute(
        f'GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO "{role}"'
    )


DOORS: dict[str, Callable[[Any], Awaitable[object]]] = {
    "ready": lambda service: service.ready(),
    "status": lambda service: service.status("s"),
    "publisher": lambda service: service.publisher("s").open(),
}


@pytest.mark.parametrize("door", DOORS)
@pytest.mark.parametrize("create_tables", [True, False])
@pytest.mark.parametrize("lent", [True, False], ids=["engine", "url"])
async def test_a_role_that_may_not_connect_is_told_so(
    url: str, closed: str, door: str, create_tables: bool, lent: bool
) -> None:
    engine = create_async_engine(url)
    service = create_service(engine if lent else url, PROTOCOL, create_tables=create_tables)
    with pytest.raises(MissingPrivilege) as caught:
        await DOORS[door](service)
    await service.aclose()
    if create_tables:
        with pytest.raises(MissingPrivilege, match="GRANT CONNECT"):
            async with create_service(engine if lent else url, PROTOCOL):
                pass
    await engine.dispose()
    assert caught.value.grants == (closed,)
    assert PASSWORD not in f"{caught.value}{caught.value.__cause__}"


async def test_the_commands_and_doctor_tell_a_role_that_it_may_not_connect(
    url: str, closed: str
) -> None:
    for arguments in (["ls"], ["inspect", "s"], ["migrate"]):
        result = await asyncio.to_thread(Command(url), *arguments)
        assert (result.exit_code, closed in result.stderr) == (1, True)
        assert len(result.stderr.splitlines()) == 1
    *_, found = [finding async for finding in diagnose(url)]
    assert (found.check, found.level, found.advice) == ("connect", "fail", closed)


async def test_doctor_names_what_the_connection_that_listens_lacks(
    postgres_url: str, url: str, closed: str
) -> None:
    found = {each.check: each async for each in diagnose(postgres_url, listen_url=url)}
    assert closed in found["presence"].found
    assert "MissingPrivilege" in found["listen"].found


async def test_a_listener_reports_that_its_role_may_not_connect(url: str, closed: str) -> None:
    reported = asyncio.get_running_loop().create_future()
    notifier = PostgresNotifier.from_url(url)

    def report(source: str, error: BaseException) -> None:
        if not reported.done():
            reported.set_result((source, error))

    unlisten = await notifier.listen(Ears(), report)
    async with asyncio.timeout(10):
        source, error = await reported
    await unlisten()
    await notifier.aclose()
    assert source == "listen"
    assert isinstance(error, MissingPrivilege)
    assert error.grants == (closed,)


class Ears:
    def on_wake_up(self, wake_up: WakeUp) -> None: ...

    def on_resync(self) -> None: ...


@pytest.mark.parametrize(
    ("statement", "reason"),
    [
        ('ALTER ROLE "{role}" NOLOGIN', "login was refused.* has LOGIN"),
        ('ALTER ROLE "{role}" CONNECTION LIMIT 0', "too many connections"),
        ("ALTER DATABASE {name} ALLOW_CONNECTIONS false", "accepts no connections"),
    ],
)
async def test_a_connect_that_fails_otherwise_is_waited_out_like_an_outage(
    postgres_server: str, url: str, role: str, statement: str, reason: str
) -> None:
    # From another database: nobody closes the one that he is in.
    admin = await asyncpg.connect(asyncpg_dsn(postgres_server))
    await admin.execute(statement.format(role=role, name=make_url(url).database))
    await admin.close()
    service = create_service(url, PROTOCOL, outage_timeout=0.1)
    with pytest.raises(StoreUnavailable, match=reason) as caught:
        await service.status("s")
    await service.aclose()
    assert PASSWORD not in str(caught.value)


@pytest.mark.parametrize("parameter", ["log_statement=all", "work_mem=much", "no_such=1"])
async def test_a_parameter_that_the_server_refuses_is_told_apart_from_privileges(
    url: str, parameter: str
) -> None:
    refused = make_url(url).update_query_dict({"options": f"-c {parameter}"})
    service = create_service(
        refused.render_as_string(hide_password=False), PROTOCOL, outage_timeout=0.1
    )
    with pytest.raises(StoreUnavailable, match="refused a parameter"):
        await service.status("s")
    await service.aclose()


@pytest.mark.parametrize("recorded", [True, False], ids=["migrate", "alembic"])
async def test_a_service_needs_no_create_where_the_tables_are_up_to_date(
    database: asyncpg.Connection, postgres_url: str, url: str, role: str, recorded: bool
) -> None:
    await made_by_the_owner(postgres_url)
    if not recorded:
        await database.execute("TRUNCATE monostream_schema")
    await grant_tables(database, role)
    async with create_service(url, PROTOCOL) as service, service.publisher("s") as pub:
        await pub.write(FINISH)
    migrated = await asyncio.to_thread(Command(url), "migrate")
    assert migrated.exit_code == (0 if recorded else 1)
    assert recorded or "run this as their owner" in migrated.stderr


@pytest.mark.parametrize("table", ["stream_version", "stream_request"])
async def test_a_role_that_may_not_make_the_tables_is_sent_to_the_migrations_first(
    database: asyncpg.Connection, postgres_url: str, url: str, role: str, table: str
) -> None:
    await made_by_the_owner(postgres_url)
    await database.execute(f"DROP TABLE {table}")
    await grant_tables(database, role)
    with pytest.raises(MissingPrivilege) as caught:
        async with create_service(url, PROTOCOL):
            pass
    advice, _, grants = str(caught.value).partition("; or ")
    assert "may not create or upgrade the tables: let their owner run your migrations" in advice
    assert "create_tables=False" in advice
    assert grants == f'GRANT CREATE ON SCHEMA public TO "{role}"'


async def test_a_role_that_may_not_make_a_schema_is_told_what_it_lacks(url: str) -> None:
    store = PostgresStore.from_url(url, schema="new")
    with pytest.raises(MissingPrivilege, match="GRANT CREATE ON DATABASE"):
        await store.setup()
    await store.aclose()


async def test_a_missing_privilege_on_a_table_is_named_as_the_grant(
    database: asyncpg.Connection, postgres_url: str, url: str, role: str
) -> None:
    await made_by_the_owner(postgres_url)
    await database.execute(
        f'GRANT SELECT ON ALL TABLES IN SCHEMA public TO "{role}"; '
        f'GRANT INSERT, UPDATE ON stream_version TO "{role}"'
    )
    async with create_service(url, PROTOCOL) as service:
        await service.ready()
        with pytest.raises(MissingPrivilege) as caught:
            async with service.publisher("s") as pub:
                await pub.write(FINISH)
    message = str(caught.value)
    assert f'GRANT INSERT, DELETE ON public.stream_chunk TO "{role}"' in message
    assert "[SQL" not in message
    assert "INSERT INTO" not in message
    assert caught.value.__cause__ is None or "[SQL" not in str(caught.value.__cause__)


async def test_a_role_without_create_learns_that_tables_are_missing(url: str) -> None:
    async with create_service(url, PROTOCOL, create_tables=False) as service:
        with pytest.raises(SchemaMissing):
            await service.ready()
