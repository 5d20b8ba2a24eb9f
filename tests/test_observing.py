"""An observer is told what happens; without one nothing is wrapped."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path

import pytest

from monostream_ai import DurableStreamService, Fenced, PublisherLost
from monostream_ai.notifiers.memory import MemoryNotifier
from monostream_ai.observing import Activity, Measure
from monostream_ai.stores.memory import MemoryStore
from tests.backends import postgres_backend
from tests.chunks import FINISH, PROTOCOL, Chunk, text, texts


class Recorder:
    def __init__(self) -> None:
        self.values: dict[Measure, list[float]] = defaultdict(list)
        self.activity: Callable[[], Activity]

    def observe(self, measure: Measure, value: float) -> None:
        self.values[measure].append(value)

    def watch(self, activity: Callable[[], Activity]) -> None:
        self.activity = activity


def a_service(
    store: MemoryStore, recorder: Recorder, **options: float
) -> DurableStreamService[Chunk]:
    return DurableStreamService(store, MemoryNotifier(), PROTOCOL, observer=recorder, **options)


async def test_appends_and_reads_are_measured() -> None:
    recorder = Recorder()
    async with a_service(MemoryStore(), recorder) as service:
        async with service.publisher("s") as pub:
            await pub.write(*texts(3))
        assert [chunk async for chunk in service.subscribe("s")] == [*texts(3), FINISH]
    assert recorder.values["append.chunks"] == [3, 1]
    assert all(
        0 < seconds < 10
        for measure in ("append.seconds", "read.seconds")
        for seconds in recorder.values[measure]
    )
    assert len(recorder.values["append.seconds"]) == 2


async def test_wake_ups_are_timed_where_a_process_hears_its_own(postgres_url: str) -> None:
    recorder = Recorder()
    store, notifier = postgres_backend(postgres_url).new_parts()
    async with DurableStreamService(
        store, notifier, PROTOCOL, observer=recorder, create_tables=True
    ) as service:
        async with asyncio.timeout(30):
            while not notifier.healthy:
                await asyncio.sleep(0.01)
            async with service.publisher("s") as pub:
                while not recorder.values["notify.seconds"]:
                    await pub.write(text(0))
                    await asyncio.sleep(0.01)
    assert 0 < min(recorder.values["notify.seconds"]) < 10


async def test_a_fenced_publisher_is_counted() -> None:
    store, recorder = MemoryStore(), Recorder()
    async with a_service(store, recorder) as service, a_service(store, Recorder()) as other:
        pub = await service.publisher("s").open()
        await other.publisher("s").open()
        with pytest.raises(Fenced):
            await pub.write(text(0))
    assert recorder.values["publisher.fenced"] == [1]


async def test_a_lost_publisher_is_counted_once() -> None:
    store, recorder = MemoryStore(), Recorder()
    async with a_service(store, Recorder(), lease=0.2) as dying:
        await (await dying.publisher("s").open()).write(text(0))
    async with a_service(store, recorder) as service:
        for _ in range(3):
            with pytest.raises(PublisherLost):
                assert [chunk async for chunk in service.subscribe("s")]
        assert await service.end_lost("s", 0)
    assert recorder.values["publisher.lost"] == [1]


async def test_activity_tells_versions_readers_and_lag() -> None:
    recorder = Recorder()
    async with a_service(MemoryStore(), recorder) as service:
        assert recorder.activity() == Activity(0, 0, 0, 0, 0, {})
        async with service.publisher("s") as pub:
            await pub.write(*texts(5))
            first, second = service.subscribe("s"), service.subscribe("s")
            assert [await anext(first) for _ in range(5)] == texts(5)
            assert await anext(second) == text(0)
            assert recorder.activity() == Activity(1, 2, 1, 4, 0, {})
            # Asked from another thread, as exporters do.
            assert await asyncio.to_thread(recorder.activity) == recorder.activity()
            first.close()
            del second
            await asyncio.sleep(0)
            assert recorder.activity() == Activity(1, 0, 0, 0, 0, {})
        assert recorder.activity().open_versions == 0


def test_nothing_is_imported_for_metrics_in_the_core() -> None:
    core = Path(__file__).parents[1] / "monostream_ai"
    assert [
        path.name for path in core.glob("*.py") if "import opentelemetry" in path.read_text()
    ] == []
