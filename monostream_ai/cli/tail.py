"""`tail`: print the stored chunks of a stream, then follow it."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any, TypeAlias

import click
from rich.text import Text

from monostream_ai.cli.database import Database, database_options, run
from monostream_ai.cli.formatting import console, json_option
from monostream_ai.service import DurableStreamService
from monostream_ai.types import Batch, Cursor

Show: TypeAlias = Callable[[Cursor, str], None]


@click.command()
@database_options
@click.argument("stream")
@click.option("--after", metavar="CURSOR", help="Continue after this chunk, such as 0.17.")
@click.option(
    "--version",
    type=click.IntRange(min=0),
    help="Print the stored chunks of this version, even a superseded one, and end.",
)
@click.option("--no-follow", is_flag=True, help="End after the chunks that are stored now.")
@click.option("--wait", is_flag=True, help="Wait for a stream that does not exist yet.")
@json_option
def tail(
    database: Database,
    stream: str,
    after: str | None,
    version: int | None,
    no_follow: bool,
    wait: bool,
    as_json: bool,
) -> None:
    """Print the chunks of STREAM and follow it.

    Replays the latest version from its start, then prints new chunks until the version ends.
    """
    database.require_file()
    if after is not None and (version is not None or no_follow):
        raise click.UsageError("--after cannot be combined with --version or --no-follow")
    show = show_json if as_json else show_line

    async def work() -> None:
        async with database.service() as service:
            if version is not None or no_follow:
                await dump(service, stream, version, show)
                return
            if not wait:
                # A subscription would wait for an unknown stream; this raises UnknownStream.
                await service.status(stream)
            cursor = None if after is None else Cursor.parse(after)
            async with service.subscribe(stream, after=cursor) as subscription:
                while True:
                    try:
                        batch = await subscription.next_batch()
                    except StopAsyncIteration:
                        return
                    show_batch(batch, show)

    run(work())


async def dump(
    service: DurableStreamService[Any], stream: str, version: int | None, show: Show
) -> None:
    """Show the stored chunks of a version."""
    info = await service.status(stream, version)
    shown = 0
    async for page in service._pages(stream, info.version):
        payloads = [*map(service.protocol.encode, page)]
        show_batch(Batch(info.version, shown, payloads), show)
        shown += len(page)


def show_batch(batch: Batch, show: Show) -> None:
    for cursor, payload in zip(batch.cursors, batch.payloads, strict=True):
        show(cursor, payload)


def show_json(cursor: Cursor, payload: str) -> None:
    """Print a chunk as it is stored, with its position."""
    click.echo(f'{{"version": {cursor.version}, "id": {cursor.id}, "chunk": {payload}}}')


def show_line(cursor: Cursor, payload: str) -> None:
    """Print a chunk on one line: its type first, and of a delta only the text."""
    chunk = json.loads(payload)
    line = Text(f"{cursor!s:>8}  ", "dim")
    if isinstance(chunk, dict) and isinstance(kind := chunk.pop("type", None), str):
        line.append(f"{kind:<22} ", "cyan" if "error" not in kind else "red")
        texts = [
            value for name, value in chunk.items() if name in ("delta", "text", "inputTextDelta")
        ]
        rest = texts[0] if texts else chunk or ""
    else:
        rest = chunk
    line.append(rest if rest == "" else json.dumps(rest, ensure_ascii=False))
    console().print(line)
