"""Wake-ups through Postgres LISTEN/NOTIFY: one listening connection for each process, and never
data.

Notifications are sent by statements of their own: inside the data transaction they would serialise
the commits of the whole database.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from typing import Any, Final, Self

from sqlalchemy.ext.asyncio import AsyncEngine

from monostream_ai._backoff import Backoff
from monostream_ai.interfaces import BackgroundErrors, Listener
from monostream_ai.notifiers.packing import pack, unpack
from monostream_ai.notifiers.serving import ServingNotifier
from monostream_ai.stores.postgres.connections import Connections, Statement
from monostream_ai.stores.postgres.engine import make_engine
from monostream_ai.stores.sql.translation import sqlstate
from monostream_ai.types import WakeUp

logger = logging.getLogger(__name__)

CHANNEL: Final = "monostream"
PROBE_INTERVAL: Final = 15.0
"""Seconds between probes of the listening connection; a server that froze without closing its
socket is noticed by nothing else."""
PROBE_TIMEOUT: Final = 5.0
SELF_TEST_TIMEOUT: Final = 2.0
NOTIFY_TIMEOUT: Final = 2.0
"""Seconds after which the connection is taken for one that has gone silent; readers poll, so the
wake-up is not missed long.
"""
FIRST_RETRY: Final = 0.1
LAST_RETRY: Final = 5.0
DEAF_RETRY: Final = 60.0
"""Seconds before another self-test where notifications do not arrive."""

_QUEUE_FILE_MISSING: Final = "58P01"
# Nothing is lost with a wake-up, so its commit need not wait for the disk.
_NOTIFY = Statement(
    "SELECT set_config('synchronous_commit', 'off', true), count(pg_notify(:channel, p)) "
    "FROM unnest(CAST(:payloads AS text[])) AS p"
)


class PostgresNotifier(ServingNotifier):
    """Listens on a connection of its own, taken out of the pool, and sends through the pool.

    Args:
        engine: Borrowed: `aclose` leaves it open. It must not lead through a pooler in transaction
            mode, which accepts LISTEN and delivers nothing; the self-test notices that, and readers
            poll.
        channel: Processes hear each other on the same channel of the same database.
    """

    def __init__(self, engine: AsyncEngine, *, channel: str = CHANNEL) -> None:
        super().__init__()
        self._engine = engine
        self._connections = Connections(engine)
        self._channel = channel
        self._owned = False
        self.malformed = 0
        """Notifications on the channel that were not ours."""

    @classmethod
    def from_url(cls, url: str, *, channel: str = CHANNEL) -> Self:
        """Return a notifier with an engine of its own, closed by `aclose`; URLs as for
        `PostgresStore.from_url`.
        """
        notifier = cls(make_engine(url, pool_size=2), channel=channel)
        notifier._owned = True
        return notifier

    async def notify(self, wake_ups: Sequence[WakeUp]) -> None:
        await self._send(pack(wake_ups))

    async def aclose(self) -> None:
        await super().aclose()
        if self._owned:
            await self._engine.dispose()

    async def _send(self, payloads: list[str]) -> None:
        async with self._connections.lend() as connection:
            await connection.execute(
                _NOTIFY, {"channel": self._channel, "payloads": payloads}, timeout=NOTIFY_TIMEOUT
            )

    async def _serve(self, listener: Listener, on_error: BackgroundErrors) -> None:
        backoff = Backoff(FIRST_RETRY, LAST_RETRY)
        while True:
            deaf = False
            try:
                async with self._listening(listener) as (driver, lost):
                    self._healthy = True
                    listener.on_resync()
                    backoff.reset()
                    await self._watch(driver, lost)
                    logger.warning("the listening connection broke")
            except _Deaf:
                deaf = True
            # DNS, logins, refusals: nothing may end this loop but its cancellation.
            except Exception as error:
                on_error("listen", error)
            self._set_healthy(False, listener)
            await asyncio.sleep(DEAF_RETRY if deaf else backoff.next())

    @asynccontextmanager
    async def _listening(self, listener: Listener) -> AsyncIterator[tuple[Any, asyncio.Event]]:
        lost = asyncio.Event()
        heard = asyncio.Event()
        nonce = f"?{secrets.token_hex(8)}"

        def on_notification(connection: object, pid: int, channel: str, payload: str) -> None:
            if payload == nonce:
                heard.set()
            elif not payload.startswith("?"):
                self._deliver(payload, listener)

        connection = await self._engine.connect()
        driver: Any = None
        try:
            driver = (await connection.get_raw_connection()).driver_connection
            # Out of the pool: the pool would hand a connection that LISTENs to others, and its slot
            # stays free for statements.
            await connection.run_sync(lambda sync: sync.detach())
            driver.add_termination_listener(lambda _: lost.set())
            await self._start_listening(driver, on_notification)
            await self._self_test(nonce, heard)
            yield driver, lost
        finally:
            # No goodbye: it may be the server that does not answer.
            if driver is not None:
                driver.terminate()
            with suppress(Exception):
                await connection.close()

    async def _start_listening(self, driver: Any, callback: Callable[..., None]) -> None:
        try:
            await driver.add_listener(self._channel, callback)
        except Exception as error:
            if sqlstate(error) != _QUEUE_FILE_MISSING:
                raise
            # Reading the usage advances the tail of the queue past the missing file (Postgres
            # before November 2025).
            await driver.fetchval("SELECT pg_notification_queue_usage()")
            await driver.add_listener(self._channel, callback)

    async def _self_test(self, nonce: str, heard: asyncio.Event) -> None:
        # From another connection: behind a pooler a connection may well hear itself and nobody
        # else.
        await self._send([nonce])
        try:
            async with asyncio.timeout(SELF_TEST_TIMEOUT):
                await heard.wait()
        except TimeoutError as error:
            logger.warning(
                "notifications do not arrive, so readers poll: does the URL lead through a pooler in transaction mode? "
                "Pass listen_url= with a direct connection."
            )
            raise _Deaf from error

    async def _watch(self, driver: Any, lost: asyncio.Event) -> None:
        while not lost.is_set():
            try:
                async with asyncio.timeout(PROBE_INTERVAL):
                    await lost.wait()
            except TimeoutError:
                await driver.fetchval("SELECT 1", timeout=PROBE_TIMEOUT)

    def _deliver(self, payload: str, listener: Listener) -> None:
        try:
            wake_ups = unpack(payload)
        except ValueError:
            self.malformed += 1
            return
        for wake_up in wake_ups:
            listener.on_wake_up(wake_up)


class _Deaf(Exception):
    """LISTEN was accepted and nothing arrives."""
