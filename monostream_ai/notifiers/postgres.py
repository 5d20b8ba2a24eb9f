"""Wake-ups through Postgres LISTEN/NOTIFY: one listening connection for each process.

A statement of its own sends them: within the transaction of the data, NOTIFY would serialise the
commits of the whole database.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
import secrets
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, nullcontext
from typing import TYPE_CHECKING, Any, Final, Self

from monostream_ai.interfaces import Listener, Store
from monostream_ai.notifiers.packing import MAX_PAYLOAD_BYTES, pack, unpack
from monostream_ai.notifiers.serving import (
    PROBE_INTERVAL,
    PROBE_TIMEOUT,
    SELF_TEST_TIMEOUT,
    Deaf,
    SubscribingNotifier,
)
from monostream_ai.stores.forwarding import ForwardingStore
from monostream_ai.stores.postgres.connections import Connections, Statement
from monostream_ai.stores.postgres.engine import address_of, make_engine, require_asyncpg
from monostream_ai.stores.postgres.privileges import outsider
from monostream_ai.stores.postgres.sessions import Session, open_session, unbroken
from monostream_ai.stores.postgres.store import PostgresStore
from monostream_ai.stores.postgres.urls import PostgresURL, read_url
from monostream_ai.stores.sql.translation import sqlstate
from monostream_ai.types import WakeUp

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncEngine

logger = logging.getLogger(__name__)

CHANNEL: Final = "monostream"

MAX_CHANNEL: Final = 63
"""Bytes. Source: PostgreSQL 18, `src/backend/commands/async.c`, `Async_Notify`."""

NOTIFY_TIMEOUT: Final = 2.0
"""Seconds after which a sending connection counts as silent. Readers poll, so they miss the wake-up
for a few seconds at most.
"""

MOST_CARRIED: Final = MAX_PAYLOAD_BYTES - 128
"""Bytes that a wake-up may carry: beside it, a stream id of some 60 bytes has room as well."""

_QUEUE_FILE_MISSING: Final = "58P01"

# Nothing is lost with a wake-up, so its commit need not wait for the disk.
_NOTIFY = Statement(
    "SELECT set_config('synchronous_commit', 'off', true), count(pg_notify(:channel, p)) "
    "FROM unnest(CAST(:payloads AS text[])) AS p"
)


def channel_of(schema: str | None) -> str:
    """Return the channel of the stores whose tables are in this schema.

    Most search paths find `public`, so stores with and without that name hear each other.
    """
    if schema is None or schema == "public":
        return CHANNEL
    channel = f"{CHANNEL}:{schema}"
    if len(channel.encode()) <= MAX_CHANNEL:
        return channel
    return f"{CHANNEL}:{hashlib.sha256(schema.encode()).hexdigest()[:32]}"


class PostgresNotifier(SubscribingNotifier):
    """Listens on a connection of its own, taken out of the pool, and sends through the pool.

    Args:
        engine: Borrowed: `aclose` leaves it open. It must not lead through a pooler in transaction
            mode, which accepts LISTEN and delivers nothing. The self-test notices that, and readers
            poll.
        channel: Processes hear each other on the same channel of the same database. Stores in
            different schemas have different ones: see `channel_of`.
    Raises:
        InvalidEngine: The engine is not an async one of asyncpg.
    """

    def __init__(self, engine: AsyncEngine, *, channel: str = CHANNEL) -> None:
        require_asyncpg(engine, type(self).__name__)
        super().__init__(channel)
        self._engine = engine
        self._connections = Connections(engine)
        self._store: PostgresStore | None = None
        self._keeps_payloads = False
        self._listening: list[Session] = []
        self._hears = asyncio.Event()
        self._outsider: tuple[str | None] | None = None
        """The role that could learn or forge chunks, by the latest answer; None before it."""

    @classmethod
    def from_url(cls, url: str | PostgresURL, *, channel: str | None = None) -> Self:
        """Return a notifier with an engine of its own, closed by `aclose`; URLs as for
        `PostgresStore.from_url`.

        Args:
            channel: By default that of the URL's `schema`.
        """
        address = read_url(url)
        if channel is None:
            channel = channel_of(address.schema)
        notifier = cls(make_engine(address, pool_size=2), channel=channel)
        notifier._owned = True
        return notifier

    def lend_to(self, store: Store) -> None:
        self._keeps_payloads = store.keeps_payloads
        while isinstance(store, ForwardingStore):
            store = store.inner
        if isinstance(store, PostgresStore):
            self._store = store
            store.presence.is_lent = True

    @property
    def most_carried(self) -> int:
        return MOST_CARRIED

    async def is_confidential(self) -> bool:
        """Whether every role that may connect may read all chunks, and may write or cannot read
        the tokens of writers. False without a store of Postgres that keeps payloads as they are.
        Waits until a listener is connected.

        Raises:
            TimeoutError: The database did not answer in time.
        """
        if self._store is None or not self._keeps_payloads:
            return False
        # On the connection that listens, which is idle: the pool would open one more.
        while not self._listening:
            # The connection may break before this task runs.
            await self._hears.wait()
        session = self._listening[-1]
        role = await outsider(session, self._store.schema, timeout=NOTIFY_TIMEOUT)
        # Again, so that LISTEN stays the statement by which an operator finds the session.
        channel = self._channel.replace('"', '""')
        await session.fetch(f'LISTEN "{channel}"', timeout=NOTIFY_TIMEOUT)
        if self._outsider != (role,):
            self._outsider = (role,)
            if role is None:
                logger.info("wake-ups may carry chunks: every role that hears them may read them")
            else:
                logger.info("wake-ups carry no chunks: the role %r could learn or forge them", role)
        return role is None

    def _address(self) -> str:
        return address_of(self._engine)

    async def notify(self, wake_ups: Sequence[WakeUp]) -> None:
        payloads = pack(wake_ups)
        await self._send(payloads)
        logger.debug("sent %d wake-ups in %d notifications", len(wake_ups), len(payloads))

    async def aclose(self) -> None:
        await super().aclose()
        if self._owned:
            await self._engine.dispose()

    async def _send(self, payloads: list[str]) -> None:
        async with self._connections.lend() as connection:
            await connection.execute(
                _NOTIFY, {"channel": self._channel, "payloads": payloads}, timeout=NOTIFY_TIMEOUT
            )

    @asynccontextmanager
    async def _subscribed(self, listener: Listener) -> AsyncIterator[Session]:
        heard = asyncio.Event()
        nonce = f"?{secrets.token_hex(8)}"

        def on_notification(connection: object, pid: int, channel: str, payload: str) -> None:
            if payload == nonce:
                heard.set()
            # Self-tests of other listeners begin with "?" as well.
            elif not payload.startswith("?"):
                self._deliver(payload, listener)

        async with open_session(self._engine) as session:
            presence = None if self._store is None else self._store.presence
            # First, so that LISTEN is the statement by which an operator finds the session.
            held = None if presence is None else await presence.lock(session)
            await unbroken(self._start_listening(session.driver, on_notification))
            await self._self_test(nonce, heard)
            async with nullcontext() if presence is None else presence.on(session, held):
                self._listening.append(session)
                self._hears.set()
                try:
                    yield session
                finally:
                    self._listening.remove(session)
                    if not self._listening:
                        self._hears.clear()

    async def _start_listening(self, driver: Any, callback: Callable[..., None]) -> None:
        try:
            await driver.add_listener(self._channel, callback)
        except Exception as error:
            if sqlstate(error) != _QUEUE_FILE_MISSING:
                raise
            # Before November 2025, Postgres could lose the file at the tail of the queue. Asking
            # for the usage moves the tail past it.
            await driver.fetchval("SELECT pg_notification_queue_usage()")
            await driver.add_listener(self._channel, callback)

    async def _self_test(self, nonce: str, heard: asyncio.Event) -> None:
        # Sent from another connection: behind a pooler, a connection may hear itself only.
        await unbroken(self._send([nonce]))
        try:
            async with asyncio.timeout(SELF_TEST_TIMEOUT):
                await heard.wait()
        except TimeoutError as error:
            logger.warning(
                "notifications do not arrive, so readers poll: "
                "does the URL lead through a pooler in transaction mode? "
                "Pass listen_url= with a direct connection."
            )
            raise Deaf from error

    async def _watch(self, subscription: Session, listener: Listener) -> None:
        # Wake-ups come by the callback, between these probes.
        await subscription.until_lost(interval=PROBE_INTERVAL, timeout=PROBE_TIMEOUT)
        logger.warning("the listening connection broke")

    def _deliver(self, payload: str, listener: Listener) -> None:
        try:
            wake_ups = unpack(payload)
        except ValueError:
            self.malformed += 1
            return
        for wake_up in wake_ups:
            listener.on_wake_up(wake_up)
