"""Metrics and traces through OpenTelemetry.

create_service(url, observer=OpenTelemetryObserver())
"""

from monostream_ai._extras import needs

with needs("opentelemetry-api", "opentelemetry", by=__name__):
    from opentelemetry import trace as trace

from monostream_ai.opentelemetry.observer import OpenTelemetryObserver

__all__ = ["OpenTelemetryObserver"]
