"""`tail`: what is stored of a stream, then what comes."""

from __future__ import annotations

import json
from typing import Any

import click
from rich.text import Text

from monostream_ai.cli.running import Database, console, database_options, json_option, run
from monostream_ai.service import DurableStreamService
from monostream_ai.types import Batch, Cursor


@click.command()
@database_options
@click.argument("stream")
@click.option("--after", metavar="CURSOR", help="Go on after this chunk, such as 0.17.")
@click.option(
    "--version",
    type=click.IntRange(min=0),
    help="Only what is stored of this version, which may be superseded.",
)
@click.option("--no-follow", is_flag=True, help="End with what is stored now.")
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
    """Show the chunks of STREAM: replay the latest version, then follow it to its end."""
    database.require_file()
    if after is not None and (version is not None or no_follow):
        raise click.UsageError("--after is for following")
    show = show_json if as_json else show_line

    async def work() -> None:
        async with database.service() as service:
            if version is not None or no_follow:
                await dump(service, stream, version, show)
                return
            if not wait:
                await service.status(stream)
            cursor = None if after is None else Cursor.parse(after)
            async with service.subscribe(stream, after=cursor) as subscription:
                while True:
                    try:
                        batch = await subscription.next_batch()
                    except StopAsyncIteration:
                        return
                    for position, payload in zip(batch.cursors, batch.payloads, strict=True):
                        show(position, payload)

    run(work())


async def dump(
    service: DurableStreamService[Any], stream: str, version: int | None, show: Any
) -> None:
    """Show what is stored of a version."""
    info = await service.status(stream, version)
    chunks = await service.chunks(stream, info.version)
    batch = Batch(info.version, 0, [service.protocol.encode(chunk) for chunk in chunks])
    for position, payload in zip(batch.cursors, batch.payloads, strict=True):
        show(position, payload)


def show_json(cursor: Cursor, payload: str) -> None:
    """Print a chunk as it is stored, with its position."""
    click.echo(f'{{"version": {cursor.version}, "id": {cursor.id}, "chunk": {payload}}}')


def show_line(cursor: Cursor, payload: str) -> None:
    """Print a chunk in one line; of a mapping with a type, the type first."""
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
