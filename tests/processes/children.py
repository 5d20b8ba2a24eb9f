"""A process with one service, told what to do by lines on its standard input; it answers by lines
on its standard output.

    python -m tests.processes.children URL LEASE

It leaves when its input ends.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Awaitable

from monostream_ai import DurableStreamService, MonostreamError, Publisher, create_service
from tests.chunks import PROTOCOL, Chunk, text


def say(*words: object) -> None:
    print(*words, flush=True)


class Child:
    def __init__(self, service: DurableStreamService[Chunk]) -> None:
        self._service = service
        self._pub: Publisher[Chunk] | None = None
        self._background: set[asyncio.Task[None]] = set()

    async def obey(self) -> None:
        say("ready")
        while line := (await asyncio.to_thread(sys.stdin.readline)).strip():
            verb, *arguments = line.split()
            work = self._guarded(getattr(self, verb)(*arguments))
            if verb in ("read", "run", "answer"):
                task = asyncio.create_task(work)
                self._background.add(task)
                task.add_done_callback(self._background.discard)
            else:
                await work
        for task in self._background:
            task.cancel()
        await asyncio.gather(*self._background, return_exceptions=True)

    async def _guarded(self, work: Awaitable[None]) -> None:
        try:
            await work
        except MonostreamError as error:
            say("error", type(error).__name__)

    @property
    def pub(self) -> Publisher[Chunk]:
        assert self._pub is not None
        return self._pub

    async def open(self, stream_id: str, version: str = "next") -> None:
        """Open a version and say which."""
        self._pub = self._service.publisher(
            stream_id, "next" if version == "next" else int(version)
        )
        await self._pub.open()
        say("opened", self._pub.version)

    async def watch(self, stream_id: str) -> None:
        """Open a watched version and say which."""
        self._pub = self._service.publisher(stream_id, watched=True)
        await self._pub.open()
        say("opened", self._pub.version)

    async def write(self, number: str) -> None:
        """Write one chunk and say its id."""
        say("wrote", await self.pub.write(text(int(number))))

    async def leave(self) -> None:
        """Leave the version to a successor."""
        await self.pub.leave(within=600.0)
        say("left")

    async def run(self, count: str) -> None:
        """Write many chunks and say each id once it is durable; then close."""
        for number in range(int(count)):
            say("wrote", await self.pub.write(text(number)))
        await self.pub.close()
        say("closed")

    async def answer(self, stream_id: str) -> None:
        """Open a version as a block, write one chunk, and wait for a model that has gone silent."""
        async with self._service.publisher(stream_id) as pub:
            await pub.write(text(0))
            say("answering", pub.version)
            await asyncio.Event().wait()

    async def read(self, stream_id: str) -> None:
        """Say the position of each chunk and how the stream ended."""
        subscription = self._service.subscribe(stream_id, on_superseded="raise")
        async for chunk in subscription:
            say("read", subscription.cursor, chunk.get("n", chunk["type"]))
        say("ended")

    async def end(self, stream_id: str) -> None:
        say("ended", await self._service.end_lost(stream_id, 0))

    async def stop(self, stream_id: str) -> None:
        say("stopped", await self._service.stop(stream_id))


async def main(url: str, lease: str) -> None:
    async with create_service(url, PROTOCOL, lease=float(lease), poll_interval=1.0) as service:
        # Kept until the service is closed: a publisher that is dropped is not released but left to
        # lapse.
        child = Child(service)
        await child.obey()


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
