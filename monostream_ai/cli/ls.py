"""`ls`: list streams with their latest version, or with all versions."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any, Final

import click
from rich.table import Table

from monostream_ai.cli.database import Database, database_options, run
from monostream_ai.cli.formatting import (
    STYLES,
    as_mapping,
    console,
    json_option,
    lease_of,
    print_json,
    short_size,
    state_of,
    styled_state,
)
from monostream_ai.service import DurableStreamService
from monostream_ai.types import VersionInfo

PAGE: Final = 200
NO_LIMIT: Final = 2**31


@click.command()
@database_options
@click.argument("prefix", default="")
@click.option("--after", metavar="STREAM", help="Continue after this stream.")
@click.option(
    "--limit",
    type=click.IntRange(min=0),
    default=100,
    show_default=True,
    help="Number of streams at most; 0 lists all.",
)
@click.option(
    "--versions",
    "all_versions",
    is_flag=True,
    help="List all stored versions, not only the latest.",
)
@click.option(
    "--state",
    "states",
    type=click.Choice(list(STYLES)),
    multiple=True,
    help="List only versions of this state; may be repeated.",
)
@click.option("--sizes", is_flag=True, help="Show sizes too; this reads every chunk.")
@json_option
def ls(
    database: Database,
    prefix: str,
    after: str | None,
    limit: int,
    all_versions: bool,
    states: tuple[str, ...],
    sizes: bool,
    as_json: bool,
) -> None:
    """List streams whose id begins with PREFIX.

    Shows the version, state, lease and number of chunks of each.
    """
    database.require_file()

    async def work() -> None:
        columns = ["stream", "version", "state", "lease", "chunks", "created"]
        if sizes:
            columns.insert(5, "size")
        table = Table(*columns, box=None)
        async with database.service() as service:
            last = None
            async for info in listed(service, prefix, after, limit, all_versions):
                last = info.stream_id
                if states and state_of(info) not in states:
                    continue
                size = await size_of(service, info) if sizes else None
                if as_json:
                    print_json(as_mapping(info) | ({"size": size} if sizes else {}))
                else:
                    add_row(table, info, size)
            more = (
                last is not None
                and limit > 0
                and bool(await service.streams(prefix=prefix, after=last, limit=1))
            )
        if table.rows:
            console().print(table)
        if more and not as_json:
            console(err=True).print(
                f"There are more streams: use --after {last!r}, or --limit 0.",
                style="dim",
                markup=False,
            )

    run(work())


def add_row(table: Table, info: VersionInfo, size: int | None) -> None:
    table.add_row(
        info.stream_id,
        str(info.version),
        styled_state(info),
        lease_of(info),
        str(info.next_id),
        *([] if size is None else [short_size(size)]),
        "" if info.created_at is None else f"{info.created_at:%Y-%m-%d %H:%M:%S}",
    )


async def listed(
    service: DurableStreamService[Any],
    prefix: str,
    after: str | None,
    limit: int,
    all_versions: bool,
) -> AsyncIterator[VersionInfo]:
    """Yield the latest version of each stream, each followed by its older ones on request."""
    left = limit or NO_LIMIT
    while left > 0 and (
        page := await service.streams(prefix=prefix, after=after, limit=min(left, PAGE))
    ):
        for info in page:
            yield info
            before = info.version
            while all_versions and (
                older := await service.versions(info.stream_id, before=before, limit=PAGE)
            ):
                for version in older:
                    yield version
                before = older[-1].version
        left -= len(page)
        after = page[-1].stream_id


async def size_of(service: DurableStreamService[Any], info: VersionInfo) -> int:
    """Return the size of all payloads of a version, in bytes."""
    first = size = 0
    while chunks := await service.timeline(info.stream_id, info.version, first=first):
        size += sum(chunk.size for chunk in chunks)
        first = chunks[-1].id + 1
    return size
