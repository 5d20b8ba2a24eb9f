"""A publisher leaves its version to a successor, and a lost version is left again (G3, G6)."""

from __future__ import annotations

from typing import Any

import pytest

from monostream_ai import (
    DurableStreamService,
    NotLost,
    PublisherClosed,
    StoreUnavailable,
    StreamStopped,
)
from monostream_ai.errors import InvalidNumber
from monostream_ai.stores.memory import MemoryStore
from tests.chunks import FINISH, PROTOCOL, Chunk, text, texts

Service = DurableStreamService[Chunk]

LONG = 600.0


class Clock:
    """The seconds of a store, which pass when a test says so."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def new_services(clock: Clock | None = None) -> tuple[Service, Service]:
    store = MemoryStore(clock or Clock())
    here, there = (Service(store, None, PROTOCOL, poll_interval=0.05) for _ in range(2))
    return here, there


async def leave(service: Service, *chunks: Chunk, within: float = LONG) -> None:
    async with service.publisher("s", message_id="m", attempt=0, watched=True) as pub:
        pub.push(*chunks)
        await pub.leave(within=within)


async def test_a_reader_gets_both_parts_as_one() -> None:
    here, there = new_services()
    async with here, there:
        await leave(here, *texts(2))
        info = await there.status("s")
        assert (info.waiting, info.active, info.next_id, info.attempt) == (True, False, 2, 0)
        async with there.successor("s", 0) as pub:
            assert (pub.attempt, pub.next_id, pub.message_id) == (1, 2, "m")
            assert pub.written == texts(2)
            await pub.write(text(2))
        assert [chunk async for chunk in here.subscribe("s")] == [*texts(3), FINISH]
        assert (await here.status("s")).attempt == 1


async def test_who_has_left_a_version_writes_no_more() -> None:
    here, there = new_services()
    async with here, there:
        pub = await here.publisher("s").open()
        await pub.leave(within=LONG)
        assert pub.closed
        with pytest.raises(PublisherClosed):
            await pub.write(text(0))
        assert (await there.status("s")).waiting


async def test_the_process_that_left_a_version_may_end() -> None:
    here, there = new_services()
    async with there:
        await leave(here, text(0))
        await here.aclose()
        assert not (await there.status("s")).lost
        async with there.successor("s", 0):
            pass


async def test_a_publisher_that_was_stopped_cannot_leave() -> None:
    here, there = new_services()
    async with here, there:
        pub = await here.publisher("s").open()
        await there.stop("s")
        with pytest.raises(StreamStopped):
            await pub.leave(within=LONG)
        assert not (await there.status("s")).waiting


async def test_a_stop_ends_a_version_that_waits() -> None:
    here, there = new_services()
    async with here, there:
        await leave(here, text(0))
        assert await there.stop("s")
        assert await here.chunks("s") == [text(0), {"type": "abort"}]
        with pytest.raises(NotLost):
            await here.successor("s", 0).open()


async def test_a_successor_may_ask_for_one_attempt_only() -> None:
    here, there = new_services()
    async with here, there:
        await leave(here, text(0))
        with pytest.raises(NotLost):
            await there.successor("s", 0, attempt=2).open()
        async with there.successor("s", 0, attempt=1) as pub:
            await pub.release()
        with pytest.raises(NotLost):
            await there.successor("s", 0, attempt=1).open()
        await (await there.successor("s", 0, attempt=2).open()).close()


async def test_a_version_that_waited_in_vain_waits_again() -> None:
    clock = Clock()
    here, there = new_services(clock)
    async with here, there:
        await leave(here, text(0), within=30.0)
        assert not await there.leave_lost("s", 0, within=30.0)
        clock.now = 30.0
        assert (await there.status("s")).lost
        assert [await each.leave_lost("s", 0, within=30.0) for each in (here, there)] == [
            True,
            False,
        ]
        info = await here.status("s")
        assert (info.waiting, info.lost, info.attempt, info.attended) == (True, False, 0, 1)
        await (await there.successor("s", 0).open()).close()
        assert await here.chunks("s") == [text(0), FINISH]


async def test_a_version_whose_publisher_was_lost_can_be_left_to_a_successor() -> None:
    here, there = new_services()
    async with here, there:
        pub = await here.publisher("s").open()
        assert not await there.leave_lost("s", 0, within=LONG)
        await pub.release()
        assert await there.leave_lost("s", 0, within=LONG)
        info = await here.status("s")
        assert (info.waiting, info.attempt, info.attended) == (True, 1, 0)
        async with here.successor("s", 0) as successor:
            assert successor.attempt == 2


async def test_the_time_to_wait_is_checked() -> None:
    here, there = new_services()
    async with here, there:
        pub = await here.publisher("s").open()
        with pytest.raises(InvalidNumber):
            await pub.leave(within=-1.0)
        with pytest.raises(InvalidNumber):
            await there.leave_lost("s", 0, within=float("nan"))
        await pub.close()


class AnswersLate(MemoryStore):
    """A store whose claims land, and whose first answer is lost."""

    answered = False

    async def claim(self, *arguments: Any, **options: Any) -> int | None:
        claimed = await super().claim(*arguments, **options)
        if not self.answered:
            self.answered = True
            raise StoreUnavailable("the connection broke")
        return claimed


async def test_a_version_is_left_once_although_an_answer_is_lost() -> None:
    async with Service(AnswersLate(), None, PROTOCOL) as service:
        await leave(service, text(0))
        info = await service.status("s")
        assert (info.waiting, info.attended, info.next_id) == (True, 0, 1)
