"""The packages and designs that rows compare, each with its programs and its backend."""

from __future__ import annotations

import asyncio
import importlib.util
import json
import secrets
from asyncio.subprocess import Process
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import asdict, dataclass, replace
from typing import Any, NamedTuple

from benchmarks import processes
from benchmarks.figures import percentile
from benchmarks.pacing import Load
from benchmarks.processes import Database, PortProgram, Server, node, python

INTERVAL = 0.020
LIMIT = 0.050
"""Seconds within which a chunk must be with its reader to count as in time."""

SETTLE = 0.3
"""Seconds for the last chunks to arrive."""

JSONB_TABLE = """
CREATE TABLE stream_chunk (
  stream_id TEXT NOT NULL, version BIGINT NOT NULL DEFAULT 0, id BIGINT NOT NULL,
  created_at TIMESTAMP NOT NULL DEFAULT NOW(), chunk JSONB NOT NULL,
  PRIMARY KEY (stream_id, version, id)
)
"""
"""The table in the README of the TypeScript package."""

Backend = Database | PortProgram


def redis(fsync: str | None) -> PortProgram:
    """A redis-server without snapshots; `fsync` is its appendfsync, None appends nothing."""
    log = ["--appendonly", "yes", "--appendfsync", fsync] if fsync else ["--appendonly", "no"]
    options = ["redis-server", "--bind", "127.0.0.1", "--save", "", *log]
    return PortProgram(
        "redis", lambda port, folder: [*options, "--port", str(port), "--dir", str(folder)]
    )


def durable_streams(*, files: bool) -> PortProgram:
    """The reference server of Durable Streams, on files that it syncs, or in memory."""
    return PortProgram(
        "http", lambda port, folder: node("durable_server.mjs", str(port), *[str(folder)] * files)
    )


@dataclass(frozen=True)
class Design:
    """A package, or a design of one's own, on a backend.

    Args:
        command: Its program, to which a role and a load are added.
        writes: Role of its writer.
        needs: Python package without which it is left out.
    """

    name: str
    command: tuple[str, ...]
    backend: Callable[[Server], Backend]
    writes: str = "publish"
    needs: str = "monostream_ai"


OURS_WRITTEN = Design("monostream_ai, await write", python("programs.roles", "ours"), Database)
OURS_PUSHED = replace(OURS_WRITTEN, name="monostream_ai, push", writes="push")
OURS_WRITTEN_READ = replace(
    OURS_WRITTEN,
    name="monostream_ai, await write, inline never",
    command=python("programs.roles", "ours-never"),
)
OURS_PUSHED_READ = replace(
    OURS_WRITTEN_READ, name="monostream_ai, push, inline never", writes="push"
)
OURS_SILENT = replace(OURS_WRITTEN, command=python("programs.roles", "silent"))
OURS_IN_MEMORY = replace(
    OURS_WRITTEN, name="monostream_ai, in memory", command=python("programs.roles", "memory")
)
DRIZZLE = Design(
    "Node stand-in, drizzle",
    node("roles.mjs", "drizzle"),
    lambda server: Database(server, JSONB_TABLE),
)
PLAIN_PG = replace(DRIZZLE, name="Node stand-in, plain pg", command=node("roles.mjs", "pg"))


def _on_redis(
    name: str, command: tuple[str, ...], *fsyncs: str | None, needs: str = "monostream_ai"
) -> Iterator[Design]:
    for fsync in fsyncs:
        where = f"Redis fsync {fsync}" if fsync else "Redis in memory"
        backend = lambda _, fsync=fsync: redis(fsync)  # noqa: E731
        yield Design(f"{name}, {where}", command, backend, needs=needs)


_NPM = ("npm resumable-stream", node("roles.mjs", "resumable-stream"))
_PYPI = ("PyPI resumable-stream", python("programs.roles", "resumable-stream"))
_ASSISTANT = ("assistant-stream", python("programs.roles", "assistant-stream"))
_DURABLE = node("roles.mjs", "durable-streams")
PEERS = [
    replace(OURS_WRITTEN, name="monostream_ai, Postgres"),
    *_on_redis(*_NPM, None, "always"),
    *_on_redis(*_PYPI, None, "always", needs="resumable_stream"),
    *_on_redis(*_ASSISTANT, None, "everysec", "always", needs="assistant_stream"),
    Design("durable-streams, in memory", _DURABLE, lambda _: durable_streams(files=False)),
    Design("durable-streams, synced files", _DURABLE, lambda _: durable_streams(files=True)),
]
"""Packages from the registries beside this one, each on a backend of its own."""

PEER_READ = replace(OURS_WRITTEN_READ, name="monostream_ai, Postgres, inline never")


class Running:
    """A design whose backend runs, and its programs."""

    def __init__(self, design: Design, backend: Backend) -> None:
        self.design = design
        self.backend = backend
        self._programs: list[Process] = []

    def new_load(self, streams: int, seconds: float, **options: Any) -> Load:
        """Return a load of 50 chunks/s for each stream, on streams that nobody has used."""
        prefix = secrets.token_hex(4)
        names = [f"{prefix}-{number:03}" for number in range(streams)]
        return Load(self.backend.url, names, INTERVAL, seconds, **options)

    async def ready(self, role: str, load: Load) -> Process:
        """Start a program in a role, and return when it is ready."""
        program = await processes.started([*self.design.command, role, json.dumps(asdict(load))])
        self._programs.append(program)
        return program

    async def kill(self) -> None:
        await processes.killed(*self._programs)
        self._programs.clear()


@asynccontextmanager
async def running(server: Server, designs: Sequence[Design]) -> AsyncIterator[list[Running]]:
    """Start the backends of those designs that are installed, and stop them."""
    async with AsyncExitStack() as stack:
        started = []
        for design in designs:
            if importlib.util.find_spec(design.needs) is None:
                print(f"{design.name} is left out: {design.needs} is not installed")
                continue
            one = Running(design, await stack.enter_async_context(design.backend(server)))
            stack.push_async_callback(one.kill)
            started.append(one)
        yield started


class Delivery(NamedTuple):
    """Chunks that reached a reader; latencies in milliseconds, CPU in cores."""

    in_time: float
    p50: float
    p99: float
    cpu: dict[str, float]
    cpu_per_chunk: float
    """Microseconds of all processes for each chunk that arrived."""


async def deliver(server: Server, design: Design, rate: int, seconds: float) -> Delivery:
    """Run a writer and a reader at `rate` chunks/s, on a backend of their own."""
    async with running(server, [design]) as (one,):
        return await deliver_to(one, max(1, round(rate * INTERVAL)), seconds)


async def deliver_to(one: Running, streams: int, seconds: float) -> Delivery:
    load = one.new_load(streams, seconds)
    writer = await one.ready(one.design.writes, load)
    reader = await one.ready("read", load)
    before = one.backend.cpu()
    wrote = await processes.finished(writer)
    await asyncio.sleep(SETTLE)
    used = one.backend.cpu() - before
    read = await processes.finished(reader)
    await one.kill()
    times = sorted(read["latencies"])
    if len(times) > load.chunks:
        raise RuntimeError(f"{one.design.name}: {len(times)} chunks arrived of {load.chunks}")
    in_time = sum(time <= LIMIT * 1e6 for time in times) / load.chunks
    # Where nothing arrives, it is as late as can be.
    p50, p99 = (percentile(times or [10**9], part) / 1e3 for part in (0.5, 0.99))
    spent = {"publisher": wrote["cpu"], "reader": read["cpu"], "backend": used}
    each = sum(spent.values()) / max(len(times), 1) * 1e6
    return Delivery(in_time, p50, p99, {part: cpu / seconds for part, cpu in spent.items()}, each)
