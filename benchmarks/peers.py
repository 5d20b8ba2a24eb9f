"""Rows 16 and 17: the packages that are compared, each with what it keeps its chunks in, and how
their programs are run.
"""

from __future__ import annotations

import asyncio
import json
import secrets
from asyncio.subprocess import Process
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import Any

from benchmarks.backends import Backend, Postgres, durable_streams, redis
from benchmarks.delivery import HERE, INTERVAL, python, started
from benchmarks.pacing import Load


@dataclass(frozen=True)
class Peer:
    """A package on a backend.

    Args:
        ordered: Whether it keeps the order of writes that do not wait for each other.
    """

    name: str
    command: tuple[str, ...]
    backend: Callable[[], Backend]
    ordered: bool = False


def npm(kind: str) -> tuple[str, ...]:
    return ("node", str(HERE / "node" / "peers.mjs"), kind)


OURS = Peer("monostream_ai, Postgres", python("peers.py", "ours"), Postgres, ordered=True)
PEERS = [
    OURS,
    Peer("npm resumable-stream, Redis in memory", npm("resumable-stream"), lambda: redis(None)),
    Peer(
        "npm resumable-stream, Redis fsync always", npm("resumable-stream"), lambda: redis("always")
    ),
    Peer(
        "PyPI resumable-stream, Redis in memory",
        python("peers.py", "resumable-stream"),
        lambda: redis(None),
    ),
    Peer(
        "PyPI resumable-stream, Redis fsync always",
        python("peers.py", "resumable-stream"),
        lambda: redis("always"),
    ),
    Peer(
        "assistant-stream, Redis in memory",
        python("peers.py", "assistant-stream"),
        lambda: redis(None),
    ),
    Peer(
        "assistant-stream, Redis fsync everysec",
        python("peers.py", "assistant-stream"),
        lambda: redis("everysec"),
    ),
    Peer(
        "assistant-stream, Redis fsync always",
        python("peers.py", "assistant-stream"),
        lambda: redis("always"),
    ),
    Peer(
        "durable-streams, in memory",
        npm("durable-streams"),
        lambda: durable_streams(files=False),
        ordered=True,
    ),
    Peer(
        "durable-streams, synced files",
        npm("durable-streams"),
        lambda: durable_streams(files=True),
        ordered=True,
    ),
]


class Running:
    """A peer whose backend runs, and its programs."""

    def __init__(self, peer: Peer, backend: Backend) -> None:
        self.peer = peer
        self.backend = backend
        self._programs: list[Process] = []

    def new_load(self, streams: int, seconds: float) -> Load:
        """Return a load on streams that nobody has used; seconds of 50 chunks for each."""
        prefix = secrets.token_hex(4)
        return Load(
            self.backend.url,
            [f"{prefix}-{number:02}" for number in range(streams)],
            INTERVAL,
            seconds,
        )

    async def ready(self, role: str, load: Load) -> Process:
        """Start a program in a role that says when it is ready."""
        program = await started([*self.peer.command, role, load.to_json()])
        self._programs.append(program)
        return program

    async def result(self, role: str, load: Load) -> Any:
        """Run a program in a role that only says what came of it."""
        command = [*self.peer.command, role, load.to_json()]
        program = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE)
        self._programs.append(program)
        return await said(program)

    async def kill(self) -> None:
        """Kill the programs that are left, so that they do not load what is measured next."""
        for program in self._programs:
            if program.returncode is None:
                program.kill()
            await program.wait()
        self._programs.clear()


async def said(program: Process) -> Any:
    assert program.stdout is not None
    return json.loads(await program.stdout.readline())


@asynccontextmanager
async def running(peers: Sequence[Peer]) -> AsyncIterator[list[Running]]:
    """Start the backends of some peers, and stop them."""
    async with AsyncExitStack() as stack:
        peers_running = []
        for peer in peers:
            backend = peer.backend()
            await backend.start()
            stack.push_async_callback(backend.stop)
            one = Running(peer, backend)
            stack.push_async_callback(one.kill)
            peers_running.append(one)
        yield peers_running
