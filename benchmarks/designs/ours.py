"""This package: `python designs/ours.py write|push|silent|uvloop publish|read <load>`.

`write` awaits each write, `push` none; `silent` writes and sends no notifications; `uvloop` writes
on that event loop.
"""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Callable
from contextlib import AsyncExitStack
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

from benchmarks.pacing import Chunk, Latencies, Load, publish_awaiting, publish_pushing, told
from monostream_ai import DurableStreamService, create_service
from monostream_ai.stores.sql import PostgresStore
from monostream_ai.ui_messages import UIMessageProtocol


def make_service(load: Load, kind: str) -> DurableStreamService[Chunk]:
    if kind == "silent":
        return DurableStreamService(PostgresStore.from_url(load.url), None, UIMessageProtocol())
    return create_service(load.url)


async def publish(load: Load, kind: str) -> None:
    async with make_service(load, kind) as service, AsyncExitStack() as stack:
        pubs = {id: service.publisher(id, on_cancel="release") for id in load.streams}
        for first in range(0, len(load.streams), 64):
            await asyncio.gather(*(pubs[id].open() for id in load.streams[first : first + 64]))
        stack.push_async_callback(lambda: asyncio.gather(*(pub.release() for pub in pubs.values())))
        if kind == "push":
            await publish_pushing(load, lambda id, number, chunk: pubs[id].push(chunk))
        else:
            await publish_awaiting(load, lambda id, number, chunk: pubs[id].write(chunk))


async def read(load: Load, kind: str) -> None:
    latencies = Latencies()
    async with make_service(load, kind) as service:

        async def follow(service: DurableStreamService[Chunk], id: str) -> None:
            async for chunk in service.subscribe(id):
                latencies.take(chunk)

        tasks = [asyncio.create_task(follow(service, id)) for id in load.streams]
        await told("ready")
        latencies.report()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def main(kind: str, role: str, options: str) -> None:
    load = Load(**json.loads(options))
    await (publish(load, kind) if role == "publish" else read(load, kind))


def loop_factory(kind: str) -> Callable[[], asyncio.AbstractEventLoop] | None:
    if kind != "uvloop":
        return None
    import uvloop

    return uvloop.new_event_loop


if __name__ == "__main__":
    with asyncio.Runner(loop_factory=loop_factory(sys.argv[1])) as runner:
        runner.run(main(*sys.argv[1:]))
