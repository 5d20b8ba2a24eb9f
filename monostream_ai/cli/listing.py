"""`ls`: streams with their latest version, or with all of them."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import asdict
from typing import Any, Final

import click
from rich.table import Table

from monostream_ai.cli.running import (
    Database,
    console,
    database_options,
    json_option,
    print_json,
    run,
)
from monostream_ai.cli.wording import lease_of, short_size, state_of, styled_state
from monostream_ai.service import DurableStreamService
from monostream_ai.types import VersionInfo

PAGE: Final = 200
NO_LIMIT: Final = 2**31


@click.command()
@database_options
@click.argument("prefix", default="")
@click.option("--after", metavar="STREAM", help="Go on after this stream.")
@click.option(
    "--limit",
    type=click.IntRange(min=0),
    default=100,
    show_default=True,
    help="Streams at most; 0 for all.",
)
@click.option(
    "--versions",
    "all_versions",
    is_flag=True,
    help="All versions that are kept, not only the latest.",
)
@click.option("--sizes", is_flag=True, help="Sizes too; reads every chunk.")
@json_option
def ls(
    database: Database,
    prefix: str,
    after: str | None,
    limit: int,
    all_versions: bool,
    sizes: bool,
    as_json: bool,
) -> None:
    """List streams whose id begins with PREFIX: version, state, lease and chunks."""
    database.require_file()

    async def work() -> None:
        table = Table(
            "stream",
            "version",
            "state",
            "lease",
            "chunks",
            *(["size"] if sizes else []),
            "created",
            box=None,
        )
        async with database.service() as service:
            last = None
            async for info in listed(service, prefix, after, limit, all_versions):
                size = await size_of(service, info) if sizes else None
                last = info.stream_id
                if as_json:
                    print_json(as_mapping(info) | ({"size": size} if sizes else {}))
                else:
                    created = (
                        "" if info.created_at is None else f"{info.created_at:%Y-%m-%d %H:%M:%S}"
                    )
                    cells = [
                        str(info.next_id),
                        *([] if size is None else [short_size(size)]),
                        created,
                    ]
                    table.add_row(
                        info.stream_id,
                        str(info.version),
                        styled_state(info),
                        lease_of(info),
                        *cells,
                    )
            more = (
                last is not None
                and limit > 0
                and bool(await service.streams(prefix=prefix, after=last, limit=1))
            )
        if table.rows:
            console().print(table)
        if more and not as_json:
            console(err=True).print(
                f"There are more: --after {last!r}, or --limit 0.", style="dim", markup=False
            )

    run(work())


async def listed(
    service: DurableStreamService[Any],
    prefix: str,
    after: str | None,
    limit: int,
    all_versions: bool,
) -> AsyncIterator[VersionInfo]:
    """Yield the latest version of each stream, and after it the older ones if they are asked for."""
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
    """Return the bytes of all payloads of a version."""
    first = size = 0
    while chunks := await service.timeline(info.stream_id, info.version, first=first):
        size += sum(chunk.size for chunk in chunks)
        first = chunks[-1].id + 1
    return size


def as_mapping(info: VersionInfo) -> dict[str, Any]:
    """Return a version for JSON: `state` may be `lost`, `chunks` counts, an endless lease is null."""
    fields = asdict(info)
    fields["chunks"] = fields.pop("next_id")
    fields["state"] = state_of(info)
    fields["lease_left"] = (
        info.lease_left if info.state == "open" and info.lease_left != float("inf") else None
    )
    return {
        name: value
        for name, value in fields.items()
        if name not in ("closed_for", "request", "metadata")
    }
