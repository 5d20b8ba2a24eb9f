"""`stop`, `prune` and `migrate`: the commands that change the database."""

from __future__ import annotations

import importlib
import sys
import time
from typing import Any

import click
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from monostream_ai.cli.database import NOTHING_THERE, Database, database_options, run
from monostream_ai.cli.formatting import (
    console,
    json_option,
    parsed_duration,
    print_json,
    short_duration,
)
from monostream_ai.cli.ls import listed
from monostream_ai.diagnosis import schema_version
from monostream_ai.protocol import ChunkProtocol
from monostream_ai.ui_messages import UIMessageProtocol


@click.command()
@database_options
@click.argument("stream")
@click.option(
    "--version", type=click.IntRange(min=0), help="Stop only this version; the latest by default."
)
@click.option(
    "--protocol",
    metavar="MODULE:NAME",
    help="The protocol that writes the ending; UI messages by default.",
)
@json_option
def stop(
    database: Database, stream: str, version: int | None, protocol: str | None, as_json: bool
) -> None:
    """Stop STREAM as its user would.

    Its publisher may run in any process.
    """
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
    """Import a protocol, or a class or function that returns one when called."""
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
    help="Time since the last activity, such as 12h, 30d or 4w.",
)
@click.option("--dry-run", is_flag=True, help="Count the versions, and remove none.")
@click.option("--yes", is_flag=True, help="Do not ask on a terminal.")
@json_option
def prune(database: Database, older_than: float, dry_run: bool, yes: bool, as_json: bool) -> None:
    """Remove old versions that ended or were lost.

    Versions that a publisher is writing are never removed.
    """
    database.require_file()
    if dry_run:
        run(_count_old(database, older_than, as_json))
        return
    if sys.stdin.isatty() and not yes:
        age = short_duration(older_than)
        click.confirm(f"Remove all versions older than {age}, for good?", abort=True, err=True)

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


async def _count_old(database: Database, older_than: float, as_json: bool) -> None:
    """Count the versions that `prune` would remove now."""
    count = 0
    async with database.service() as service:
        async for info in listed(service, "", None, 0, all_versions=True):
            ended_for = info.closed_for if info.state == "closed" else -info.lease_left
            count += info.state != "pruned" and (ended_for or 0.0) > older_than
    if as_json:
        print_json({"would_prune": count})
    else:
        click.echo(f"{count} versions would be pruned")


@click.command()
@database_options
@json_option
def migrate(database: Database, as_json: bool) -> None:
    """Create the tables, or upgrade them.

    Safe to repeat, and safe while publishers are writing.
    """
    database.require_shared()

    async def work() -> None:
        before = await schema_version(database.url)
        with console(err=True).status("upgrading the tables"):
            after = await database.upgrade()
        if as_json:
            print_json({"before": before, "after": after})
        else:
            moved = (
                f"was upgraded from version {before} to {after}"
                if before != after
                else f"is already at version {after}"
            )
            click.echo(f"the schema {moved}")

    run(work())
