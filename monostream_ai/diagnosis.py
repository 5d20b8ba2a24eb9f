"""Checks a database and its notifications without a service; `monostream-ai doctor` prints it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import aclosing
from typing import Final

from monostream_ai.connect import kind_of, redis_notifier
from monostream_ai.interfaces import Notifier
from monostream_ai.types import Finding, WakeUp

PATIENCE: Final = 5.0
"""Seconds for a notifier to connect and deliver a wake-up."""

POLLING: Final = "readers find new chunks by polling: "


async def diagnose(
    url: str, *, listen_url: str | None = None, notifier: str | None = None
) -> AsyncIterator[Finding]:
    """Yield a finding for each check, without changing the database.

    Ends after the first finding if the database cannot be reached.

    Args:
        url, listen_url, notifier: As for `create_service`.

    Raises:
        InvalidURL: A URL is malformed, or names an unknown database or driver.
    """
    kind = kind_of(url)
    if kind == "sqlite":
        from monostream_ai.stores.sqlite.checks import check_sqlite

        async for finding in check_sqlite(url):
            yield finding
    elif kind == "postgresql":
        from monostream_ai.notifiers.postgres import PostgresNotifier
        from monostream_ai.stores.postgres.checks import check_postgres, check_presence

        async for finding in check_postgres(
            url, has_listen_url=listen_url is not None or notifier is not None
        ):
            yield finding
            if finding.check == "connect" and finding.level == "fail":
                return
        yield await check_presence(listen_url or url)
        if notifier is None:
            advice = (
                "does the URL lead through a pooler in transaction mode? "
                "Pass a direct connection as listen_url"
            )
            yield await check_notifier(
                "listen", PostgresNotifier.from_url(listen_url or url), advice
            )
    if notifier is not None:
        yield await check_notifier(
            "redis", redis_notifier(notifier), "is the server up, and is the URL correct?"
        )


async def schema_version(url: str) -> int:
    """Return the version of a database's tables, or 0 if there are none.

    Raises:
        InvalidURL: The URL is malformed, or names an unknown database or driver.
        StoreUnavailable: The database cannot be reached.
    """
    if kind_of(url) == "sqlite":
        from monostream_ai.stores.sqlite.store import SQLiteStore

        async with aclosing(SQLiteStore.from_url(url)) as sqlite:
            return await sqlite.schema_version()
    from monostream_ai.stores.postgres.store import PostgresStore

    async with aclosing(PostgresStore.from_url(url, pooler=True)) as postgres:
        return await postgres.schema_version()


async def check_notifier(check: str, notifier: Notifier, advice: str) -> Finding:
    """Send a wake-up through a notifier and wait until it arrives; then close the notifier."""
    listener = _Listener()
    async with aclosing(notifier):
        unlisten = await notifier.listen(listener, listener.on_error)
        try:
            async with asyncio.timeout(PATIENCE):
                while not notifier.healthy:
                    await listener.news()
                started = time.perf_counter()
                # Harmless in other processes: none of them has a reader of this stream.
                await notifier.notify([WakeUp(listener.stream_id, 0, 0)])
                while not listener.heard:
                    await listener.news()
        except TimeoutError:
            reason = f" ({type(listener.error).__name__})" if listener.error else ""
            return Finding(check, "warn", f"wake-ups do not arrive{reason}", POLLING + advice)
        except Exception as error:
            return Finding(
                check, "warn", f"wake-ups cannot be sent ({type(error).__name__})", POLLING + advice
            )
        finally:
            await unlisten()
    return Finding(check, "ok", f"a wake-up took {(time.perf_counter() - started) * 1000:.1f} ms")


class _Listener:
    stream_id: Final = "monostream:doctor"

    def __init__(self) -> None:
        self.heard = False
        self.error: BaseException | None = None
        self._news = asyncio.Event()

    async def news(self) -> None:
        await self._news.wait()
        self._news.clear()

    def on_wake_up(self, wake_up: WakeUp) -> None:
        self.heard |= wake_up.stream_id == self.stream_id
        self._news.set()

    def on_resync(self) -> None:
        self._news.set()

    def on_error(self, source: str, error: BaseException) -> None:
        self.error = error
        self._news.set()
