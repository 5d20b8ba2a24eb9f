"""A store and a notifier of one's own, as the README of the TypeScript package shows them."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace

import pytest

from monostream_ai import DurableStreamService
from monostream_ai.errors import MonostreamError
from monostream_ai.interfaces import BackgroundErrors, Listener, Notifier, Store
from monostream_ai.stores.forwarding import ForwardingStore
from monostream_ai.stores.memory import MemoryStore
from monostream_ai.testing import NotifierConformance, StoreConformance
from monostream_ai.types import Append, Page, Position, StoredChunk, WakeUp
from tests.chunks import FINISH, PROTOCOL, Chunk, text, texts

GROWTH = 4
"""Times that a payload grows at most."""


class HexStore(ForwardingStore):
    """Keeps payloads as hexadecimal digits in another store."""

    async def append(
        self, appends: Sequence[Append], *, lease: float
    ) -> list[MonostreamError | None]:
        packed = [
            replace(append, payloads=[pack(payload) for payload in append.payloads])
            for append in appends
        ]
        return await self.inner.append(packed, lease=lease)

    async def read(
        self, positions: Sequence[Position], *, max_rows: int, max_bytes: int
    ) -> list[Page]:
        pages = await self.inner.read(positions, max_rows=max_rows, max_bytes=GROWTH * max_bytes)
        return [replace(page, payloads=unpack(page.payloads, max_bytes)) for page in pages]

    async def payloads(
        self, stream_id: str, version: int, first: int, *, max_rows: int, max_bytes: int
    ) -> list[str]:
        packed = await self.inner.payloads(
            stream_id, version, first, max_rows=max_rows, max_bytes=GROWTH * max_bytes
        )
        return unpack(packed, max_bytes)

    async def timeline(
        self, stream_id: str, version: int, first: int, *, max_rows: int
    ) -> list[StoredChunk]:
        chunks = await self.inner.timeline(stream_id, version, first, max_rows=max_rows)
        return [chunk._replace(size=(chunk.size - len('""')) // 2) for chunk in chunks]


def pack(payload: str) -> str:
    return f'"{payload.encode().hex()}"'


def unpack(packed: Sequence[str], max_bytes: int) -> list[str]:
    payloads: list[str] = []
    size = 0
    for digits in packed:
        if size >= max_bytes:
            break
        payloads.append(bytes.fromhex(digits.strip('"')).decode())
        size += len(digits) // 2 - 1
    return payloads


class Bus(Notifier):
    """Calls the listeners of its process."""

    def __init__(self) -> None:
        self._listeners: list[Listener] = []

    @property
    def healthy(self) -> bool:
        return True

    async def notify(self, wake_ups: Sequence[WakeUp]) -> None:
        for listener in self._listeners:
            for wake_up in wake_ups:
                listener.on_wake_up(wake_up)

    async def listen(
        self, listener: Listener, on_error: BackgroundErrors
    ) -> Callable[[], Awaitable[None]]:
        self._listeners.append(listener)

        async def stop() -> None:
            if listener in self._listeners:
                self._listeners.remove(listener)

        return stop

    async def aclose(self) -> None:
        pass


class BrokenBus(Bus):
    async def notify(self, wake_ups: Sequence[WakeUp]) -> None:
        raise ConnectionError("the broker is down")


class TestBus(NotifierConformance):
    @pytest.fixture
    def notifier(self) -> Notifier:
        return Bus()

    @pytest.fixture
    def peer(self, notifier: Notifier) -> Notifier:
        return notifier


async def collect(service: DurableStreamService[Chunk]) -> list[Chunk]:
    return [chunk async for chunk in service.subscribe("s")]


async def test_a_custom_store() -> None:
    store = MemoryStore()
    async with DurableStreamService(HexStore(store), None, PROTOCOL) as service:
        reading = asyncio.create_task(collect(service))
        async with service.publisher("s") as pub:
            await pub.write(*texts(300))
        assert await reading == await collect(service) == [*texts(300), FINISH]
    [page] = await store.read([Position("s", None, 0)], max_rows=1, max_bytes=1)
    assert page.payloads[0] != PROTOCOL.encode(text(0))


async def test_a_custom_notifier_carries_wake_ups_between_services() -> None:
    store, bus = MemoryStore(), Bus()
    async with (
        DurableStreamService(store, bus, PROTOCOL, poll_interval=60.0) as writer,
        DurableStreamService(store, bus, PROTOCOL, poll_interval=60.0) as reader,
    ):
        subscription = reader.subscribe("s")
        async with asyncio.timeout(10), writer.publisher("s") as pub:
            for number in range(20):
                await pub.write(text(number))
                assert await anext(subscription) == text(number)
        assert [chunk async for chunk in subscription] == [FINISH]


async def test_a_notifier_that_fails_stops_no_stream_and_is_reported() -> None:
    store, bus = MemoryStore(), BrokenBus()
    reported: list[tuple[str, BaseException]] = []
    async with (
        DurableStreamService(store, bus, PROTOCOL, poll_interval=0.2) as writer,
        DurableStreamService(store, bus, PROTOCOL, poll_interval=0.2) as reader,
    ):
        writer.on_error(lambda source, error: reported.append((source, error)))
        async with writer.publisher("s") as pub:
            await pub.write(*texts(3))
        assert await collect(reader) == [*texts(3), FINISH]
        assert writer.statistics().errors["notify"] >= 1
    assert {(source, type(error)) for source, error in reported} == {("notify", ConnectionError)}


async def test_an_error_callback_that_raises_stops_no_stream() -> None:
    def fail(source: str, error: BaseException) -> None:
        raise RuntimeError("a bug in the metrics")

    async with DurableStreamService(MemoryStore(), BrokenBus(), PROTOCOL) as service:
        service.on_error(fail)
        async with service.publisher("s") as pub:
            await pub.write(*texts(3))
        assert await collect(service) == [*texts(3), FINISH]


class TestHexStore(StoreConformance):
    @pytest.fixture
    def store(self) -> Store:
        self.now = 0.0
        return HexStore(MemoryStore(clock=lambda: self.now))

    async def pass_time(self, seconds: float) -> None:
        self.now += seconds
