"""What all commands share: the options that name a database, the service for it, and what an error
becomes.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Coroutine, Mapping
from pathlib import Path
from typing import Any, Final, NamedTuple, NoReturn

import click
from rich.console import Console

from monostream_ai.connect import create_service
from monostream_ai.errors import InvalidArgument, MonostreamError, PublisherLost, UnknownStream
from monostream_ai.protocol import ChunkProtocol, JSONProtocol
from monostream_ai.service import DurableStreamService
from monostream_ai.stores.sqlite.store import sqlite_url

FAILED: Final = 1
WRONG_USAGE: Final = 2
NOTHING_THERE: Final = 3
LOST: Final = 4
INTERRUPTED: Final = 130


class Database(NamedTuple):
    """The options that say where the streams are."""

    url: str
    listen_url: str | None
    notifier: str | None

    def service(
        self, protocol: ChunkProtocol[Any] | None = None, *, create_tables: bool = False
    ) -> DurableStreamService[Any]:
        """Return a service for the database; chunks are any JSON unless a protocol says otherwise."""
        return create_service(
            self.url,
            JSONProtocol() if protocol is None else protocol,
            listen_url=self.listen_url,
            notifier=self.notifier,
            create_tables=create_tables,
        )

    def require_file(self) -> None:
        """Fail if it is a SQLite file that does not exist: opening it would create it."""
        if self.url.startswith("memory:"):
            fail("a stream in memory can be seen by its own process only", WRONG_USAGE)
        if self.url.startswith("sqlite") and not Path(sqlite_url(self.url).database or "").exists():
            fail("there is no such SQLite file")


def database_options(command: Callable[..., None]) -> Callable[..., None]:
    """Add the options that `Database` is made of; the command gets them as one argument `database`."""

    def with_database(
        url: str, listen_url: str | None, notifier: str | None, **options: Any
    ) -> None:
        command(database=Database(url, listen_url, notifier), **options)

    with_database.__doc__ = command.__doc__
    with_database.__name__ = command.__name__
    with_database.__click_params__ = getattr(command, "__click_params__", [])  # type: ignore[attr-defined]  # click's own
    for option in (
        click.option(
            "--notifier",
            metavar="URL",
            envvar="MONOSTREAM_NOTIFIER",
            show_envvar=True,
            help="redis:// for wake-ups.",
        ),
        click.option(
            "--listen-url",
            metavar="URL",
            envvar="MONOSTREAM_LISTEN_URL",
            show_envvar=True,
            help="Past a pooler, for LISTEN.",
        ),
        click.option(
            "--url",
            metavar="URL",
            envvar="MONOSTREAM_URL",
            show_envvar=True,
            required=True,
            help="The database.",
        ),
    ):
        option(with_database)
    return with_database


json_option = click.option(
    "--json", "as_json", is_flag=True, help="Print JSON, one value in each line."
)


def run(work: Coroutine[Any, Any, int | None]) -> NoReturn:
    """Run a command to its exit code; an error of ours becomes one line on stderr."""
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
    """End the command with a reason on stderr."""
    click.echo(f"Error: {reason}", err=True)
    raise SystemExit(code)


def print_json(value: Mapping[str, Any]) -> None:
    """Print one line of JSON; dates as ISO 8601."""
    click.echo(json.dumps(value, ensure_ascii=False, default=lambda date: date.isoformat()))


def console(*, err: bool = False) -> Console:
    """Return where people read: plain where it is not a terminal."""
    return Console(stderr=err, highlight=False, soft_wrap=True)
