"""Which processes Postgres shows to be dead, and which it does not."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import asyncpg
import pytest
from sqlalchemy.engine import make_url

from monostream_ai import DurableStreamService, create_service
from monostream_ai.errors import PublisherLost
from monostream_ai.stores.postgres.holders import NAMESPACE
from monostream_ai.stores.postgres.presence import GRACE
from monostream_ai.stores.sql import PostgresStore
from monostream_ai.types import Lease, Opening
from tests.chunks import FINISH, PROTOCOL, Chunk, text
from tests.plugins.postgres import asyncpg_dsn
from tests.stores.test_pooler import pooled_url  # noqa: F401  (a fixture)

Service = DurableStreamService[Chunk]

LEASE = 600.0
"""Seconds that no test waits."""

LONG_ENOUGH = 3.5
"""Seconds after which a process that is taken for dead would have lost its version."""


@pytest.fixture
async def store(postgres_url: str, no_task_is_left: None) -> AsyncIterator[PostgresStore]:
    store = PostgresStore.from_url(postgres_url)
    await store.setup()
    yield store
    await store.aclose()


async def server_of(database: asyncpg.Connection) -> str:
    return str(
        await database.fetchval(
            "SELECT CAST(extract(epoch FROM pg_postmaster_start_time()) * 1e6 AS bigint)"
        )
    )


async def held_by(database: asyncpg.Connection, store: PostgresStore, holder: str | None) -> Lease:
    """Open a version of a process of this name."""
    lease = Lease("s", await store.acquire("s", None, Opening("token", LEASE)), "token")
    await database.execute("UPDATE stream_version SET holder = $1", holder)
    return lease


async def lease_left(store: PostgresStore) -> float:
    info = await store.info("s")
    assert info is not None
    return info.lease_left


async def test_a_version_without_a_lock_keeps_a_short_lease(
    database: asyncpg.Connection, store: PostgresStore
) -> None:
    await held_by(database, store, f"{await server_of(database)}:7")
    assert await store.presence.cut_short() == 1
    assert 0 < await lease_left(store) <= GRACE
    assert await store.presence.cut_short() == 1
    assert 0 < await lease_left(store) <= GRACE


async def test_its_publisher_takes_the_lease_back_by_a_renewal(
    database: asyncpg.Connection, store: PostgresStore
) -> None:
    lease = await held_by(database, store, f"{await server_of(database)}:7")
    await store.presence.cut_short()
    assert await store.renew([lease], lease=LEASE) == [None]
    assert await lease_left(store) > GRACE
    assert await store.presence.cut_short() == 0


@pytest.mark.parametrize("function", ["pg_advisory_lock", "pg_advisory_lock_shared"])
async def test_a_lock_of_either_mode_proves_life(
    database: asyncpg.Connection, store: PostgresStore, function: str
) -> None:
    await held_by(database, store, f"{await server_of(database)}:7")
    await database.execute(f"SELECT {function}({NAMESPACE}, 7)")
    assert await store.presence.cut_short() == 0


async def test_a_lock_on_one_number_of_64_bits_is_of_another_program(
    database: asyncpg.Connection, store: PostgresStore
) -> None:
    await held_by(database, store, f"{await server_of(database)}:7")
    await database.execute(f"SELECT pg_advisory_lock({NAMESPACE << 32 | 7})")
    assert await store.presence.cut_short() == 1


async def test_a_lock_in_another_database_is_of_another_process(
    database: asyncpg.Connection, store: PostgresStore, postgres_server: str
) -> None:
    await held_by(database, store, f"{await server_of(database)}:7")
    elsewhere = await asyncpg.connect(asyncpg_dsn(postgres_server))
    await elsewhere.execute(f"SELECT pg_advisory_lock({NAMESPACE}, 7)")
    assert await store.presence.cut_short() == 1
    await elsewhere.close()


@pytest.mark.parametrize("holder", [None, "", "7", "1:7", "x:y", "12:34:56", ":"])
async def test_a_holder_of_another_server_or_release_is_unknown(
    database: asyncpg.Connection, store: PostgresStore, holder: str | None
) -> None:
    await held_by(database, store, holder)
    assert await store.presence.cut_short() == 0
    assert await lease_left(store) > GRACE


async def test_a_row_that_is_being_written_is_left_alone(
    database: asyncpg.Connection, store: PostgresStore
) -> None:
    await held_by(database, store, f"{await server_of(database)}:7")
    async with database.transaction():
        await database.execute("SELECT 1 FROM stream_version FOR NO KEY UPDATE")
        async with asyncio.timeout(5):
            await store.presence.cut_short()
    assert await lease_left(store) > GRACE


async def test_a_renewal_waits_for_a_row_that_is_locked_for_a_moment(
    database: asyncpg.Connection, store: PostgresStore
) -> None:
    """The lock may be that of a process that cuts the lease short."""
    lease = await held_by(database, store, f"{await server_of(database)}:7")
    async with database.transaction():
        await database.execute(
            "UPDATE stream_version SET lease_until = clock_timestamp(), lease_seconds = 0"
        )
        renewal = asyncio.create_task(store.renew([lease], lease=LEASE))
        await asyncio.sleep(0.01)
    assert await renewal == [None]
    assert await lease_left(store) > GRACE


async def test_a_key_that_another_program_holds_is_not_taken(
    postgres_url: str,
    database: asyncpg.Connection,
    no_task_is_left: None,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    keys = iter([7, 8])
    monkeypatch.setattr(
        "monostream_ai.stores.postgres.holders.secrets.randbits", lambda bits: next(keys)
    )
    await database.execute(f"SELECT pg_advisory_lock({NAMESPACE}, 7)")
    async with create_service(postgres_url, PROTOCOL, lease=LEASE) as service:
        await service.publisher("s").open()
        holder = await database.fetchval("SELECT holder FROM stream_version")
        assert holder == f"{await server_of(database)}:8"


async def test_the_listening_connection_holds_the_lock(
    postgres_url: str, database: asyncpg.Connection, no_task_is_left: None
) -> None:
    async with create_service(postgres_url, PROTOCOL, lease=LEASE) as service:
        await service.publisher("s").open()
        holder = await database.fetchval("SELECT holder FROM stream_version")
        server, _, key = holder.partition(":")
        assert server == await server_of(database)
        ours = (
            "FROM pg_stat_activity AS a WHERE a.application_name = 'monostream_ai' "
            "AND a.datname = current_database()"
        )
        locking = (
            "AND EXISTS (SELECT 1 FROM pg_locks AS l WHERE l.pid = a.pid AND l.classid = $1 "
            "AND l.objid = $2 AND l.objsubid = 2 AND l.mode = 'ShareLock')"
        )
        assert (
            await database.fetchval(f"SELECT count(*) {ours} {locking}", NAMESPACE, int(key)) == 1
        )
        # The store's, the one that sends wake-ups, and the one that hears them.
        assert await database.fetchval(f"SELECT count(*) {ours}") <= 3


async def test_behind_a_pooler_the_lease_alone_decides(
    pooled_url: str,  # noqa: F811
    database: asyncpg.Connection,
    no_task_is_left: None,
) -> None:
    async with create_service(pooled_url, PROTOCOL, lease=LEASE) as service:
        await service.publisher("s").open()
        assert await database.fetchval("SELECT holder FROM stream_version") is None
        held = "SELECT count(*) FROM pg_locks WHERE classid = $1 AND objsubid = 2"
        assert await database.fetchval(held, NAMESPACE) == 0


async def test_behind_a_pooler_a_direct_address_holds_the_lock(
    pooled_url: str,  # noqa: F811
    postgres_url: str,
    database: asyncpg.Connection,
    no_task_is_left: None,
) -> None:
    async with create_service(
        pooled_url, PROTOCOL, lease=LEASE, listen_url=postgres_url
    ) as service:
        await service.publisher("s").open()
        assert await database.fetchval("SELECT holder FROM stream_version") is not None


@pytest.mark.parametrize(
    "revoked",
    [
        "EXECUTE ON FUNCTION pg_try_advisory_lock_shared(integer, integer)",
        "SELECT ON pg_locks",
    ],
)
async def test_a_role_that_may_not_lock_is_left_to_its_leases(
    postgres_url: str, database: asyncpg.Connection, no_task_is_left: None, revoked: str
) -> None:
    url = make_url(postgres_url)
    role = f"poor_{url.database}"
    await database.execute(f"REVOKE {revoked} FROM PUBLIC")
    await database.execute(f"CREATE ROLE {role} LOGIN")
    await database.execute(f"GRANT CREATE, USAGE ON SCHEMA public TO {role}")
    poor = url.set(username=role).render_as_string(hide_password=False)
    try:
        async with create_service(poor, PROTOCOL, lease=LEASE) as service:
            async with service.publisher("s") as pub:
                await pub.write(text(0))
                assert await database.fetchval("SELECT holder FROM stream_version") is None
                reading = service.subscribe("s")
                assert await anext(reading) == text(0)
                await pub.write(FINISH)
                assert [chunk async for chunk in reading] == [FINISH]
            assert await service.unattended() == []
    finally:
        await database.execute(f"DROP OWNED BY {role}")
        await database.execute(f"DROP ROLE {role}")


async def test_nothing_is_asked_while_nothing_is_open(
    postgres_url: str, database: asyncpg.Connection, no_task_is_left: None
) -> None:
    async with create_service(postgres_url, PROTOCOL, lease=LEASE) as service:
        async with service.publisher("s") as pub:
            await pub.write(FINISH)
        await asyncio.sleep(1.5)
        asked = (
            "SELECT max(query_start) FROM pg_stat_activity "
            "WHERE application_name = 'monostream_ai' AND datname = current_database()"
        )
        before = await database.fetchval(asked)
        await asyncio.sleep(2.5)
        assert await database.fetchval(asked) == before


async def test_all_services_that_read_a_version_of_a_dead_process_are_told(
    postgres_url: str, database: asyncpg.Connection, store: PostgresStore
) -> None:
    await held_by(database, store, f"{await server_of(database)}:7")
    await database.execute(f"SELECT pg_advisory_lock({NAMESPACE}, 7)")
    async with (
        create_service(postgres_url, PROTOCOL, lease=LEASE) as one,
        create_service(postgres_url, PROTOCOL, lease=LEASE) as other,
    ):
        subscriptions = [each.subscribe("s") for each in (one, other)]
        readers = [asyncio.create_task(each.next_batch()) for each in subscriptions]
        await asyncio.wait(readers, timeout=LONG_ENOUGH)
        assert not any(reader.done() for reader in readers)
        await database.execute("SELECT pg_advisory_unlock_all()")
        results = await asyncio.gather(*readers, return_exceptions=True)
        assert [type(result) for result in results] == [PublisherLost, PublisherLost]
