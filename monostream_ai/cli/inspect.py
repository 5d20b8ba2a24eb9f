"""`inspect`: show the rates, pauses and missing chunks of one version over time."""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final, NamedTuple

import click
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn
from rich.table import Table

from monostream_ai.cli.database import Database, database_options, run
from monostream_ai.cli.formatting import (
    as_mapping,
    console,
    json_option,
    lease_of,
    print_json,
    short_duration,
    short_size,
    styled_state,
)
from monostream_ai.service import DurableStreamService
from monostream_ai.types import StoredChunk, VersionInfo

BUCKETS: Final = 60
VERSIONS: Final = 20
PAUSES: Final = 5
BARS: Final = "▁▂▃▄▅▆▇█"


@click.command()
@database_options
@click.argument("stream")
@click.option("--version", type=click.IntRange(min=0), help="The version; the latest by default.")
@json_option
def inspect(database: Database, stream: str, version: int | None, as_json: bool) -> None:
    """Show one version of STREAM over time.

    Shows its chunks, their rate, the longest pauses, and missing ids; of a running one also for how
    long it has been silent, and the process that holds it.
    """
    database.require_file()

    async def work() -> None:
        async with database.service() as service:
            info = await service.status(stream, version)
            timeline = await timeline_of(service, info, quiet=as_json)
            running = await running_of(service, info, timeline)
            versions = await service.versions(stream, limit=VERSIONS)
        if as_json:
            print_json(
                as_mapping(info)
                | measures(timeline)
                | running._asdict()
                | {"versions": [as_mapping(each) for each in versions]}
            )
        else:
            show(console(), info, timeline, running, versions)

    run(work())


@dataclass
class Timeline:
    """Times and sizes of a version's chunks, added in the order of their ids."""

    chunks: int = 0
    size: int = 0
    missing: list[tuple[int, int]] = field(default_factory=list)
    """Ranges of missing ids, with both ends included."""
    times: list[datetime] = field(default_factory=list)
    _next_id: int = 0

    def add(self, chunk: StoredChunk) -> None:
        self.end(chunk.id)
        self._next_id = chunk.id + 1
        self.chunks += 1
        self.size += chunk.size
        self.times.append(chunk.stored_at)

    def end(self, next_id: int) -> None:
        """Count the ids from the last chunk up to `next_id`, not included, as missing."""
        if next_id > self._next_id:
            self.missing.append((self._next_id, next_id - 1))

    @property
    def duration(self) -> float:
        """Seconds from the first chunk to the last one."""
        return (self.times[-1] - self.times[0]).total_seconds() if self.times else 0.0

    @property
    def rate(self) -> float | None:
        """Chunks per second; None if all were stored at once."""
        return (self.chunks - 1) / self.duration if self.duration > 0 else None

    def pauses(self) -> list[tuple[int, float]]:
        """Return the longest pauses: the number of chunks before each, and its seconds."""
        waits = [
            (later - earlier).total_seconds()
            for earlier, later in zip(self.times, self.times[1:], strict=False)
        ]
        longest = sorted(enumerate(waits, start=1), key=lambda wait: -wait[1])[:PAUSES]
        return [wait for wait in longest if wait[1] > 0]

    def buckets(self, count: int) -> list[int]:
        """Return the number of chunks in each of `count` equal parts of the duration."""
        buckets = [0] * count
        for time in self.times:
            part = (
                (time - self.times[0]).total_seconds() / self.duration if self.duration > 0 else 0.0
            )
            buckets[min(int(part * count), count - 1)] += 1
        return buckets


async def timeline_of(
    service: DurableStreamService[Any], info: VersionInfo, *, quiet: bool
) -> Timeline:
    """Read the times of all chunks, with a progress bar on a terminal unless `quiet`."""
    timeline, first, out = Timeline(), 0, console(err=True)
    columns = TextColumn("reading"), BarColumn(), MofNCompleteColumn()
    progress = Progress(*columns, console=out, transient=True)
    # Elsewhere the bar is an empty line, with old releases of rich even a disabled one.
    shown = out.is_terminal and not quiet
    with progress if shown else nullcontext():
        task = progress.add_task("", total=info.next_id)
        while chunks := await service.timeline(info.stream_id, info.version, first=first):
            for chunk in chunks:
                timeline.add(chunk)
            first = chunks[-1].id + 1
            progress.update(task, completed=first)
    if info.state != "pruned":
        timeline.end(info.next_id)
    return timeline


class Running(NamedTuple):
    """The state of a version that a process writes, at this moment; empty for any other."""

    silent_for: float | None = None
    """Seconds since the last chunk, or since the version was opened."""
    held_by: str | None = None


async def running_of(
    service: DurableStreamService[Any], info: VersionInfo, timeline: Timeline
) -> Running:
    if info.state != "open" or info.waiting:
        return Running()
    store = await service._connected()
    held_by = await store.holder_of(info.stream_id, info.version)
    # Only to ask the clock of the store, by which the times of the chunks are.
    changes = await store.changes(prefix=info.stream_id, since=None, after=None, limit=1)
    since = timeline.times[-1] if timeline.times else info.created_at or changes.now
    return Running(max(0.0, (changes.now - since).total_seconds()), held_by)


def measures(timeline: Timeline) -> dict[str, Any]:
    """Return a timeline for JSON, with durations in seconds and sizes in bytes."""
    return {
        "size": timeline.size,
        "duration": timeline.duration,
        "last_chunk_at": timeline.times[-1] if timeline.times else None,
        "rate": timeline.rate,
        "pauses": [{"before_id": id, "seconds": seconds} for id, seconds in timeline.pauses()],
        "missing": [{"first": first, "last": last} for first, last in timeline.missing],
        "histogram": timeline.buckets(BUCKETS) if timeline.times else [],
    }


def show(
    out: Console,
    info: VersionInfo,
    timeline: Timeline,
    running: Running,
    versions: list[VersionInfo],
) -> None:
    """Print the version, its timeline, and the other versions of its stream."""
    show_facts(out, info, timeline, running)
    if running.silent_for is not None:
        out.print(f"silent for {short_duration(running.silent_for)}", style="bold")
    if timeline.duration > 0:
        out.print(f"\n{drawn(timeline.buckets(BUCKETS))}", style="cyan")
        out.print(f"0 s{short_duration(timeline.duration):>{BUCKETS - 3}}", style="dim")
    for id, seconds in timeline.pauses()[:3]:
        out.print(f"a pause of {short_duration(seconds)} before chunk {id}")
    for first, last in timeline.missing:
        out.print(f"chunks {first} to {last} are missing", style="bold red")
    if len(versions) > 1:
        show_versions(out, versions)


def show_facts(out: Console, info: VersionInfo, timeline: Timeline, running: Running) -> None:
    facts = Table.grid(padding=(0, 2))
    rate = "all at once" if timeline.rate is None else f"{timeline.rate:.1f} chunks/s"
    facts.add_row("stream", info.stream_id)
    facts.add_row("version", str(info.version))
    facts.add_row("state", styled_state(info))
    for name, value in (
        ("lease", lease_of(info)),
        ("held by", running.held_by),
        ("message", info.message_id),
        ("owner", info.owner),
        ("attempt", str(info.attempt)),
        ("created", in_seconds(info.created_at)),
        ("stop asked", in_seconds(info.stop_requested_at)),
        ("chunks", f"{timeline.chunks} ({short_size(timeline.size)})"),
        ("last chunk", in_seconds(timeline.times[-1]) if timeline.times else None),
        ("took", f"{short_duration(timeline.duration)}, {rate}" if timeline.times else None),
    ):
        if value:
            facts.add_row(name, str(value))
    out.print(facts)


def show_versions(out: Console, versions: list[VersionInfo]) -> None:
    table = Table("version", "state", "chunks", "created", box=None)
    for each in versions:
        table.add_row(
            str(each.version),
            styled_state(each),
            str(each.next_id),
            str(each.created_at or "")[:19],
        )
    out.print("")
    out.print(table)


def in_seconds(time: datetime | None) -> str:
    return "" if time is None else f"{time:%Y-%m-%d %H:%M:%S} UTC"


def drawn(buckets: list[int]) -> str:
    """Return one bar for each bucket; empty buckets are spaces."""
    highest = max(buckets, default=0)
    return "".join(
        " " if bucket == 0 else BARS[bucket * (len(BARS) - 1) // highest] for bucket in buckets
    )
