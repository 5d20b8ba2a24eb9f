"""The observer that reports metrics of the service and traces of its turns."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from contextlib import AbstractContextManager
from typing import Final

from opentelemetry.metrics import CallbackOptions, Meter, Observation, get_meter
from opentelemetry.trace import Tracer, get_tracer

from monostream_ai.observing import Attempt, Measure, Statistics, TraceContext, WatchChunks
from monostream_ai.opentelemetry.spans import attempt_span, question_span

SECONDS: Final = [0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0]
"""Bucket boundaries of durations, in seconds."""

CHUNKS: Final = [1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000]
"""Bucket boundaries of the number of chunks in an append."""

Read = Callable[[list[Statistics]], Iterable[Observation]]


class OpenTelemetryObserver:
    """Reports measures and statistics as OpenTelemetry metrics named `monostream.…`, and each turn
    of the chat routes as a trace.

    One observer may serve several services; their numbers add up, except for the reader lag, which
    is the largest.

    A trace holds names, ids, counts and times, and no text of a question or an answer. The span
    `question` encloses the beginning of a turn, below the span of the POST if there is one. Below
    it stands a span `invoke_agent` for each run of the reply, in whatever process it runs, with its
    steps and tool calls. It is the current span of the reply, so the spans of an instrumented SDK
    come below it too.

    Args:
        meter: By default a meter of the global meter provider.
        tracer: By default a tracer of the global tracer provider.
    """

    def __init__(self, meter: Meter | None = None, *, tracer: Tracer | None = None) -> None:
        meter = get_meter("monostream_ai") if meter is None else meter
        self._tracer = get_tracer("monostream_ai") if tracer is None else tracer
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

    def trace_question(self, chat_id: str) -> AbstractContextManager[TraceContext]:
        return question_span(self._tracer, chat_id)

    def trace_attempt(
        self, attempt: Attempt, context: TraceContext
    ) -> AbstractContextManager[WatchChunks | None]:
        return attempt_span(self._tracer, attempt, context)

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


def _totals(label: str, read: Callable[[Statistics], Mapping[str, int]]) -> Read:
    def observe(services: list[Statistics]) -> Iterable[Observation]:
        totals: Counter[str] = Counter()
        for service in services:
            totals.update(read(service))
        return [Observation(total, {label: key}) for key, total in sorted(totals.items())]

    return observe


_GAUGES: Final[dict[str, Read]] = {
    "versions.open": _total(lambda service: service.open_versions),
    "readers": _total(lambda service: service.readers),
    "streams.read": _total(lambda service: service.streams_read),
    "reader.lag": _largest_lag,
}
_COUNTS: Final[dict[str, Read]] = {
    "poll.rescues": _total(lambda service: service.rescues),
    "versions.abandoned": _total(lambda service: service.abandoned),
    "versions.ended": _totals("ending", lambda service: service.endings),
    "errors": _totals("source", lambda service: service.errors),
    "unread": _totals("sdk", lambda service: service.unread),
}
