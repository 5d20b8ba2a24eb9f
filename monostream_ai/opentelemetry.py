"""Metrics through OpenTelemetry: `create_service(url, observer=OpenTelemetryObserver())`."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Final

try:
    from opentelemetry.metrics import CallbackOptions, Meter, Observation, get_meter
except ImportError as error:
    raise ImportError(
        "monostream_ai.opentelemetry needs opentelemetry-api: "
        "pip install 'monostream-ai[opentelemetry]'"
    ) from error

from monostream_ai.observing import Measure, Statistics

SECONDS: Final = [0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0]
"""Bucket boundaries of durations, in seconds."""

CHUNKS: Final = [1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000]
"""Bucket boundaries of the number of chunks in an append."""

Read = Callable[[list[Statistics]], Iterable[Observation]]


class OpenTelemetryObserver:
    """Reports measures and statistics as OpenTelemetry metrics named `monostream.…`.

    One observer may serve several services; their numbers add up, except for the reader lag, which
    is the largest.

    Args:
        meter: By default a meter of the global meter provider.
    """

    def __init__(self, meter: Meter | None = None) -> None:
        meter = get_meter("monostream_ai") if meter is None else meter
        self._services: list[Callable[[], Statistics]] = []

        def seconds(name: str, description: str) -> Callable[[float], None]:
            return meter.create_histogram(
                name, "s", description, explicit_bucket_boundaries_advisory=SECONDS
            ).record

        def count(name: str, description: str) -> Callable[[float], None]:
            return meter.create_counter(name, "1", description).add

        self._record: dict[Measure, Callable[[float], None]] = {
            "append.seconds": seconds(
                "monostream.append.duration",
                "Duration of one append, for all publishers of a process",
            ),
            "append.chunks": meter.create_histogram(
                "monostream.append.chunks",
                "{chunk}",
                "Chunks in one append",
                explicit_bucket_boundaries_advisory=CHUNKS,
            ).record,
            "read.seconds": seconds(
                "monostream.read.duration", "Duration of one read, for up to 64 streams"
            ),
            "notify.seconds": seconds(
                "monostream.notify.lag", "Time from sending a wake-up to receiving it"
            ),
            "publisher.fenced": count(
                "monostream.publishers.fenced", "Publishers that lost their right to write"
            ),
            "publisher.lost": count(
                "monostream.publishers.lost", "Open versions found without a live publisher"
            ),
        }
        self._observe_statistics(meter)

    def __repr__(self) -> str:
        return f"<OpenTelemetryObserver of {len(self._services)} services>"

    def observe(self, measure: Measure, value: float) -> None:
        self._record[measure](value)

    def watch(self, statistics: Callable[[], Statistics]) -> None:
        # The exporter's thread reads this list while a service starts; appending is atomic.
        self._services.append(statistics)

    def _observe_statistics(self, meter: Meter) -> None:
        for name, read in _GAUGES.items():
            meter.create_observable_gauge(f"monostream.{name}", [self._callback(read)])
        for name, read in _COUNTS.items():
            meter.create_observable_counter(f"monostream.{name}", [self._callback(read)], "1")

    def _callback(self, read: Read) -> Callable[[CallbackOptions], Iterable[Observation]]:
        return lambda options: read([statistics() for statistics in self._services])


def _total(read: Callable[[Statistics], int]) -> Read:
    return lambda services: [Observation(sum(map(read, services)))]


def _largest_lag(services: list[Statistics]) -> Iterable[Observation]:
    yield Observation(max((service.reader_lag for service in services), default=0))


def _errors(services: list[Statistics]) -> Iterable[Observation]:
    for source in sorted({source for service in services for source in service.errors}):
        total = sum(service.errors.get(source, 0) for service in services)
        yield Observation(total, {"source": source})


_GAUGES: Final[dict[str, Read]] = {
    "versions.open": _total(lambda service: service.open_versions),
    "readers": _total(lambda service: service.readers),
    "streams.read": _total(lambda service: service.streams_read),
    "reader.lag": _largest_lag,
}
_COUNTS: Final[dict[str, Read]] = {
    "poll.rescues": _total(lambda service: service.rescues),
    "versions.abandoned": _total(lambda service: service.abandoned),
    "errors": _errors,
}
