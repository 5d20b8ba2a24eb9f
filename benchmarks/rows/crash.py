"""Row 12: from the SIGKILL of a publisher's process to its readers' `PublisherLost`, and to the
first chunk of a retry.
"""

from __future__ import annotations

import json
import time

from benchmarks.database import Server
from benchmarks.delivery import python, started
from benchmarks.figures import Figure, Figures
from benchmarks.pacing import chunk_now
from monostream_ai import create_service
from monostream_ai.errors import PublisherLost

LEASE = 2.0


async def measure(server: Server, rounds: int) -> list[Figure]:
    figures = Figures(12)
    for _ in range(rounds):
        url = await server.new_database()
        process = await started([*python("dying.py"), json.dumps({"url": url, "lease": LEASE})])
        async with create_service(url, lease=LEASE) as service:
            subscription = service.subscribe("s")
            await anext(subscription)
            process.kill()
            killed = time.monotonic()
            await process.wait()
            try:
                async for _chunk in subscription:
                    pass
            except PublisherLost:
                lost = time.monotonic() - killed
            retried = service.subscribe("s", after=subscription.cursor)
            async with service.publisher("s") as pub:
                await pub.write(chunk_now())
                await anext(retried)
                first = time.monotonic() - killed
        figures.add(
            f"crash with a lease of {LEASE:g} s: to PublisherLost", lost, "s", f"<= {LEASE + 1:g}"
        )
        figures.add(
            f"crash with a lease of {LEASE:g} s: to a retry's first chunk",
            first,
            "s",
            f"<= {LEASE + 1:g}",
        )
        await server.drop(url)
    return figures.all()
