"""Checks a database and its notifications without a service; `monostream-ai doctor` prints it."""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import aclosing
from importlib import metadata
from typing import Final, NamedTuple

from monostream_ai.connect import kind_of, redis_notifier
from monostream_ai.interfaces import Notifier
from monostream_ai.types import Finding, WakeUp

PATIENCE: Final = 5.0
"""Seconds for a notifier to connect and deliver a wake-up."""

POLLING: Final = "readers find new chunks by polling: "

NO_INLINE: Final = Finding(
    "inline", "warn", "no wake-up arrives, so none carries chunks", "see the check 'listen'"
)

NEVER_BY_REDIS: Final = Finding(
    "inline",
    "ok",
    "wake-ups carry no chunks: through Redis, inline='auto' sends none",
    "inline='always' sends them, and every program that may subscribe there can read them",
)


async def diagnose(
    url: str, *, listen_url: str | None = None, notifier: str | None = None
) -> AsyncIterator[Finding]:
    """Yield a finding for each check, without changing the database.

    Ends if the database cannot be reached.

    Args:
        url, listen_url, notifier: As for `create_service`.

    Raises:
        InvalidURL: A URL is malformed, or names an unknown database or driver.
    """
    kind = kind_of(url)
    packages = check_packages(needs_redis=notifier is not None)
    yield packages
    if kind == "sqlite":
        from monostream_ai.stores.sqlite.checks import check_sqlite

        async for finding in check_sqlite(url):
            yield finding
    elif kind == "postgresql":
        from monostream_ai.notifiers.postgres import PostgresNotifier
        from monostream_ai.stores.postgres.checks import (
            check_inline,
            check_postgres,
            check_presence,
        )

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
            listen = await check_notifier(
                "listen", PostgresNotifier.from_url(listen_url or url), advice
            )
            yield listen
            yield await check_inline(listen_url or url) if listen.level == "ok" else NO_INLINE
    if notifier is not None and packages.level != "fail":
        yield await check_notifier(
            "redis", redis_notifier(notifier), "is the server up, and is the URL correct?"
        )
        yield NEVER_BY_REDIS


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


class _Needed(NamedTuple):
    """A package that this one needs, always or for an extra."""

    name: str
    least: str
    below: str
    extra: str

    @property
    def installed(self) -> str | None:
        """The version that is installed."""
        try:
            return metadata.version(self.name)
        except metadata.PackageNotFoundError:
            return None

    def fits(self, version: str) -> bool:
        """Whether this version is one of those that are supported."""
        above = not self.least or _numbers(version) >= _numbers(self.least)
        return above and (not self.below or _numbers(version) < _numbers(self.below))


def check_packages(*, needs_redis: bool) -> Finding:
    """Find out which extras are installed, and whether a package has a version that is not
    supported.

    Args:
        needs_redis: Wake-ups go through Redis.
    """
    needed = [*_needed()]
    versions = {each: version for each in needed if (version := each.installed) is not None}
    missing = {each.extra for each in needed if each.extra and each not in versions}
    extras = {each.extra for each in needed if each.extra} - missing
    if needs_redis and "redis" not in extras:
        advice = 'pip install "monostream-ai-slim[redis]"'
        return Finding(
            "packages", "fail", "redis-py is not installed, and notifier= needs it", advice
        )
    wrong = [each for each, version in versions.items() if not each.fits(version)]
    if wrong:
        extra = f"[{wrong[0].extra}]" if wrong[0].extra else ""
        # Several extras may bring the same package.
        found = ", ".join(dict.fromkeys(f"{each.name} {versions[each]}" for each in wrong))
        advice = f'pip install --upgrade "monostream-ai-slim{extra}"'
        return Finding("packages", "warn", f"not supported: {found}", advice)
    found = f"extras: {', '.join(sorted(extras)) or 'none'}"
    if missing:
        found += f"; not installed: {', '.join(sorted(missing))}"
    return Finding("packages", "ok", found)


def _needed() -> Iterator[_Needed]:
    try:
        lines = metadata.requires("monostream-ai-slim") or []
    except metadata.PackageNotFoundError:
        # It runs from its sources.
        lines = []
    for line in lines:
        name = re.match(r"[\w.-]+", line)
        least, below, extra = (
            re.search(pattern, line)
            for pattern in (r">=([\d.]+)", r"<([\d.]+)", r"extra == ['\"]([\w-]+)")
        )
        # The extra `all` repeats others.
        if name is not None and (extra is None or extra[1] != "all"):
            yield _Needed(
                name[0], *("" if each is None else each[1] for each in (least, below, extra))
            )


def _numbers(version: str) -> list[int]:
    """Return the numbers of a release; those of a pre-release count as of its release."""
    found = re.match(r"\d+(?:\.\d+)*", version)
    return [] if found is None else [*map(int, found[0].split("."))]


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
