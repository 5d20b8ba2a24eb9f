"""A push that cannot be stored is reported, and its version does not end as if it were whole."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Sequence
from typing import Any

import pytest

from monostream_ai import DurableStreamService, JSONProtocol
from monostream_ai.errors import ChunkRefused, MonostreamError, Overflow
from monostream_ai.protocol import Transcript
from monostream_ai.stores.forwarding import ForwardingStore
from monostream_ai.stores.memory import MemoryStore
from monostream_ai.types import Append, Ending
from tests.chunks import ERROR, FINISH, PROTOCOL, Chunk, text

Service = DurableStreamService[Chunk]

REFUSED = {"type": "text", "nul": True}


class Refusing(ForwardingStore):
    """Refuses a payload that says NUL, as a jsonb column does."""

    async def append(
        self, appends: Sequence[Append], *, lease: float
    ) -> list[MonostreamError | None]:
        return [await self._one(append, lease) for append in appends]

    async def _one(self, append: Append, lease: float) -> MonostreamError | None:
        if any("nul" in payload for payload in append.payloads):
            return ChunkRefused(append.lease.stream_id, append.lease.version)
        return (await super().append([append], lease=lease))[0]


class Fussy:
    """A transcript that cannot read one chunk."""

    def feed(self, chunk: Chunk) -> None:
        if chunk == REFUSED:
            raise KeyError("nul")

    def ending(self, ending: Ending, error_text: str = "") -> Sequence[Chunk]:
        return [{"type": ending}]


class FussyProtocol(JSONProtocol[Any]):
    def transcript(self, message_id: str | None = None) -> Transcript[Any]:
        return Fussy()


@pytest.fixture
def service() -> Service:
    return DurableStreamService(Refusing(MemoryStore()), None, PROTOCOL)


async def test_a_refused_push_ends_the_version_with_an_error(service: Service) -> None:
    with pytest.raises(ChunkRefused):
        async with service.publisher("s") as pub:
            pub.push(text(0))
            pub.push(REFUSED)
            pub.push(text(2))
    assert await service.chunks("s") == [text(0), ERROR]


async def test_close_raises_the_refusal_of_a_push(service: Service) -> None:
    pub = await service.publisher("s").open()
    pub.push(text(0))
    pub.push(REFUSED)
    pub.push(text(2))
    with pytest.raises(ChunkRefused):
        await pub.close()
    assert await service.chunks("s") == [text(0), ERROR]


async def test_a_write_after_a_refused_push_raises_its_refusal(service: Service) -> None:
    pub = await service.publisher("s").open()
    pub.push(REFUSED)
    with pytest.raises(ChunkRefused):
        await pub.flush()
    with pytest.raises(ChunkRefused):
        await pub.write(text(1))
    assert await service.chunks("s") == []


async def test_a_terminal_write_that_was_refused_leaves_the_version_open(service: Service) -> None:
    pub = await service.publisher("s").open()
    with pytest.raises(ChunkRefused):
        await pub.write(REFUSED, FINISH)
    assert not pub.closed
    await pub.close("error")
    assert await service.chunks("s") == [ERROR]


async def test_a_push_from_a_thread_that_the_protocol_refuses_ends_with_an_error() -> None:
    service: Service = DurableStreamService(
        MemoryStore(), None, FussyProtocol(lambda chunk: chunk["type"] in ("finish", "error"))
    )
    with pytest.raises(KeyError):
        async with service.publisher("s") as pub:
            await asyncio.to_thread(
                lambda: [pub.push(chunk) for chunk in (text(0), REFUSED, text(2))]
            )
    assert await service.chunks("s") == [text(0), ERROR]


async def test_pushes_from_a_thread_are_bounded_while_the_event_loop_is_blocked(
    service: Service,
) -> None:
    pub = await service.publisher("s").open()
    overflows: list[Overflow] = []

    def push_much() -> None:
        try:
            for _ in range(40):
                pub.push({"type": "text", "x": "x" * 500_000})
        except Overflow as error:
            overflows.append(error)

    thread = threading.Thread(target=push_much)
    thread.start()
    # Not awaited: the loop must stand still.
    thread.join()
    assert len(overflows) == 1
    with pytest.raises(Overflow):
        await pub.close()
    assert (await service.chunks("s"))[-1] == ERROR


async def test_what_a_thread_has_pushed_stands_before_what_is_written_now(service: Service) -> None:
    async with service.publisher("s") as pub:
        for number in range(0, 20, 2):
            thread = threading.Thread(target=pub.push, args=(text(number),))
            thread.start()
            # The event loop stands still, so it has not heard of the push when the write comes.
            thread.join()
            assert await pub.write(text(number + 1)) == number + 1
    assert await service.chunks("s") == [*map(text, range(20)), FINISH]
