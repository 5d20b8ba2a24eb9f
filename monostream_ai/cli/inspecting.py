"""`inspect`: one version from its first chunk to its last."""

from __future__ import annotations

from typing import Any, Final

import click
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn
from rich.table import Table

from monostream_ai.cli.listing import as_mapping
from monostream_ai.cli.running import (
    Database,
    console,
    database_options,
    json_option,
    print_json,
    run,
)
from monostream_ai.cli.timelines import Timeline, drawn
from monostream_ai.cli.wording import lease_of, short_duration, short_size, styled_state
from monostream_ai.service import DurableStreamService
from monostream_ai.types import VersionInfo

BUCKETS: Final = 60
VERSIONS: Final = 20


@click.command()
@database_options
@click.argument("stream")
@click.option("--version", type=click.IntRange(min=0), help="By default the latest.")
@json_option
def inspect(database: Database, stream: str, version: int | None, as_json: bool) -> None:
    """Show how a version of STREAM came: its chunks over time, rates, pauses, and ids that are
    missing.
    """
    database.require_file()

    async def work() -> None:
        async with database.service() as service:
            info = await service.status(stream, version)
            timeline = await timeline_of(service, info, quiet=as_json)
            versions = await service.versions(stream, limit=VERSIONS)
        if as_json:
            print_json(
                as_mapping(info)
                | measures(timeline)
                | {"versions": [as_mapping(each) for each in versions]}
            )
        else:
            show(console(), info, timeline, versions)

    run(work())


async def timeline_of(
    service: DurableStreamService[Any], info: VersionInfo, *, quiet: bool
) -> Timeline:
    """Read the times of all chunks, with a progress bar for a long version."""
    timeline, first = Timeline(), 0
    columns = TextColumn("reading"), BarColumn(), MofNCompleteColumn()
    with Progress(*columns, console=console(err=True), transient=True, disable=quiet) as progress:
        task = progress.add_task("", total=info.next_id)
        while chunks := await service.timeline(info.stream_id, info.version, first=first):
            for chunk in chunks:
                timeline.add(chunk)
            first = chunks[-1].id + 1
            progress.update(task, completed=first)
    if info.state != "pruned":
        timeline.end(info.next_id)
    return timeline


def measures(timeline: Timeline) -> dict[str, Any]:
    """Return a timeline for JSON; durations in seconds, sizes in bytes."""
    return {
        "size": timeline.size,
        "duration": timeline.duration,
        "rate": timeline.rate,
        "pauses": [{"before_id": id, "seconds": seconds} for id, seconds in timeline.pauses()],
        "missing": [{"first": first, "last": last} for first, last in timeline.missing],
        "histogram": timeline.buckets(BUCKETS) if timeline.times else [],
    }


def show(out: Console, info: VersionInfo, timeline: Timeline, versions: list[VersionInfo]) -> None:
    """Print the version, its timeline, and its siblings."""
    facts = Table.grid(padding=(0, 2))
    rate = "all at once" if timeline.rate is None else f"{timeline.rate:.1f} chunks/s"
    facts.add_row("stream", info.stream_id)
    facts.add_row("version", str(info.version))
    facts.add_row("state", styled_state(info))
    for name, value in (
        ("lease", lease_of(info)),
        ("message", info.message_id),
        ("owner", info.owner),
        ("attempt", str(info.attempt) if info.attempt > 1 else None),
        ("stop asked", info.stop_requested_at),
        ("chunks", f"{timeline.chunks} ({short_size(timeline.size)})"),
        ("took", f"{short_duration(timeline.duration)}, {rate}" if timeline.times else None),
    ):
        if value:
            facts.add_row(name, str(value))
    out.print(facts)
    if timeline.duration > 0:
        out.print(f"\n{drawn(timeline.buckets(BUCKETS))}", style="cyan")
        out.print(f"0 s{short_duration(timeline.duration):>{BUCKETS - 3}}", style="dim")
    for id, seconds in timeline.pauses()[:3]:
        out.print(f"a pause of {short_duration(seconds)} before chunk {id}")
    for first, last in timeline.missing:
        out.print(f"chunks {first} to {last} are missing", style="bold red")
    if len(versions) > 1:
        siblings = Table("version", "state", "chunks", "created", box=None)
        for each in versions:
            siblings.add_row(
                str(each.version),
                styled_state(each),
                str(each.next_id),
                str(each.created_at or "")[:19],
            )
        out.print("")
        out.print(siblings)
