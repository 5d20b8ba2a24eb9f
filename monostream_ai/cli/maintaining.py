"""`stop`, `prune` and `migrate`."""

from __future__ import annotations

import importlib
import time
from typing import Any

import click
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from monostream_ai.cli.running import (
    NOTHING_THERE,
    Database,
    console,
    database_options,
    json_option,
    print_json,
    run,
)
from monostream_ai.cli.wording import parsed_duration, short_duration
from monostream_ai.diagnosis import schema_version
from monostream_ai.protocol import ChunkProtocol
from monostream_ai.ui_messages import UIMessageProtocol


@click.command()
@database_options
@click.argument("stream")
@click.option(
    "--version", type=click.IntRange(min=0), help="Only this version; by default the latest."
)
@click.option(
    "--protocol",
    metavar="MODULE:NAME",
    help="Your protocol, which writes the ending; by default UI messages.",
)
@json_option
def stop(
    database: Database, stream: str, version: int | None, protocol: str | None, as_json: bool
) -> None:
    """End STREAM as if its user had pressed stop, wherever its publisher runs."""
    database.require_file()

    async def work() -> int:
        async with database.service(
            UIMessageProtocol() if protocol is None else named_protocol(protocol)
        ) as service:
            info = await service.status(stream, version)
            stopped = await service.stop(stream, info.version)
        if as_json:
            print_json({"stream_id": stream, "version": info.version, "stopped": stopped})
        else:
            click.echo(
                f"stopped version {info.version}"
                if stopped
                else f"nothing to stop: version {info.version} has ended"
            )
        return 0 if stopped else NOTHING_THERE

    run(work())


def named_protocol(name: str) -> ChunkProtocol[Any]:
    """Import a protocol, or a function or class that makes one."""
    module, _, attribute = name.partition(":")
    try:
        found = getattr(importlib.import_module(module), attribute)
    except (ImportError, AttributeError, ValueError) as error:
        raise click.BadParameter(
            f"cannot import {name!r}: {error}", param_hint="--protocol"
        ) from error
    protocol: ChunkProtocol[Any] = (
        found if hasattr(found, "transcript") and not isinstance(found, type) else found()
    )
    return protocol


@click.command()
@database_options
@click.option(
    "--older-than",
    callback=parsed_duration,
    required=True,
    metavar="DURATION",
    help="Since the last activity: 12h, 30d, 4w.",
)
@json_option
def prune(database: Database, older_than: float, as_json: bool) -> None:
    """Remove versions that ended, or were lost, some time ago. What is being written is never
    touched.
    """
    database.require_file()

    async def work() -> None:
        started = time.monotonic()
        columns = (
            SpinnerColumn(),
            TextColumn("{task.completed} versions pruned"),
            TimeElapsedColumn(),
        )
        async with database.service() as service:
            with Progress(*columns, console=console(err=True), transient=True) as progress:
                task = progress.add_task("")
                pruned = await service.prune(
                    older_than=older_than,
                    on_batch=lambda total: progress.update(task, completed=total),
                )
        if as_json:
            print_json({"pruned": pruned})
        else:
            click.echo(f"{pruned} versions pruned in {short_duration(time.monotonic() - started)}")

    run(work())


@click.command()
@database_options
@json_option
def migrate(database: Database, as_json: bool) -> None:
    """Create the tables, or upgrade them to what this release needs. Safe to repeat, and while
    publishers are writing.
    """
    if database.url.startswith("memory:"):
        database.require_file()

    async def work() -> None:
        before = await schema_version(database.url)
        with console(err=True).status("upgrading the tables"):
            async with database.service(create_tables=True):
                pass
        after = await schema_version(database.url)
        if as_json:
            print_json({"before": before, "after": after})
        else:
            moved = (
                f"went from version {before} to {after}"
                if before != after
                else f"is at version {after} already"
            )
            click.echo(f"the schema {moved}")

    run(work())
