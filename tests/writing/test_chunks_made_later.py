"""Chunks that are pushed before they are made keep their place, and hold up no version for long."""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable, Sequence

import pytest

from fuzz.virtual_time import VirtualTimeLoop
from monostream_ai import DurableStreamService, Fenced, Publisher, StreamStopped
from monostream_ai._writing.pushes import MAX_HELD
from monostream_ai.errors import (
    InvalidChunk,
    MonostreamError,
    Overflow,
    PublisherClosed,
    ServiceClosed,
)
from monostream_ai.stores.memory import MemoryStore
from monostream_ai.threads import SyncPublisher
from tests.chunks import ABORT, ERROR, FINISH, PROTOCOL, Chunk, text, texts
from tests.hooked_store import Gate, HookedStore

Service = DurableStreamService[Chunk]
Make = Callable[[], Awaitable[Sequence[Chunk]]]

LOST = {"type": "lost"}


class Work:
    """Makes a chunk once it is told to."""

    def __init__(self, number: int) -> None:
        self.begun = asyncio.Event()
        self.cancelled = False
        self._done = asyncio.Event()
        self._number = number

    async def __call__(self) -> list[Chunk]:
        self.begun.set()
        try:
            await self._done.wait()
        except asyncio.CancelledError:
            self.cancelled = True
            raise
        return [text(self._number)]

    def finish(self) -> None:
        self._done.set()


def push_later(
    pub: Publisher[Chunk] | SyncPublisher, make: Make, *, size: int = 1, timeout: float = 60.0
) -> None:
    pub._push_later(make, instead=[LOST], size=size, timeout=timeout)


@pytest.fixture
def store() -> HookedStore:
    return HookedStore(MemoryStore())


@pytest.fixture
async def service(store: HookedStore) -> Service:
    return DurableStreamService(store, None, PROTOCOL)


async def test_chunks_behind_wait_and_chunks_before_do_not(service: Service) -> None:
    async with service.publisher("s") as pub:
        work = Work(1)
        pub.push(text(0))
        push_later(pub, work)
        pub.push(text(2))
        writing = asyncio.create_task(pub.write(text(3)))
        await work.begun.wait()
        while pub.next_id == 0:
            await asyncio.sleep(0)
        assert await service.chunks("s") == [text(0)]
        assert not writing.done()
        work.finish()
        assert await writing == 3
    assert await service.chunks("s") == [*texts(4), FINISH]


async def test_all_are_made_at_once_and_stored_in_their_order(service: Service) -> None:
    async with service.publisher("s") as pub:
        works = [Work(n) for n in range(3)]
        for work in works:
            push_later(pub, work)
        for work in reversed(works):
            await work.begun.wait()
            work.finish()
    assert await service.chunks("s") == [*texts(3), FINISH]


@pytest.mark.parametrize("error", [None, ValueError("no")])
async def test_the_ending_waits_also_behind_an_error(
    service: Service, error: Exception | None
) -> None:
    async def leave() -> None:
        async with service.publisher("s") as pub:
            push_later(pub, work)
            if error is not None:
                raise error

    work = Work(0)
    leaving = asyncio.create_task(leave())
    await work.begun.wait()
    assert not leaving.done()
    work.finish()
    await asyncio.wait([leaving])
    assert leaving.exception() is error
    assert await service.chunks("s") == [text(0), FINISH if error is None else ERROR]


async def test_a_flush_waits_until_they_are_durable(service: Service) -> None:
    async with service.publisher("s") as pub:
        work = Work(0)
        push_later(pub, work)
        pub.push(text(1))
        flushing = asyncio.create_task(pub.flush())
        await work.begun.wait()
        assert not flushing.done()
        work.finish()
        await flushing
        assert await service.chunks("s") == texts(2)


async def test_a_pushed_terminal_chunk_waits_too(service: Service) -> None:
    async with service.publisher("s") as pub:
        work = Work(0)
        push_later(pub, work)
        pub.push(FINISH)
        await work.begun.wait()
        work.finish()
    assert await service.chunks("s") == [text(0), FINISH]


async def fails() -> list[Chunk]:
    raise LookupError("no disk")


async def gives_no_chunk() -> list[Chunk]:
    return [{"type": object()}]


async def cancels_itself() -> list[Chunk]:
    raise asyncio.CancelledError


@pytest.mark.parametrize("make", [fails, gives_no_chunk, cancels_itself])
async def test_others_take_the_place_of_those_that_cannot_be_made(
    service: Service, make: Make
) -> None:
    async with service.publisher("s") as pub:
        pub.push(text(0))
        push_later(pub, make)
        pub.push(text(2))
    assert await service.chunks("s") == [text(0), LOST, text(2), FINISH]


async def test_a_failure_is_logged_with_its_reason(
    service: Service, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING, "monostream_ai"):
        async with service.publisher("s") as pub:
            push_later(pub, fails)
    assert "no disk" in caplog.text


def test_work_that_ignores_its_cancellation_ends_with_its_time() -> None:
    async def stubborn() -> list[Chunk]:
        for _ in range(10):
            try:
                await asyncio.sleep(100)
            except asyncio.CancelledError:
                continue
        return [text(7)]

    async def run() -> tuple[list[Chunk], float]:
        service: Service = DurableStreamService(MemoryStore(), None, PROTOCOL, lease=1000.0)
        async with service, service.publisher("s") as pub:
            push_later(pub, stubborn, timeout=5.0)
            pub.push(text(1))
            await pub.flush()
            passed = asyncio.get_running_loop().time()
            return await service.chunks("s"), passed

    assert VirtualTimeLoop().run_until_complete(run()) == ([LOST, text(1)], 5.0)


async def test_a_cancelled_block_does_not_wait(service: Service) -> None:
    work, task = Work(0), asyncio.current_task()
    assert task is not None
    with pytest.raises(asyncio.CancelledError):
        async with service.publisher("s") as pub:
            push_later(pub, work)
            pub.push(text(1))
            await work.begun.wait()
            task.cancel()
            await asyncio.sleep(0)
    task.uncancel()
    assert await service.chunks("s") == [LOST, text(1), ABORT]
    assert work.cancelled


async def test_a_cancellation_ends_the_wait_of_a_block_that_is_being_left(
    service: Service,
) -> None:
    async def leave() -> None:
        async with service.publisher("s") as pub:
            push_later(pub, work)
            pub.push(text(1))

    work = Work(0)
    leaving = asyncio.create_task(leave())
    await work.begun.wait()
    await asyncio.sleep(0)
    leaving.cancel()
    await asyncio.wait([leaving])
    assert leaving.cancelled()
    assert await service.chunks("s") == [LOST, text(1), FINISH]


async def test_a_release_waits_for_nothing_and_stores_what_came_before(service: Service) -> None:
    pub, work = await service.publisher("s").open(), Work(1)
    pub.push(text(0))
    push_later(pub, work)
    pub.push(text(2))
    writing = asyncio.create_task(pub.write(text(3)))
    await work.begun.wait()
    await pub.release()
    with pytest.raises(PublisherClosed):
        await writing
    assert await service.chunks("s") == [text(0)]
    assert pub.dropped == 2
    assert (await service.status("s")).lost
    await asyncio.sleep(0)
    assert work.cancelled


async def test_a_successor_goes_on_behind_the_chunks_before(service: Service) -> None:
    """As after a crash, the log ends with the last chunk that was stored."""
    pub, work = await service.publisher("s").open(), Work(1)
    await pub.write(text(0))
    push_later(pub, work)
    pub.push(text(2))
    await work.begun.wait()
    await pub.release()
    async with service.successor("s", 0) as successor:
        assert [*successor.written] == [text(0)]
        await successor.write(text(1))
        work.finish()
    assert await service.chunks("s") == [text(0), text(1), FINISH]


async def stop(service: Service) -> None:
    await service.stop("s")


async def supersede(service: Service) -> None:
    await (await service.publisher("s").open()).release()


@pytest.mark.parametrize(("end", "error"), [(stop, StreamStopped), (supersede, Fenced)])
async def test_a_version_that_is_taken_away_waits_for_nothing(
    service: Service, end: Callable[[Service], Awaitable[None]], error: type[MonostreamError]
) -> None:
    work = Work(1)
    with pytest.raises(error):
        async with service.publisher("s") as pub:
            pub.push(text(0))
            push_later(pub, work)
            await work.begun.wait()
            writing = asyncio.create_task(pub.write(text(2)))
            await end(service)
            with pytest.raises(error):
                await writing
    assert text(2) not in await service.chunks("s", 0)
    assert work.cancelled


async def test_a_service_that_closes_waits_for_nothing(service: Service) -> None:
    pub, work = await service.publisher("s").open(), Work(0)
    push_later(pub, work)
    await work.begun.wait()
    await service.aclose()
    work.finish()
    with pytest.raises(ServiceClosed):
        await pub.flush()


async def test_threads_keep_their_order(service: Service) -> None:
    works = [Work(n) for n in range(0, 40, 2)]

    def push(pub: Publisher[Chunk]) -> None:
        for number, work in enumerate(works):
            push_later(pub, work)
            pub.push(text(2 * number + 1))

    async with service.publisher("s") as pub:
        pushing = asyncio.create_task(asyncio.to_thread(push, pub))
        for work in reversed(works):
            await work.begun.wait()
            work.finish()
        await pushing
    assert await service.chunks("s") == [*texts(40), FINISH]


def test_a_sync_publisher_takes_them() -> None:
    async def make() -> list[Chunk]:
        await asyncio.sleep(0.01)
        return [text(0)]

    store = MemoryStore()
    with SyncPublisher(lambda: DurableStreamService(store, None, PROTOCOL), "s") as pub:
        push_later(pub, make)
        pub.push(text(1))
        assert pub.write(text(2)) == 2


async def test_data_is_bounded(service: Service, caplog: pytest.LogCaptureFixture) -> None:
    async with service.publisher("s") as pub:
        works = [Work(n) for n in range(3)]
        for work in works[:2]:
            push_later(pub, work, size=MAX_HELD // 2)
        push_later(pub, works[2], size=1)
        for work in works[:2]:
            await work.begun.wait()
            work.finish()
        await pub.flush()
        push_later(pub, works[2], size=MAX_HELD)
        works[2].finish()
    assert await service.chunks("s") == [text(0), text(1), LOST, text(2), FINISH]
    assert "too much data" in caplog.text


async def test_chunks_that_stand_in_are_checked_at_once(service: Service) -> None:
    async with service.publisher("s") as pub:
        with pytest.raises(InvalidChunk):
            pub._push_later(fails, instead=[{"type": object()}], size=1, timeout=1.0)
    assert await service.chunks("s") == [FINISH]


async def test_writes_that_wait_are_bounded(service: Service) -> None:
    work, large = Work(0), text(1) | {"x": "x" * 1_000_000}
    async with service.publisher("s") as pub:
        push_later(pub, work)
        await work.begun.wait()
        writing = [asyncio.create_task(pub.write(large)) for _ in range(30)]
        await asyncio.sleep(0)
        refused = [task for task in writing if task.done()]
        work.finish()
        await asyncio.wait(writing)
    assert refused
    assert all(isinstance(task.exception(), Overflow) for task in refused)
    assert len(await service.chunks("s")) == 2 + len(writing) - len(refused)


@pytest.mark.sweep(20)
@pytest.mark.parametrize("seed", range(100))
def test_any_order_of_works_keeps_the_order_of_pushes(seed: int) -> None:
    """Pushes, writes and works of random length, some of which fail, in random order."""
    dice = random.Random(seed)

    def make(number: int, seconds: float, broken: bool) -> Make:
        async def work() -> list[Chunk]:
            await asyncio.sleep(seconds)
            if broken:
                raise LookupError
            return [text(number)]

        return work

    async def run() -> tuple[list[Chunk], list[Chunk]]:
        store = HookedStore(MemoryStore())
        service: Service = DurableStreamService(store, None, PROTOCOL, lease=1000.0)
        expected: list[Chunk] = []
        async with service.publisher("s") as pub:
            writing: list[asyncio.Task[int]] = []
            for number in range(dice.randrange(40)):
                kind = dice.choice(("push", "write", "later", "later", "pause", "flush"))
                if kind == "pause":
                    await asyncio.sleep(dice.random())
                    continue
                if kind == "flush":
                    await pub.flush()
                    assert await service.chunks("s") == expected
                    continue
                broken, overdue = dice.random() < 0.2, dice.random() < 0.1
                lost = kind == "later" and (broken or overdue)
                expected.append(LOST if lost else text(number))
                if kind == "push":
                    pub.push(text(number))
                elif kind == "write":
                    writing.append(asyncio.create_task(pub.write(text(number))))
                    # A task writes when it first runs.
                    await asyncio.sleep(0)
                else:
                    seconds = 99.0 if overdue else dice.random()
                    push_later(pub, make(number, seconds, broken), timeout=2.0)
            await asyncio.gather(*writing)
        stored = await service.chunks("s")
        await service.aclose()
        return stored, [*expected, FINISH]

    stored, expected = VirtualTimeLoop().run_until_complete(run())
    assert stored == expected


async def test_the_store_may_lag_behind(store: HookedStore, service: Service) -> None:
    store.before["append"] = gate = Gate()
    async with service.publisher("s") as pub:
        pub.push(text(0))
        await gate.reached.wait()
        work = Work(1)
        push_later(pub, work)
        pub.push(text(2))
        await work.begun.wait()
        work.finish()
        gate.open()
    assert await service.chunks("s") == [*texts(3), FINISH]
