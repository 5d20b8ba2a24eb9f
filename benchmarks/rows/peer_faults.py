"""Row 17: what readers learn of a writer's death, and what is left for who joins after it, after
the end, or after a crash.
"""

from __future__ import annotations

import asyncio
import time

from benchmarks.database import Server
from benchmarks.figures import Figure, Figures
from benchmarks.pacing import Load
from benchmarks.peers import PEERS, Running, running, said

WAIT = 20.0
"""Seconds that a reader is given to learn of a death; the lease of monostream_ai is 15 by default.
"""

STORED = 2.0
"""Seconds of a load, of which all chunks are written before somebody joins."""


async def measure(server: Server, rounds: int) -> list[Figure]:
    figures = Figures(17)
    async with running(PEERS) as peers:
        for _ in range(rounds):
            # They mostly wait: all at once.
            await asyncio.gather(*(_death(peer, figures) for peer in peers))
            for peer in peers:
                await _joining(peer, figures)
    return figures.all()


async def _death(peer: Running, figures: Figures) -> None:
    load = peer.new_load(1, STORED)
    writer = await peer.ready("die", load)
    reader = await peer.ready("follow", load)
    writer.kill()
    killed = time.monotonic()
    try:
        async with asyncio.timeout(WAIT):
            result = await said(reader)
        known, outcome = result["at"] - killed, result["outcome"]
    except TimeoutError:
        known, outcome = WAIT, "never"
    figures.add(
        f"SIGKILL of the writer: {peer.peer.name}, until a reader knows ({WAIT:g}: never)",
        known,
        "s",
    )
    print(f"{peer.peer.name}: reader of the dead: {outcome}")
    await peer.kill()


async def _joining(peer: Running, figures: Figures) -> None:
    for role, title in (("leave", "after the writer's SIGKILL"), ("end", "after the end")):
        load = peer.new_load(1, STORED)
        writer = await peer.ready(role, load)
        if role == "leave":
            writer.kill()
        await _join(peer, load, title, figures)
    load = peer.new_load(1, STORED)
    await peer.ready("leave", load)
    await peer.backend.crash()
    await _join(peer, load, "after a SIGKILL of the backend", figures)


async def _join(peer: Running, load: Load, title: str, figures: Figures) -> None:
    result = await peer.result("join", load)
    figures.add(
        f"joining {title}: {peer.peer.name}, of what was written",
        result["chunks"] / load.chunks,
        "×",
    )
    print(f"{peer.peer.name}: {title}: {result['chunks']} of {load.chunks}, {result['outcome']}")
    await peer.kill()
