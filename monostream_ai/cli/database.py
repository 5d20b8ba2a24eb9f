"""The database of a command: the options that name it, its service, and exit codes for errors."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any, Final, NamedTuple, NoReturn

import click

from monostream_ai.connect import create_service
from monostream_ai.diagnosis import schema_version
from monostream_ai.errors import (
    InvalidArgument,
    InvalidURL,
    MonostreamError,
    PublisherLost,
    UnknownStream,
)
from monostream_ai.protocol import ChunkProtocol, JSONProtocol
from monostream_ai.service import DurableStreamService

FAILED: Final = 1
WRONG_USAGE: Final = 2
NOTHING_THERE: Final = 3
LOST: Final = 4
INTERRUPTED: Final = 130
"""128 + SIGINT, as shells report it."""


class Database(NamedTuple):
    """The database that the options of a command name."""

    url: str
    listen_url: str | None
    notifier: str | None

    def service(
        self, protocol: ChunkProtocol[Any] | None = None, *, create_tables: bool = False
    ) -> DurableStreamService[Any]:
        """Return a service for the database; without a protocol, chunks may be any JSON."""
        return create_service(
            self.url,
            JSONProtocol() if protocol is None else protocol,
            listen_url=self.listen_url,
            notifier=self.notifier,
            create_tables=create_tables,
        )

    async def upgrade(self) -> int:
        """Create the tables, or upgrade them; return their version, which is that of this release.

        Ends the command if the role may not.
        """
        # Late, since the database may need no SQLAlchemy.
        from monostream_ai.stores.sql.migrations import SCHEMA_VERSION

        async with self.service(create_tables=True):
            version = await schema_version(self.url)
        if version < SCHEMA_VERSION:
            fail(
                f"version {version} of {SCHEMA_VERSION} is on record, and the database role may "
                "not upgrade the tables: run this as their owner"
            )
        return version

    def require_shared(self) -> None:
        """End the command if the streams are in the memory of another process."""
        if self.url.startswith("memory:"):
            fail("streams in memory exist only inside their own process", WRONG_USAGE)

    def require_file(self) -> None:
        """End the command if the SQLite file does not exist, since opening it would create it."""
        self.require_shared()
        if not self.url.startswith("sqlite"):
            return
        from monostream_ai.stores.sqlite.store import sqlite_url

        try:
            url = sqlite_url(self.url)
        except InvalidURL as error:
            fail(str(error), WRONG_USAGE)
        if not Path(url.database or "").exists():
            fail("there is no such SQLite file")


_OPTIONS: Final = (
    click.option(
        "--notifier",
        metavar="URL",
        envvar="MONOSTREAM_NOTIFIER",
        show_envvar=True,
        help="A redis:// server that carries wake-ups.",
    ),
    click.option(
        "--listen-url",
        metavar="URL",
        envvar="MONOSTREAM_LISTEN_URL",
        show_envvar=True,
        help="A connection for LISTEN that bypasses the pooler.",
    ),
    click.option(
        "--url",
        metavar="URL",
        envvar="MONOSTREAM_URL",
        show_envvar=True,
        required=True,
        help="The database.",
    ),
)


def database_options(command: Callable[..., None]) -> Callable[..., None]:
    """Add the options that name a database; the command gets one argument `database` for them."""

    def with_database(
        url: str, listen_url: str | None, notifier: str | None, **options: Any
    ) -> None:
        command(database=Database(url, listen_url, notifier), **options)

    with_database.__doc__ = command.__doc__
    with_database.__name__ = command.__name__
    with_database.__click_params__ = getattr(command, "__click_params__", [])  # type: ignore[attr-defined]  # click's own
    for option in _OPTIONS:
        option(with_database)
    return with_database


def run(work: Coroutine[Any, Any, int | None]) -> NoReturn:
    """Run a command and exit with its code; each of our errors becomes one line on stderr."""
    try:
        code = asyncio.run(work)
    except KeyboardInterrupt:
        raise SystemExit(INTERRUPTED) from None
    except UnknownStream as error:
        fail(str(error), NOTHING_THERE)
    except PublisherLost as error:
        fail(str(error), LOST)
    except InvalidArgument as error:
        fail(str(error), WRONG_USAGE)
    except MonostreamError as error:
        fail(str(error))
    raise SystemExit(code or 0)


def fail(reason: str, code: int = FAILED) -> NoReturn:
    """Print the reason on stderr, and exit."""
    click.echo(f"Error: {reason}", err=True)
    raise SystemExit(code)
