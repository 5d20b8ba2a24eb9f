"""The adapter exports every measure, and the dashboard asks for nothing else."""

from __future__ import annotations

import asyncio
import json
import re
from pathlib import Path
from typing import Any

from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader

from monostream_ai import DurableStreamService
from monostream_ai.notifiers.memory import MemoryNotifier
from monostream_ai.observing import Measure
from monostream_ai.opentelemetry import OpenTelemetryObserver
from monostream_ai.stores.memory import MemoryStore
from tests.chunks import FINISH, PROTOCOL, Chunk, texts
from tests.hooked_store import HookedStore

DASHBOARD = Path(__file__).parents[1] / "examples" / "grafana-dashboard.json"
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


async def everything_measured() -> dict[str, Any]:
    reader = InMemoryMetricReader()
    observer = OpenTelemetryObserver(MeterProvider([reader]).get_meter("test"))
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
        async with service.pruning(older_than=60.0):
            await failed.wait()
        metrics = exported(reader)
        await pub.write(FINISH)
    return metrics


def test_an_observer_shows_how_many_services_it_serves() -> None:
    observer = OpenTelemetryObserver(MeterProvider().get_meter("test"))
    for _ in range(2):
        DurableStreamService(MemoryStore(), MemoryNotifier(), PROTOCOL, observer=observer)
    assert repr(observer) == "<OpenTelemetryObserver of 2 services>"


async def test_measures_and_activity_are_exported() -> None:
    metrics = await everything_measured()
    assert metrics["monostream_versions_open"][0]["value"] == 1
    assert metrics["monostream_readers"][0]["value"] == 1
    assert metrics["monostream_reader_lag"][0]["value"] == 2
    assert metrics["monostream_publishers_fenced_total"][0]["value"] == 1
    assert metrics["monostream_errors_total"][0]["attributes"] == {"source": "prune"}
    assert metrics["monostream_append_duration_seconds_count"][0]["count"] >= 2


async def test_the_dashboard_shows_what_is_exported_and_all_of_it() -> None:
    known = set(await everything_measured())
    queries = [
        target["expr"]
        for panel in json.loads(DASHBOARD.read_text())["panels"]
        for target in panel["targets"]
    ]
    asked = set(re.findall(r"\bmonostream_\w+", " ".join(queries)))
    assert asked - known == set()
    parts = {re.sub(r"_(bucket|sum|count)$", "", name) for name in known}
    assert parts - {re.sub(r"_(bucket|sum|count)$", "", name) for name in asked} == set()


def test_panels_of_the_dashboard_do_not_overlap() -> None:
    panels = json.loads(DASHBOARD.read_text())["panels"]
    cells = [
        (x, y)
        for each in panels
        for x in range(each["gridPos"]["x"], each["gridPos"]["x"] + each["gridPos"]["w"])
        for y in range(each["gridPos"]["y"], each["gridPos"]["y"] + each["gridPos"]["h"])
    ]
    assert len(cells) == len(set(cells))
    assert len({each["id"] for each in panels}) == len(panels)
