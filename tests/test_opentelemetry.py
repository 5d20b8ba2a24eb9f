"""The adapter exports every measure."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader, MetricReader

from monostream_ai import DurableStreamService
from monostream_ai.notifiers.memory import MemoryNotifier
from monostream_ai.observing import Measure
from monostream_ai.opentelemetry import OpenTelemetryObserver
from monostream_ai.recording import ModelOutput, Recording, consume_stream
from monostream_ai.stores.memory import MemoryStore
from tests.chunks import FINISH, PROTOCOL, Chunk, texts
from tests.hooked_store import HookedStore

SUFFIXES = {"s": "_seconds", "1": "", "": "", "{chunk}": ""}


def exported(reader: InMemoryMetricReader) -> dict[str, Any]:
    """Return the metrics by their names for Prometheus, with their points."""
    data = json.loads(reader.get_metrics_data().to_json())
    metrics: dict[str, Any] = {}
    for metric in data["resource_metrics"][0]["scope_metrics"][0]["metrics"]:
        name = metric["name"].replace(".", "_") + SUFFIXES[metric["unit"] or ""]
        points = metric["data"]["data_points"]
        if "bucket_counts" in points[0]:
            metrics |= {f"{name}_{part}": points for part in ("bucket", "sum", "count")}
        else:
            metrics[f"{name}_total" if metric["data"].get("is_monotonic") else name] = points
    return metrics


class Unreading:
    """Can read no event, and takes each for the last one."""

    def __init__(self, recording: Recording) -> None:
        self.output = ModelOutput(recording)
        self._unread = recording.unread("lines")

    def feed(self, event: str) -> list[Chunk]:
        self._unread.lose(event)
        self.output.complete = True
        return []


@asynccontextmanager
async def everything_measured(reader: MetricReader) -> AsyncIterator[None]:
    """Have a value for each metric within the block."""
    observer = OpenTelemetryObserver(
        MeterProvider([reader], shutdown_on_exit=False).get_meter("test")
    )
    store, failed = HookedStore(MemoryStore()), asyncio.Event()

    async def fail() -> None:
        raise OSError

    store.before["prune"] = fail
    service: DurableStreamService[Chunk] = DurableStreamService(
        store, MemoryNotifier(), PROTOCOL, observer=observer
    )
    service.on_error(lambda source, error: failed.set())
    async with service:
        pub = await service.publisher("s").open()
        await pub.write(*texts(3))
        subscription = service.subscribe("s")
        await anext(subscription)
        for measure in Measure.__args__:  # type: ignore[attr-defined]  # of a Literal
            observer.observe(measure, 1)
        async with service.publisher("other") as other:
            await consume_stream(["one", "two"], other, Unreading)
        async with service.pruning(older_than=60.0):
            await failed.wait()
        yield
        await pub.write(FINISH)


async def all_exported() -> dict[str, Any]:
    reader = InMemoryMetricReader()
    async with everything_measured(reader):
        return exported(reader)


def test_an_observer_shows_how_many_services_it_serves() -> None:
    observer = OpenTelemetryObserver(MeterProvider().get_meter("test"))
    for _ in range(2):
        DurableStreamService(MemoryStore(), MemoryNotifier(), PROTOCOL, observer=observer)
    assert repr(observer) == "<OpenTelemetryObserver of 2 services>"


async def test_measures_and_activity_are_exported() -> None:
    metrics = await all_exported()
    assert metrics["monostream_versions_open"][0]["value"] == 1
    assert metrics["monostream_readers"][0]["value"] == 1
    assert metrics["monostream_reader_lag"][0]["value"] == 2
    assert metrics["monostream_publishers_fenced_total"][0]["value"] == 1
    assert metrics["monostream_errors_total"][0]["attributes"] == {"source": "prune"}
    [unread] = metrics["monostream_unread_total"]
    assert (unread["attributes"], unread["value"]) == ({"sdk": "lines"}, 2)
    ended = {
        point["attributes"]["ending"]: point["value"]
        for point in metrics["monostream_versions_ended_total"]
    }
    assert ended == {"finish": 1, "error": 0, "abort": 0, "lost": 0}
    assert metrics["monostream_append_duration_seconds_count"][0]["count"] >= 2
