"""This package, as its README has it."""

from __future__ import annotations

from collections.abc import AsyncIterator

from benchmarks.pacing import Chunk
from monostream_ai import create_service
from monostream_ai._writing.publisher import Publisher


class OursWriter:
    def __init__(self, pub: Publisher[Chunk]) -> None:
        self._pub = pub

    async def write(self, chunk: Chunk) -> None:
        await self._pub.write(chunk)

    async def end(self) -> None:
        await self._pub.close()


class Ours:
    def __init__(self, url: str) -> None:
        self._service = create_service(url)

    async def open(self, id: str) -> OursWriter:
        return OursWriter(await self._service.publisher(id).open())

    def join(self, id: str) -> AsyncIterator[Chunk]:
        return self._service.subscribe(id)
