"""Faults that whole services must survive, for authors of stores and notifiers.

G1 to G10 are the guarantees in the README:

    a call fails, an answer is lost, the store is down      G1, G3
    wake-ups get lost                                       G6
    readers join at any instant                             G2
    writes are cancelled                                    G3
    a frozen publisher wakes up, publishers race            G3, G4
    a publisher dies, or is only silent                     G6, G8
    a stop and a finish race                                G5, G7
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Any, Final

import pytest
import pytest_asyncio

from monostream_ai.errors import Fenced, PublisherLost, StreamClosed, StreamStopped
from monostream_ai.interfaces import Notifier, Store
from monostream_ai.protocol import JSONProtocol
from monostream_ai.service import DurableStreamService
from monostream_ai.testing.unreliable import UnheardNotifier, UnreliableStore
from monostream_ai.types import Ending

LEASE: Final = 1.0
POLL: Final = 0.3
PATIENCE: Final = 10.0
"""Seconds after which a wait counts as a hang."""

Service = DurableStreamService[Any]
MakeParts = Callable[[], tuple[Store, Notifier]]


def _ending(ending: Ending) -> Sequence[Any]:
    return [ending]


PROTOCOL: Final = JSONProtocol[Any](lambda chunk: isinstance(chunk, str), ending=_ending)


class Process:
    """One process: a service, with a store and a notifier that can be made to fail."""

    def __init__(self, store: Store, notifier: Notifier, seed: int, lease: float) -> None:
        self.store = UnreliableStore(store, seed)
        self.notifier = UnheardNotifier(notifier)
        self.service: Service = DurableStreamService(
            self.store,
            self.notifier,
            PROTOCOL,
            lease=lease,
            poll_interval=POLL,
            outage_timeout=PATIENCE,
        )

    async def leave(self) -> None:
        self.store.refused = self.store.answers_lost = 0.0
        self.store.resume()
        await self.service.aclose()


class FaultScenarios:
    """Runs services on your store and notifier under faults.

    Calls fail, answers and wake-ups get lost, and processes freeze and die.

        class TestFaults(FaultScenarios):
            @pytest.fixture
            def make_parts(self, an_empty_database):
                return lambda: (MyStore(an_empty_database), MyNotifier(an_empty_database))

    Each call of `make_parts` returns the store and notifier of one more process on the same
    storage; the suite closes them. The conformance suites check single calls, and these scenarios
    check how they work together. The clock is real, so the suite takes some seconds.
    """

    pytestmark = pytest.mark.asyncio

    @pytest.fixture
    def make_parts(self) -> MakeParts:
        raise pytest.UsageError(
            f"{type(self).__name__} needs a fixture 'make_parts' "
            "that returns a function: () -> (store, notifier)"
        )

    @pytest_asyncio.fixture(autouse=True)
    async def _processes(self, make_parts: MakeParts) -> AsyncIterator[None]:
        self._make_parts = make_parts
        self._started: list[Process] = []
        store, notifier = make_parts()
        await store.setup()
        await notifier.aclose()
        await store.aclose()
        async with asyncio.timeout(PATIENCE * 3):
            yield
            for process in self._started:
                await process.leave()

    def process(self, *, lease: float = 60.0) -> Process:
        """Start one more process, which ends after the test."""
        self._started.append(Process(*self._make_parts(), seed=len(self._started), lease=lease))
        return self._started[-1]

    async def publish(self, service: Service, count: int) -> int:
        """Publish a version with `count` chunks, and return its number."""
        async with service.publisher("s") as pub:
            for number in range(count):
                assert await pub.write(number) == number
        return pub.version

    async def collect(self, service: Service) -> list[Any]:
        return [chunk async for chunk in service.subscribe("s")]

    async def test_calls_that_fail_and_answers_that_get_lost_change_nothing(self) -> None:
        writer, reader = self.process(), self.process()
        reading = asyncio.create_task(self.collect(reader.service))
        async with writer.service.publisher("s") as pub:
            writer.store.refused = writer.store.answers_lost = reader.store.refused = 0.3
            for number in range(20):
                assert await pub.write(number) == number
        writer.store.refused = writer.store.answers_lost = 0.0
        assert await writer.service.chunks("s") == [*range(20), "finish"]
        assert await reading == [*range(20), "finish"]

    async def test_an_outage_is_waited_for(self) -> None:
        writer, reader = self.process(), self.process()
        reading = asyncio.create_task(self.collect(reader.service))
        async with writer.service.publisher("s") as pub:
            await pub.write(0)
            failed = asyncio.Event()
            writer.service.on_error(lambda source, error: failed.set())
            writer.store.refused = reader.store.refused = 1.0
            writing = asyncio.create_task(pub.write(1))
            await failed.wait()
            writer.store.refused = reader.store.refused = 0.0
            assert await writing == 1
        assert await reading == [0, 1, "finish"]

    async def test_wake_ups_that_get_lost_cost_a_poll(self) -> None:
        writer, reader = self.process(), self.process()
        subscription = reader.service.subscribe("s", timeout=PATIENCE)
        async with writer.service.publisher("s") as pub:
            await pub.write(0)
            assert await anext(subscription) == 0
            reader.notifier.loses = True
            for number in range(1, 4):
                await pub.write(number)
                assert await anext(subscription) == number
        assert [chunk async for chunk in subscription] == ["finish"]

    async def test_readers_that_join_at_any_instant_get_everything(self) -> None:
        writer, reader = self.process(), self.process()
        readings: list[asyncio.Task[list[Any]]] = []
        async with writer.service.publisher("s") as pub:
            for number in range(15):
                writing = asyncio.create_task(pub.write(number))
                for service in (writer.service, reader.service):
                    readings.append(asyncio.create_task(self.collect(service)))
                    await asyncio.sleep(0)
                await writing
        assert await asyncio.gather(*readings) == [[*range(15), "finish"]] * 30

    async def test_writes_that_are_cancelled_land_once_and_in_order(self) -> None:
        process = self.process()
        async with process.service.publisher("s") as pub:
            for number in range(20):
                writing = asyncio.create_task(pub.write(number))
                for _ in range(number % 6 + 1):
                    await asyncio.sleep(0)
                writing.cancel()
        assert await process.service.chunks("s") == [*range(20), "finish"]

    async def test_a_publisher_that_was_replaced_while_it_stood_still_writes_nothing(self) -> None:
        zombie, successor = self.process(), self.process()
        pub = await zombie.service.publisher("s").open()
        await pub.write(0)
        zombie.store.pause()
        late = asyncio.create_task(pub.write(1))
        assert await self.publish(successor.service, 3) == pub.version + 1
        zombie.store.resume()
        with pytest.raises(Fenced):
            await late
        assert await successor.service.chunks("s", pub.version) == [0]
        assert await successor.service.chunks("s") == [0, 1, 2, "finish"]

    async def test_of_racing_publishers_the_highest_version_writes(self) -> None:
        processes = [self.process() for _ in range(4)]
        pubs = [process.service.publisher("s") for process in processes]
        await asyncio.gather(*(pub.open() for pub in pubs))
        assert sorted(pub.version for pub in pubs) == [0, 1, 2, 3]
        outcomes = await asyncio.gather(
            *(pub.write(pub.version) for pub in pubs), return_exceptions=True
        )
        for pub, outcome in zip(pubs, outcomes, strict=True):
            assert outcome == 0 if pub.version == 3 else isinstance(outcome, Fenced)
        assert await processes[0].service.chunks("s") == [3]

    async def test_a_publisher_that_died_is_noticed_and_ended_by_one(self) -> None:
        writer, *others = [self.process(lease=LEASE) for _ in range(4)]
        pub = await writer.service.publisher("s").open()
        await pub.write(0)
        writer.store.kill()
        subscription = others[0].service.subscribe("s", timeout=PATIENCE)
        assert await anext(subscription) == 0
        with pytest.raises(PublisherLost):
            await anext(subscription)
        ended = await asyncio.gather(*(other.service.end_lost("s", 0) for other in others))
        assert sorted(ended) == [False, False, True]
        assert await others[0].service.chunks("s") == [0, "lost"]

    async def test_a_publisher_that_is_silent_and_lives_is_taken_by_nobody(self) -> None:
        writer, other = self.process(lease=LEASE), self.process(lease=LEASE)
        pub = await writer.service.publisher("s").open()
        async with other.service.subscribe("s") as subscription:
            for _ in range(6):
                # A silent publisher shows that it lives only by a read that ends without an error.
                assert (await subscription.next_batch(timeout=LEASE / 3)).payloads == []
                assert not await other.service.end_lost("s", 0)
        await pub.close()

    async def test_a_stop_and_a_finish_race_to_one_ending(self) -> None:
        writer, stopper = self.process(), self.process()
        for turn in range(10):
            pub = await writer.service.publisher("s").open()
            await pub.write(0)
            stopping = asyncio.create_task(stopper.service.stop("s", pub.version))
            for _ in range(turn):
                await asyncio.sleep(0)
            try:
                await pub.close()
                finished = True
            except (StreamStopped, StreamClosed):
                finished = False
            assert await stopping is not finished
            assert await stopper.service.chunks("s", pub.version) == [
                0,
                "finish" if finished else "abort",
            ]
