"""Errors of work in the background: counted, passed on to observers, and logged once while they
repeat, since an outage fails many calls in a second.
"""

from __future__ import annotations

import logging
import time
from collections import Counter
from typing import Final, NamedTuple, Protocol

from monostream_ai.errors import StoreUnavailable
from monostream_ai.interfaces import BackgroundErrors
from monostream_ai.types import log_fields

logger = logging.getLogger(__name__)

LOGGED_EVERY: Final = 60.0
"""Seconds for which an error that repeats is only counted."""


class Report(Protocol):
    """Takes an error as `BackgroundErrors` does, and the version it is about."""

    def __call__(
        self, source: str, error: BaseException, version: tuple[str, int] | None = None
    ) -> None: ...


class _Logged(NamedTuple):
    """Last record about a source."""

    failure: str
    at: float
    times: int
    """Errors of the source until then."""


class ErrorReports:
    """Takes the errors of one service."""

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()
        """By source."""
        self.observers: list[BackgroundErrors] = []
        self._logged: dict[str, _Logged] = {}

    def report(
        self, source: str, error: BaseException, version: tuple[str, int] | None = None
    ) -> None:
        """Count, log and pass on an error."""
        self.counts[source] += 1
        self._log(source, error, version)
        for observer in self.observers:
            try:
                observer(source, error)
            except Exception:
                logger.exception("an error observer raised")

    def _log(self, source: str, error: BaseException, version: tuple[str, int] | None) -> None:
        failure = type(error).__name__
        # The text of any other error may hold a statement and its values.
        if isinstance(error, StoreUnavailable):
            failure += f": {error}"
        now, times = time.monotonic(), self.counts[source]
        known = self._logged.get(source)
        if known is not None and known.failure != failure:
            known = None
        repeats = "" if known is None else f" ({times - known.times} more since the last record)"
        level = logging.DEBUG
        if known is None or now - known.at >= LOGGED_EVERY:
            level = logging.WARNING
            self._logged[source] = _Logged(failure, now, times)
        logger.log(
            level,
            "%s%s failed: %s%s",
            source,
            "" if version is None else " of stream {!r} version {}".format(*version),
            failure,
            repeats,
            extra={} if version is None else log_fields(*version),
        )
