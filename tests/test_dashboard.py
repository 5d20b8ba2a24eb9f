"""The dashboard shows every metric and no other, in the words of Grafana and Prometheus."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import promql_parser
import yaml
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.cog.plugins import register_default_plugins
from grafana_foundation_sdk.models.dashboard import Dashboard
from opentelemetry.exporter.prometheus import PrometheusMetricReader
from prometheus_client import REGISTRY

from tests.pages import blocks
from tests.test_opentelemetry import all_exported, everything_measured

WRITTEN: Final = json.loads(
    (Path(__file__).parents[1] / "examples" / "grafana-dashboard.json").read_text()
)
PANELS: Final = WRITTEN["panels"]
QUERIES: Final = [target["expr"] for panel in PANELS for target in panel["targets"]]
ASKED: Final = {*re.findall(r"\bmonostream_\w+", " ".join(QUERIES))}


async def test_the_dashboard_shows_what_is_exported_and_all_of_it() -> None:
    known = set(await all_exported())
    assert ASKED - known == set()
    parts = {re.sub(r"_(bucket|sum|count)$", "", name) for name in known}
    assert parts - {re.sub(r"_(bucket|sum|count)$", "", name) for name in ASKED} == set()


def dropped(written: Any, known: Any, path: str = "$") -> Iterator[str]:
    """Yield the places of a value that another one does not have."""
    if isinstance(written, dict) and isinstance(known, dict):
        for key, value in written.items():
            yield from dropped(value, known.get(key), f"{path}.{key}")
    elif isinstance(written, list) and isinstance(known, list) and len(written) == len(known):
        for place, pair in enumerate(zip(written, known, strict=True)):
            yield from dropped(*pair, f"{path}[{place}]")
    elif written != known:
        yield path


def test_grafana_knows_every_key_of_the_dashboard() -> None:
    register_default_plugins()
    known = json.loads(JSONEncoder().encode(Dashboard.from_json(WRITTEN)))
    assert [*dropped(WRITTEN, known)] == []


async def test_prometheus_reads_the_queries_and_has_their_metrics() -> None:
    reader = PrometheusMetricReader()
    async with everything_measured(reader):
        served = {sample.name for metric in REGISTRY.collect() for sample in metric.samples}
    reader.shutdown()

    for query in QUERIES:
        promql_parser.parse(query.replace("$__rate_interval", "1m"))
    assert ASKED - served == set()


async def test_prometheus_reads_the_alert_of_the_page_and_has_its_metrics() -> None:
    [rule] = [block.text for block in blocks("yaml") if "alert:" in block.text]
    query = yaml.safe_load(rule)["groups"][0]["rules"][0]["expr"]
    promql_parser.parse(query)
    assert {*re.findall(r"\bmonostream_\w+", query)} - set(await all_exported()) == set()


def test_panels_of_the_dashboard_do_not_overlap() -> None:
    cells = [
        (x, y)
        for each in PANELS
        for x in range(each["gridPos"]["x"], each["gridPos"]["x"] + each["gridPos"]["w"])
        for y in range(each["gridPos"]["y"], each["gridPos"]["y"] + each["gridPos"]["h"])
    ]
    assert len(cells) == len(set(cells))
    assert len({each["id"] for each in PANELS}) == len(PANELS)
