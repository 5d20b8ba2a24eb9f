"""Work for watched versions that keeps failing waits longer each time, and is given up visibly."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from typing import Any

import pytest

from monostream_ai import DurableStreamService, JSONProtocol
from monostream_ai.errors import UnknownStream
from monostream_ai.protocol import Transcript
from monostream_ai.stores.memory import MemoryStore
from monostream_ai.types import MAX_CHUNK_BYTES, Ending
from tests.backends import BACKENDS, Backend, open_backend

LEASE = 30.0


class Clock:
    """Seconds that pass when a test says so."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def store(clock: Clock) -> MemoryStore:
    return MemoryStore(clock)


def a_service(store: Any, protocol: Any = None) -> DurableStreamService[Any]:
    return DurableStreamService(store, None, protocol or JSONProtocol(ending=_ending), lease=LEASE)


def _ending(ending: Ending) -> Sequence[Any]:
    return [{"type": ending}]


async def fail() -> None:
    raise LookupError("the history is down")


async def ended(service: DurableStreamService[Any], stream_id: str = "s") -> None:
    async with service.publisher(stream_id, watched=True) as pub:
        await pub.write({"type": "text"})


async def lost(service: DurableStreamService[Any], stream_id: str = "s") -> None:
    pub = await service.publisher(stream_id, watched=True, on_cancel="release").open()
    await pub.release()


async def delays_of(clock: Clock, call: Any) -> list[float]:
    """Call as soon as it is allowed again, until the version is listed no more."""
    delays, since = list[float](), clock.now
    while await call.due():
        delays.append(clock.now - since)
        since = clock.now
        await call()
        step = 1.0
        while not await call.due() and clock.now - since < 100_000:
            clock.now += step
            step *= 1.02
    return delays


class Attempts:
    def __init__(self, service: DurableStreamService[Any], *, lost: bool) -> None:
        self.service = service
        self.lost = lost
        self.count = 0

    async def due(self) -> bool:
        return await self.service.unattended() != []

    async def __call__(self) -> None:
        self.count += 1
        call = self.service.recover if self.lost else self.service.settle
        try:
            await call("s", 0, fail)
        except LookupError:
            pass


async def test_failing_work_waits_longer_each_time_and_is_abandoned(
    store: MemoryStore, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    async with a_service(store) as service:
        await ended(service)
        attempts = Attempts(service, lost=False)
        delays = await delays_of(clock, attempts)
        assert attempts.count == 12
        assert delays == pytest.approx(
            [0] + [60.0 * 2**n for n in range(9)] + [15_360.0] * 2, rel=0.1
        )
        status = await service.status("s")
        assert (status.abandoned_at is not None, status.attended) == (True, 12)
        statistics = service.statistics()
        assert (statistics.abandoned, statistics.errors["settle"]) == (1, 12)
        errors = [each for each in caplog.records if each.levelno == logging.ERROR]
        assert [each.getMessage() for each in errors] == [
            "stream 's' version 0 is abandoned after 12 attempts to look after it"
        ]


async def test_an_abandoned_version_is_settled_by_hand(store: MemoryStore, clock: Clock) -> None:
    done = list[int]()

    async def work() -> None:
        done.append(1)

    async with a_service(store) as service:
        await ended(service)
        await delays_of(clock, Attempts(service, lost=False))
        with pytest.raises(LookupError):
            await service.settle("s", 0, fail)
        clock.now += 61
        assert await service.settle("s", 0, work)
        assert not await service.settle("s", 0, work)
        assert (done, (await service.status("s")).abandoned_at) == ([1], None)


async def test_work_that_kills_its_process_is_abandoned_too(
    store: MemoryStore, clock: Clock
) -> None:
    """The store counts an attempt before the work begins."""
    async with a_service(store) as service:
        await ended(service)
        for _ in range(13):
            assert len(await service.unattended()) == 1
            task = asyncio.create_task(service.settle("s", 0, asyncio.Event().wait, timeout=60))
            await asyncio.sleep(0.01)
            task.cancel()
            await asyncio.wait([task])
            clock.now += 16_000
        assert await service.unattended() == []
        assert (await service.status("s")).abandoned_at is not None


async def test_a_lost_version_that_cannot_be_recovered_is_ended(
    store: MemoryStore, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    async with a_service(store) as service:
        await lost(service)
        attempts = Attempts(service, lost=True)
        for waiting in (0.0, *(LEASE * 2**n for n in range(5))):
            clock.now += waiting + 0.1
            assert [info.state for info in await service.unattended(state="open")] == ["open"]
            await attempts()
            assert await service.unattended(state="open") == []
        assert [chunk["type"] for chunk in await service.chunks("s")] == ["lost"]
        assert service.statistics().errors["recover"] == 5
        assert "could not be recovered in 5 attempts, and was ended" in caplog.text
        # Its end is still to be settled.
        assert [info.state for info in await service.unattended()] == ["closed"]


async def test_one_process_recovers_a_lost_version(store: MemoryStore) -> None:
    done = list[int]()

    async def work(number: int) -> None:
        await asyncio.sleep(0)
        done.append(number)

    async with a_service(store) as first, a_service(store) as second:
        await lost(first)
        calls = [(first, second)[n % 2].recover("s", 0, lambda n=n: work(n)) for n in range(10)]
        assert (await asyncio.gather(*calls)).count(True) == 1
        assert len(done) == 1
        with pytest.raises(UnknownStream):
            await first.status("other")
        assert not await first.recover("other", 0, lambda: work(9))


class StubbornTranscript:
    """Makes endings that no store takes."""

    def __init__(self, fault: str) -> None:
        self._fault = fault
        self._fed = False

    def feed(self, chunk: Any) -> None:
        self._fed = True
        if self._fault == "feed":
            raise LookupError("an unknown chunk")

    def ending(self, ending: Ending, error_text: str = "") -> Sequence[Any]:
        if self._fault == "too large" and (self._fed or ending == "abort"):
            return [{"type": ending, "text": "x" * MAX_CHUNK_BYTES}]
        if self._fault == "not JSON":
            return [{"type": ending, "text": {1, 2}}]
        if self._fault == "too many":
            return [{"type": ending, "text": "x" * (MAX_CHUNK_BYTES - 100)}] * 9
        return [{"type": ending}]


class StubbornProtocol(JSONProtocol[Any]):
    def __init__(self, fault: str) -> None:
        super().__init__(lambda chunk: chunk["type"] in ("lost", "abort"))
        self._fault = fault

    def transcript(self, message_id: str | None = None) -> Transcript[Any]:
        return StubbornTranscript(self._fault)


@pytest.fixture(params=BACKENDS)
def backend(request: pytest.FixtureRequest, tmp_path: Any) -> Backend:
    return open_backend(request.param, tmp_path, request)


@pytest.mark.parametrize(
    ("fault", "last"),
    [
        ("feed", ["text", "lost"]),
        ("too large", ["text", "lost"]),
        ("not JSON", ["text"]),
        ("too many", ["text"]),
    ],
)
async def test_a_version_whose_ending_cannot_be_stored_is_closed_all_the_same(
    backend: Backend, fault: str, last: list[str]
) -> None:
    store = backend.new_store()
    await store.setup()
    async with a_service(store) as dead:
        pub = await dead.publisher("s", watched=True).open()
        await pub.write({"type": "text"})
        await pub.release()
    store = store if backend.id == "memory" else backend.new_store()
    async with a_service(store, StubbornProtocol(fault)) as service:
        assert await service.end_lost("s", 0)
        assert (await service.status("s")).state == "closed"
        assert [chunk["type"] for chunk in await service.chunks("s")] == last
        assert [chunk["type"] async for chunk in service.subscribe("s")] == last
        assert [info.state for info in await service.unattended()] == ["closed"]
        assert await service.prune(older_than=0.0) == 1


async def test_a_stop_whose_abort_cannot_be_stored_stops_all_the_same(backend: Backend) -> None:
    store = backend.new_store()
    await store.setup()
    async with a_service(store, StubbornProtocol("too large")) as service:
        pub = await service.publisher("s").open()
        await pub.write({"type": "text"})
        assert await service.stop("s")
        status = await service.status("s")
        assert (status.state, status.next_id) == ("closed", 1)
        assert status.stop_requested_at is not None
