"""A process whose clock is wrong loses and takes nothing: the database judges leases (P49)."""

from __future__ import annotations

import time
from datetime import datetime, timedelta, tzinfo
from typing import Self

import pytest

from monostream_ai.errors import PublisherLost
from monostream_ai.stores import memory
from monostream_ai.stores.sqlite import rows as sqlite_rows
from tests.chunks import text
from tests.plugins.services import ServiceFactory

HOUR = 3600.0


def shift_clock(monkeypatch: pytest.MonkeyPatch, seconds: float) -> None:
    """Let this process believe that it is earlier or later; the database keeps its own time, and so
    does the monotonic clock.
    """
    real = time.time

    class Shifted(datetime):
        @classmethod
        def now(cls, tz: tzinfo | None = None) -> Self:
            return super().now(tz) + timedelta(seconds=seconds)

    monkeypatch.setattr(time, "time", lambda: real() + seconds)
    for module in (memory, sqlite_rows):
        monkeypatch.setattr(module, "datetime", Shifted)


@pytest.mark.parametrize("seconds", [-HOUR, HOUR])
async def test_a_clock_that_is_an_hour_off_changes_nothing(
    service_factory: ServiceFactory, monkeypatch: pytest.MonkeyPatch, seconds: float
) -> None:
    writer, other = service_factory(), service_factory()
    async with writer.publisher("over") as closed:
        await closed.write(text(0))
    pub = await writer.publisher("s").open()
    await pub.write(text(0))
    shift_clock(monkeypatch, seconds)

    assert not (await other.status("s")).lost
    assert not await other.end_lost("s", pub.version)
    assert await other.prune(older_than=HOUR / 2) == 0
    await pub.write(text(1))
    assert await other.chunks("s") == [text(0), text(1)]

    opened_meanwhile = await other.publisher("t").open()
    monkeypatch.undo()
    assert not (await writer.status("t")).lost
    await opened_meanwhile.write(text(0))

    await pub.release()
    with pytest.raises(PublisherLost):
        async for _ in other.subscribe("s", timeout=5.0):
            pass
