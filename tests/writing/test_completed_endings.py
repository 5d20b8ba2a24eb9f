"""A transcript puts chunks before a terminal chunk that a program wrote, in the same append."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from monostream_ai import DurableStreamService, JSONProtocol, StreamClosed
from monostream_ai.protocol import Transcript
from monostream_ai.stores.memory import MemoryStore
from monostream_ai.types import Ending
from tests.chunks import FINISH, PROTOCOL, Chunk, text

Service = DurableStreamService[Chunk]


class Counting:
    """Says before `finish` how many chunks came before it, unless that was said."""

    def __init__(self) -> None:
        self._count = 0
        self._said = False

    def feed(self, chunk: Chunk) -> None:
        self._count += 1
        self._said = chunk["type"] == "count"

    def before_terminal(self, terminal: Chunk) -> Sequence[Chunk]:
        return [] if self._said else [{"type": "count", "n": self._count}]

    def ending(self, ending: Ending, error_text: str = "") -> Sequence[Chunk]:
        return [*self.before_terminal(FINISH), FINISH]


class CountingProtocol(JSONProtocol[Chunk]):
    def transcript(self, message_id: str | None = None) -> Transcript[Chunk]:
        return Counting()


@pytest.fixture
def service() -> Service:
    protocol = CountingProtocol(PROTOCOL.is_terminal)
    return DurableStreamService(MemoryStore(), None, protocol)


def counted(count: int) -> list[Chunk]:
    return [*map(text, range(count)), {"type": "count", "n": count}, FINISH]


async def test_a_written_terminal_chunk_is_completed_in_its_append(service: Service) -> None:
    pub = await service.publisher("s").open()
    await pub.write(text(0))

    assert await pub.write(text(1), FINISH) == 3
    assert (await service.status("s")).state == "closed"
    assert await service.chunks("s", 0) == counted(2)


async def test_a_pushed_terminal_chunk_is_completed(service: Service) -> None:
    async with service.publisher("s") as pub:
        for chunk in (text(0), text(1), FINISH):
            pub.push(chunk)

    assert await service.chunks("s", 0) == counted(2)


async def test_an_ending_is_completed_once(service: Service) -> None:
    async with service.publisher("s") as pub:
        await pub.write(text(0))
    async with service.publisher("t") as pub:
        await pub.write(*counted(1))

    assert await service.chunks("s", 0) == await service.chunks("t", 0) == counted(1)


async def test_a_terminal_chunk_behind_the_end_completes_nothing(service: Service) -> None:
    async with service.publisher("s") as pub:
        await pub.write(FINISH)
        with pytest.raises(StreamClosed):
            await pub.write(FINISH)

    assert await service.chunks("s", 0) == counted(0)
