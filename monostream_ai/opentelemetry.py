"""Metrics of a service through OpenTelemetry: `create_service(url,
observer=OpenTelemetryObserver())`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Final

try:
    from opentelemetry.metrics import CallbackOptions, Meter, Observation, get_meter
except ImportError as error:
    raise ImportError(
        "monostream_ai.opentelemetry needs its API: pip install 'monostream-ai[opentelemetry]'"
    ) from error

from monostream_ai.observing import Measure, Statistics

SECONDS: Final = [0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0]
CHUNKS: Final = [1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000]

Read = Callable[[list[Statistics]], Iterable[Observation]]


class OpenTelemetryObserver:
    """Makes the instruments; one observer may serve several services, whose numbers then add up.

    Args:
        meter: By default that of the global meter provider.
    """

    def __init__(self, meter: Meter | None = None) -> None:
        meter = get_meter("monostream_ai") if meter is None else meter
        self._activities: list[Callable[[], Statistics]] = []

        def seconds(name: str, description: str) -> Callable[[float], None]:
            return meter.create_histogram(
                name, "s", description, explicit_bucket_boundaries_advisory=SECONDS
            ).record

        def count(name: str, description: str) -> Callable[[float], None]:
            return meter.create_counter(name, "1", description).add

        self._takers: dict[Measure, Callable[[float], None]] = {
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
                "monostream.notify.lag", "From sending a wake-up to hearing it"
            ),
            "publisher.fenced": count(
                "monostream.publishers.fenced", "Publishers that lost their right to write"
            ),
            "publisher.lost": count(
                "monostream.publishers.lost", "Versions seen without their publisher"
            ),
        }
        self._observe_activity(meter)

    def observe(self, measure: Measure, value: float) -> None:
        self._takers[measure](value)

    def watch(self, statistics: Callable[[], Statistics]) -> None:
        self._activities.append(statistics)

    def _observe_activity(self, meter: Meter) -> None:
        for name, read in _GAUGES.items():
            meter.create_observable_gauge(f"monostream.{name}", [self._callback(read)])
        for name, read in _COUNTS.items():
            meter.create_observable_counter(f"monostream.{name}", [self._callback(read)], "1")

    def _callback(self, read: Read) -> Callable[[CallbackOptions], Iterable[Observation]]:
        return lambda options: read([activity() for activity in self._activities])


def _total(read: Callable[[Statistics], int]) -> Read:
    return lambda activities: [Observation(sum(map(read, activities)))]


def _errors(activities: list[Statistics]) -> Iterable[Observation]:
    for source in sorted({source for activity in activities for source in activity.errors}):
        yield Observation(
            sum(activity.errors.get(source, 0) for activity in activities), {"source": source}
        )


_GAUGES: Final[dict[str, Read]] = {
    "versions.open": _total(lambda activity: activity.open_versions),
    "readers": _total(lambda activity: activity.readers),
    "streams.read": _total(lambda activity: activity.streams_read),
    "reader.lag": lambda activities: [
        Observation(max((activity.reader_lag for activity in activities), default=0))
    ],
}
_COUNTS: Final[dict[str, Read]] = {
    "poll.rescues": _total(lambda activity: activity.rescues),
    "errors": _errors,
}
