"""This package, with its statements counted: `python designs/counted.py publish|read <load>`."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Sequence
from contextlib import AsyncExitStack
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

from benchmarks.pacing import Chunk, Latencies, Load, publish_pushing, report, told
from monostream_ai import DurableStreamService
from monostream_ai.errors import MonostreamError
from monostream_ai.notifiers.postgres import PostgresNotifier
from monostream_ai.stores.sql import PostgresStore
from monostream_ai.types import Append, Page, Position, WakeUp
from monostream_ai.ui_messages import UIMessageProtocol


class CountedStore(PostgresStore):
    appends = 0
    reads = 0

    async def append(
        self, appends: Sequence[Append], *, lease: float
    ) -> list[MonostreamError | None]:
        self.appends += 1
        return await super().append(appends, lease=lease)

    async def read(
        self, positions: Sequence[Position], *, max_rows: int, max_bytes: int
    ) -> list[Page]:
        self.reads += 1
        return await super().read(positions, max_rows=max_rows, max_bytes=max_bytes)


class CountedNotifier(PostgresNotifier):
    notifications = 0

    async def notify(self, wake_ups: Sequence[WakeUp]) -> None:
        self.notifications += 1
        await super().notify(wake_ups)


async def publish(
    load: Load, service: DurableStreamService[Chunk], store: CountedStore, notifier: CountedNotifier
) -> None:
    async with AsyncExitStack() as stack:
        pubs = {id: service.publisher(id, on_cancel="release") for id in load.streams}
        for first in range(0, len(load.streams), 64):
            await asyncio.gather(*(pubs[id].open() for id in load.streams[first : first + 64]))
        stack.push_async_callback(lambda: asyncio.gather(*(pub.release() for pub in pubs.values())))
        opened = store.appends, notifier.notifications
        await publish_pushing(load, lambda id, number, chunk: pubs[id].push(chunk))
        report(batches=store.appends - opened[0], notifications=notifier.notifications - opened[1])


async def read(load: Load, service: DurableStreamService[Chunk], store: CountedStore) -> None:
    latencies = Latencies()

    async def follow(id: str) -> None:
        async for chunk in service.subscribe(id):
            latencies.take(chunk)

    tasks = [asyncio.create_task(follow(id)) for id in load.streams]
    await told("ready")
    joined = store.reads
    await asyncio.to_thread(sys.stdin.readline)
    report(reads=store.reads - joined)
    latencies.report()
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


async def main(role: str, options: str) -> None:
    load = Load(**json.loads(options))
    store, notifier = CountedStore.from_url(load.url), CountedNotifier.from_url(load.url)
    async with DurableStreamService(store, notifier, UIMessageProtocol()) as service:
        if role == "publish":
            await publish(load, service, store, notifier)
        else:
            await read(load, service, store)


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
