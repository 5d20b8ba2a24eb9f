"""Roles that may hear the wake-ups of a Postgres database: the answer for `inline="auto"`."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator, Callable, Sequence

import asyncpg
import pytest

from monostream_ai import DurableStreamService
from monostream_ai.errors import MonostreamError
from monostream_ai.interfaces import Store
from monostream_ai.notifiers.postgres import PostgresNotifier
from monostream_ai.observing import Measure, Statistics
from monostream_ai.stores.forwarding import ForwardingStore
from monostream_ai.stores.memory import MemoryStore
from monostream_ai.stores.postgres.connections import Statement
from monostream_ai.stores.sql import PostgresStore
from monostream_ai.testing import RecordingListener
from monostream_ai.types import Append, WakeUp
from tests.chunks import PROTOCOL
from tests.plugins.postgres import asyncpg_dsn


class Admin:
    """A superuser's connection to a database that no other role may connect to yet."""

    def __init__(self, connection: asyncpg.Connection, database: str) -> None:
        self.connection = connection
        self.database = database
        self._roles: list[str] = []

    async def run(self, *statements: str) -> None:
        for statement in statements:
            await self.connection.execute(statement)

    async def role(self, *grants: str, may: str = "LOGIN", connects: bool = True) -> str:
        role = f"outsider_{secrets.token_hex(4)}"
        await self.run(f"CREATE ROLE {role} {may}")
        self._roles.append(role)
        if connects:
            await self.run(f"GRANT CONNECT ON DATABASE {self.database} TO {role}")
        await self.run(*(f"GRANT {grant} TO {role}" for grant in grants))
        return role

    async def close(self) -> None:
        for role in reversed(self._roles):
            await self.run(f"DROP OWNED BY {role}", f"DROP ROLE {role}")
        await self.connection.close()


@pytest.fixture
async def admin(postgres_url: str) -> AsyncIterator[Admin]:
    connection = await asyncpg.connect(asyncpg_dsn(postgres_url))
    database = await connection.fetchval("SELECT current_database()")
    admin = Admin(connection, database)
    # Roles belong to the whole cluster; those of other tests must not count here.
    await admin.run(f"REVOKE CONNECT ON DATABASE {database} FROM PUBLIC")
    yield admin
    await admin.close()


@pytest.fixture
async def store(postgres_url: str) -> AsyncIterator[PostgresStore]:
    store = PostgresStore.from_url(postgres_url)
    await store.setup()
    yield store
    await store.aclose()


@pytest.fixture
async def notifier(postgres_url: str, store: Store) -> AsyncIterator[PostgresNotifier]:
    notifier = PostgresNotifier.from_url(postgres_url)
    notifier.lend_to(ForwardingStore(store))
    listener = await RecordingListener(notifier).start()
    yield notifier
    await listener.stop()
    await notifier.aclose()


READ = "SELECT ON stream_chunk"
TOKENS = "SELECT (writer) ON stream_version"
WRITE = "INSERT ON stream_chunk"


async def test_nobody_but_a_superuser_is_no_outsider(
    admin: Admin, notifier: PostgresNotifier
) -> None:
    assert await notifier.is_confidential()


@pytest.mark.parametrize(
    ("grants", "confidential"),
    [
        ((), False),
        ((READ,), True),
        ((READ, TOKENS), False),
        ((READ, "SELECT ON stream_version"), False),
        ((READ, "SELECT (stream_id, version, state) ON stream_version"), True),
        ((READ, TOKENS, WRITE), True),
        ((TOKENS, WRITE), False),
        (("SELECT (stream_id) ON stream_chunk",), False),
        (("pg_read_all_data",), False),
        (("pg_read_all_data", "pg_write_all_data"), True),
    ],
)
async def test_a_role_that_may_connect_must_read_all_chunks_and_forge_none(
    admin: Admin, notifier: PostgresNotifier, grants: tuple[str, ...], confidential: bool
) -> None:
    await admin.role(*grants)
    assert await notifier.is_confidential() == confidential


async def test_a_role_that_may_not_connect_or_log_in_hears_nothing(
    admin: Admin, notifier: PostgresNotifier
) -> None:
    await admin.role(connects=False)
    await admin.role(may="NOLOGIN")
    assert await notifier.is_confidential()


async def test_a_grant_to_everybody_counts_for_each_role(
    admin: Admin, notifier: PostgresNotifier
) -> None:
    await admin.role(connects=False)
    await admin.run(f"GRANT CONNECT ON DATABASE {admin.database} TO PUBLIC")
    assert not await notifier.is_confidential()


async def test_a_right_that_comes_through_another_role_counts(
    admin: Admin, notifier: PostgresNotifier
) -> None:
    readers = await admin.role(READ, may="NOLOGIN")
    await admin.role(readers)
    assert await notifier.is_confidential()


async def test_rows_that_a_policy_may_hide_are_confidential_to_nobody(
    admin: Admin, notifier: PostgresNotifier
) -> None:
    await admin.run("ALTER TABLE stream_chunk ENABLE ROW LEVEL SECURITY")
    assert not await notifier.is_confidential()


async def test_the_tables_of_a_schema_need_the_right_to_use_it(
    postgres_url: str, admin: Admin, notifier: PostgresNotifier
) -> None:
    store = PostgresStore.from_url(postgres_url, schema="chat")
    await store.setup()
    notifier.lend_to(store)
    assert await notifier.is_confidential()
    role = await admin.role("SELECT ON chat.stream_chunk")
    assert not await notifier.is_confidential()
    await admin.run(f"GRANT USAGE ON SCHEMA chat TO {role}")
    assert await notifier.is_confidential()
    await store.aclose()


async def test_without_tables_or_a_store_nobody_knows(postgres_url: str, admin: Admin) -> None:
    notifier = PostgresNotifier.from_url(postgres_url)
    listener = await RecordingListener(notifier).start()
    assert not await notifier.is_confidential()
    notifier.lend_to(MemoryStore())
    assert not await notifier.is_confidential()
    store = PostgresStore.from_url(postgres_url)
    notifier.lend_to(store)
    assert not await notifier.is_confidential()
    await store.setup()
    assert await notifier.is_confidential()
    await listener.stop()
    await notifier.aclose()
    await store.aclose()


class Encrypting(PostgresStore):
    """Would encrypt what it appends."""

    async def append(
        self, appends: Sequence[Append], *, lease: float
    ) -> list[MonostreamError | None]:
        raise AssertionError("nobody appends")


class Watching(ForwardingStore):
    append = Encrypting.append  # type: ignore[assignment]  # anything but the inherited one


async def test_payloads_that_the_tables_do_not_show_are_not_shown_by_wake_ups(
    postgres_url: str, admin: Admin, store: PostgresStore, notifier: PostgresNotifier
) -> None:
    assert await notifier.is_confidential()
    encrypting = Encrypting.from_url(postgres_url)
    for hidden in (encrypting, ForwardingStore(encrypting), Watching(store)):
        notifier.lend_to(hidden)
        assert not await notifier.is_confidential()
    await encrypting.aclose()


async def test_an_observer_changes_no_answer(
    postgres_url: str, admin: Admin, store: PostgresStore
) -> None:
    notifier = PostgresNotifier.from_url(postgres_url)
    observed = DurableStreamService(store, notifier, PROTOCOL, observer=Ignoring())
    async with observed:
        await observed.ready()
        assert await notifier.is_confidential()


class Ignoring:
    def observe(self, measure: Measure, value: float) -> None:
        pass

    def watch(self, statistics: Callable[[], Statistics]) -> None:
        pass


async def test_many_streams_share_a_notification_and_a_big_one_has_its_own(
    admin: Admin, notifier: PostgresNotifier
) -> None:
    payloads: list[str] = []
    await admin.connection.add_listener("monostream", lambda *heard: payloads.append(heard[3]))
    await notifier.notify([WakeUp(f"s{number}", 0, 0, "x" * 1000) for number in range(20)])
    await admin.connection.fetchval("SELECT 1")
    # The self-test of the listener may come in between.
    sizes = [len(payload) for payload in payloads if not payload.startswith("?")]
    assert len(sizes) == 3
    assert max(sizes) > 7000


class BrokenOnce(PostgresNotifier):
    """Loses its first connection in the moment in which it begins to hear."""

    breaks = True

    async def _self_test(self, nonce: str, heard: asyncio.Event) -> None:
        await super()._self_test(nonce, heard)
        if self.breaks:
            self.breaks = False
            async with self._connections.lend() as connection:
                await connection.execute(END_LISTENERS, {}, timeout=5.0)
            # The driver learns of it by its socket.
            await asyncio.sleep(0.1)


END_LISTENERS = Statement(
    "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity "
    "WHERE datname = current_database() AND query LIKE 'LISTEN%'"
)


async def test_a_connection_that_breaks_at_once_is_waited_for_again(
    admin: Admin, postgres_url: str, store: PostgresStore
) -> None:
    notifier = BrokenOnce.from_url(postgres_url)
    notifier.lend_to(store)
    asking = asyncio.create_task(notifier.is_confidential())
    listener = await RecordingListener(notifier).start()

    async with asyncio.timeout(20):
        assert await asking

    assert not notifier.breaks
    await listener.stop()
    await notifier.aclose()
