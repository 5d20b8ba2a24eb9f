"""Row 5: the statements that 1,000 chunks of 64 streams cost the database; outside transactions,
each is one commit.
"""

from __future__ import annotations

import asyncio

from benchmarks.database import Server
from benchmarks.figures import Figure, Figures
from benchmarks.pacing import Chunk, chunk_now
from monostream_ai import Publisher
from tests.counts.statement_log import CountedProcess

STREAMS = [f"s{number}" for number in range(64)]
CHUNKS = 100
"""Of each stream."""

INTERVAL = 0.02


async def measure(server: Server, rounds: int) -> list[Figure]:
    figures = Figures(5)
    for _ in range(rounds):
        url = await server.new_database()
        async with (
            CountedProcess(url) as writer,
            CountedProcess(url) as reader,
            CountedProcess(url) as idle,
        ):
            pubs = await _publish(writer, reader, idle)
            thousands = len(STREAMS) * CHUNKS / 1000
            for name, process in (
                ("the writer", writer),
                ("a process with readers", reader),
                ("a process without", idle),
            ):
                for kind in ("append", "notify", "read"):
                    figures.add(
                        f"statements of {name}: {kind}",
                        process.statements[kind] / thousands,
                        "/1,000",
                    )
            batches = writer.store.batches
            figures.add("commits for each batch", writer.statements["append"] / batches, "", "<= 1")
            figures.add(
                "notifications for each batch", writer.statements["notify"] / batches, "", "<= 1"
            )
            figures.add("reads of a process without readers", idle.statements["read"], "", "<= 0")
            # Each release is announced too.
            await asyncio.gather(*(pub.release() for pub in pubs))
        await server.drop(url)
    return figures.all()


async def _publish(
    writer: CountedProcess, reader: CountedProcess, idle: CountedProcess
) -> list[Publisher[Chunk]]:
    pubs = [await writer.service.publisher(id, on_cancel="release").open() for id in STREAMS]
    joined = [asyncio.Event() for _ in STREAMS]

    async def follow(id: str, has_first: asyncio.Event) -> None:
        async for _ in reader.service.subscribe(id):
            has_first.set()

    tasks = [
        asyncio.create_task(follow(id, event)) for id, event in zip(STREAMS, joined, strict=True)
    ]
    await asyncio.gather(*(pub.write(chunk_now()) for pub in pubs))
    await asyncio.gather(*(event.wait() for event in joined))
    for process in (writer, reader, idle):
        process.statements.clear()
    writer.store.batches = 0

    async def publish(place: int) -> None:
        # Spread over the interval, as streams of different models are.
        await asyncio.sleep(INTERVAL * place / len(pubs))
        for _ in range(CHUNKS):
            await pubs[place].write(chunk_now())
            await asyncio.sleep(INTERVAL)

    await asyncio.gather(*map(publish, range(len(pubs))))
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    return pubs
