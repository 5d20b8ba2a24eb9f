"""The packages and designs that rows compare, each with its programs and its backend."""

from __future__ import annotations

import asyncio
import importlib.util
import secrets
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

from benchmarks.backends import JSONB_TABLE, Backend, Database, Server, durable_streams, redis
from benchmarks.figures import percentile
from benchmarks.pacing import Load
from benchmarks.processes import ROOT, finished, killed, node, printed, python, started

INTERVAL = 0.020
LIMIT = 0.050
"""Seconds within which a chunk must be with its reader to count as in time."""

SETTLE = 0.3
"""Seconds for the last chunks to arrive."""


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


def _jsonb(server: Server) -> Backend:
    return Database(server, JSONB_TABLE)


OURS_PUSHED = Design("monostream_ai, push", python("programs.roles", "ours"), Database, "push")
OURS_WRITTEN = Design("monostream_ai, await write", python("programs.roles", "ours"), Database)
OURS_SILENT = Design("monostream_ai, silent", python("programs.roles", "silent"), Database)
DRIZZLE = Design("Node stand-in, drizzle", node("roles.mjs", "drizzle"), _jsonb)
PLAIN_PG = Design("Node stand-in, plain pg", node("roles.mjs", "pg"), _jsonb)


def _on_redis(
    name: str, command: tuple[str, ...], fsync: str | None, needs: str = "monostream_ai"
) -> Design:
    where = f"Redis fsync {fsync}" if fsync else "Redis in memory"
    return Design(f"{name}, {where}", command, lambda server: redis(fsync), needs=needs)


def _durable(where: str, *, files: bool) -> Design:
    command = node("roles.mjs", "durable-streams")
    backend = lambda server: durable_streams(files=files)  # noqa: E731
    return Design(f"durable-streams, {where}", command, backend)


_NPM = ("npm resumable-stream", node("roles.mjs", "resumable-stream"))
_PYPI = ("PyPI resumable-stream", python("programs.roles", "resumable-stream"))
_ASSISTANT = ("assistant-stream", python("programs.roles", "assistant-stream"))
PEERS = [
    replace(OURS_WRITTEN, name="monostream_ai, Postgres"),
    *(_on_redis(*_NPM, fsync) for fsync in (None, "always")),
    *(_on_redis(*_PYPI, fsync, "resumable_stream") for fsync in (None, "always")),
    *(_on_redis(*_ASSISTANT, fsync, "assistant_stream") for fsync in (None, "everysec", "always")),
    _durable("in memory", files=False),
    _durable("synced files", files=True),
]
"""Packages from the registries beside this one."""


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
        program = await started([*self.design.command, role, load.to_json()])
        self._programs.append(program)
        return program

    async def result(self, role: str, load: Load) -> Any:
        """Run a program in a role that only prints its result."""
        command = [*self.design.command, role, load.to_json()]
        program = await asyncio.create_subprocess_exec(*command, stdout=PIPE, cwd=ROOT)
        self._programs.append(program)
        return await printed(program)

    async def kill(self) -> None:
        await killed(*self._programs)
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
            backend = design.backend(server)
            await backend.start()
            stack.push_async_callback(backend.stop)
            one = Running(design, backend)
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

    @property
    def sustained(self) -> bool:
        return self.in_time >= 0.99


async def deliver(server: Server, design: Design, rate: int, seconds: float) -> Delivery:
    """Run a writer and a reader at `rate` chunks/s, on a backend of their own."""
    async with running(server, [design]) as (one,):
        return await deliver_to(one, max(1, round(rate * INTERVAL)), seconds)


async def deliver_to(one: Running, streams: int, seconds: float) -> Delivery:
    load = one.new_load(streams, seconds)
    writer = await one.ready(one.design.writes, load)
    reader = await one.ready("read", load)
    before = one.backend.cpu()
    wrote = await finished(writer)
    await asyncio.sleep(SETTLE)
    used = one.backend.cpu() - before
    read = await finished(reader)
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
