"""Row 16: how late chunks are with a reader in another process, and how fast one writer is that
awaits each write.
"""

from __future__ import annotations

from benchmarks.database import Server
from benchmarks.delivery import LIMIT, finished
from benchmarks.figures import Figure, Figures
from benchmarks.peers import PEERS, Running, running

SECONDS = 2.0
APPENDING = 1.5
STREAMS = (1, 64)


async def measure(server: Server, rounds: int) -> list[Figure]:
    figures = Figures(16)
    async with running(PEERS) as peers:
        for _ in range(rounds):
            for streams in STREAMS:
                for peer in peers:
                    await _tail(peer, streams, figures)
            for peer in peers:
                await _append(peer, "append", "one writer, each write awaited", figures)
                if peer.peer.ordered:
                    await _append(peer, "pipeline", "one writer, 64 writes in flight", figures)
    return figures.all()


async def _tail(peer: Running, streams: int, figures: Figures) -> None:
    load = peer.new_load(streams, SECONDS)
    publisher = await peer.ready("publish", load)
    reader = await peer.ready("read", load)
    await finished(publisher)
    times = sorted((await finished(reader))["latencies"])
    name = f"{streams} × 50/s: {peer.peer.name}"
    if times:
        for part, percent in ((0.5, "p50"), (0.99, "p99")):
            figures.add(
                f"{name}, {percent}", times[min(len(times) - 1, int(len(times) * part))] / 1e3, "ms"
            )
    figures.add(f"{name}, in time", sum(time <= LIMIT * 1e6 for time in times) / load.chunks, "")
    await peer.kill()


async def _append(peer: Running, role: str, title: str, figures: Figures) -> None:
    load = peer.new_load(1, APPENDING)
    publisher = await peer.ready(role, load)
    await peer.ready("read", load)
    sent = (await finished(publisher))["sent"]
    figures.add(f"{title}: {peer.peer.name}", sent / APPENDING, "writes/s")
    await peer.kill()
