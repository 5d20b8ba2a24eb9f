"""Rows 12, 16 and 17: packages that people use today, their speed, and their crashes."""

from __future__ import annotations

import asyncio
import time

from benchmarks.designs import OURS_WRITTEN, PEERS, Running, deliver_to, running
from benchmarks.figures import Row
from benchmarks.pacing import chunk_now
from benchmarks.processes import killed, printed, tell
from monostream_ai import create_service
from monostream_ai.errors import PublisherLost

SPEAKING = 2.0
STORED = 1.0
"""Seconds of a load after which a reader joins."""

LIFE = 60.0
"""Seconds of a load whose writer is killed."""

SILENCE = 3.0
"""Seconds without a chunk after which a reader that joined has all there is."""

SPOKEN = 0.5
CRASH = "a SIGKILL of the backend"
LEASE = 2.0
WAIT = 20.0
"""Seconds that a reader has to learn of a death; our lease is 15 by default."""


async def crash(row: Row) -> None:
    """Row 12: from a SIGKILL of a writer to `PublisherLost`, and to the first chunk of a retry."""
    async with running(row.server, [OURS_WRITTEN]) as (one,):
        load = one.new_load(1, LIFE, lease=LEASE)
        writer = await one.ready("publish", load)
        tell(writer)
        async with create_service(load.url, lease=LEASE) as service:
            subscription = service.subscribe(load.streams[0])
            await anext(subscription)
            await killed(writer)
            dead = time.monotonic()
            try:
                async for _ in subscription:
                    pass
            except PublisherLost:
                lost = time.monotonic() - dead
            retried = service.subscribe(load.streams[0], after=subscription.cursor)
            async with service.publisher(load.streams[0]) as pub:
                await pub.write(chunk_now())
                await anext(retried)
                first = time.monotonic() - dead
    for event, seconds in (("PublisherLost", lost), ("a retry's first chunk", first)):
        name = f"SIGKILL with a lease of {LEASE:g} s: to {event}"
        row.add(name, seconds, "s", f"<= {LEASE + 1:g}")


async def speed(row: Row) -> None:
    """Row 16: how late chunks are in another process, one stream and 64."""
    async with running(row.server, PEERS) as peers:
        for streams in (1, 64):
            for peer in peers:
                got = await deliver_to(peer, streams, row.seconds(SPEAKING))
                name = f"{streams} × 50/s: {peer.design.name}"
                row.add(f"{name}, p50", got.p50, "ms")
                row.add(f"{name}, p99", got.p99, "ms")
                row.add(f"{name}, in time", got.in_time, "")


async def faults(row: Row) -> None:
    """Row 17: what a reader learns of a writer's death, and how much one gets that joins."""
    async with running(row.server, PEERS) as peers:
        # These mostly wait, so all at once.
        for case in (_death, _joining):
            async with asyncio.TaskGroup() as group:
                for peer in peers:
                    group.create_task(case(row, peer))


async def _death(row: Row, peer: Running) -> None:
    load = peer.new_load(1, LIFE)
    writer = await peer.ready("publish", load)
    reader = await peer.ready("watch", load)
    tell(writer)
    await asyncio.sleep(SPOKEN)
    await killed(writer)
    dead, wait = time.monotonic(), row.seconds(WAIT)
    try:
        async with asyncio.timeout(wait):
            result = await printed(reader)
        known, outcome = result["at"] - dead, result["outcome"]
    except TimeoutError:
        known, outcome = wait, "nothing"
    name = f"SIGKILL of the writer: {peer.design.name}, until a reader knows ({wait:g}: never)"
    row.add(name, known, "s")
    print(f"{peer.design.name}: of the writer's death, a reader learned {outcome}")
    await peer.kill()


async def _joining(row: Row, peer: Running) -> None:
    for title, ends in (("the writer's SIGKILL", False), ("the end", True), (CRASH, False)):
        load = peer.new_load(1, row.seconds(STORED), ends=ends, stays=True, silence=SILENCE)
        writer = await peer.ready("publish", load)
        tell(writer)
        sent = (await printed(writer))["sent"]
        if title == CRASH:
            await peer.backend.crash()
        elif not ends:
            await killed(writer)
        got = await peer.result("watch", load)
        name = f"joining after {title}: {peer.design.name}"
        row.add(f"{name}, of what was written", got["chunks"] / sent, "×")
        print(f"{name}: {got['chunks']} of {sent}, {got['outcome']}")
        await peer.kill()
