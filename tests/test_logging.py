"""A log record about a version names the version in fields of its own."""

from __future__ import annotations

import logging

import pytest

from monostream_ai import DurableStreamService, StoreUnavailable, create_service
from monostream_ai._background_errors import ErrorReports
from monostream_ai.stores.memory import MemoryStore
from tests.chunks import PROTOCOL, Chunk, text
from tests.hooked_store import HookedStore

OUTAGE = "append of stream 's' version 0 failed: StoreUnavailable: the store is unavailable: "


async def test_records_name_the_stream_and_its_version(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, "monostream_ai"):
        async with create_service("memory://") as service, service.publisher("s", 3) as pub:
            await pub.write({"type": "start"})

    told = [
        (record.getMessage().split()[0], *map(record.__dict__.get, ("stream_id", "version")))
        for record in caplog.records
    ]
    assert told == [("opened", "s", 3), ("closed", "s", 3)]


async def test_a_first_attempt_is_not_told_as_a_takeover(caplog: pytest.LogCaptureFixture) -> None:
    async with create_service("memory://") as service:
        async with service.publisher("s", attempt=0, watched=True) as pub:
            await pub.leave(within=30.0)
        with caplog.at_level(logging.INFO, "monostream_ai"):
            for _ in range(2):
                async with service.successor("s", 0) as pub:
                    await pub.leave(within=30.0)

    told = [record.getMessage() for record in caplog.records if "attempt" in record.getMessage()]
    assert told == [
        "began stream 's' version 0, which waited, as attempt 1",
        "took over stream 's' version 0 to go on with it as attempt 2",
    ]


async def write_after(service: DurableStreamService[Chunk], reasons: list[str]) -> None:
    """Write a chunk, for which the store is unavailable once for each of the reasons."""
    store = service.store
    assert isinstance(store, HookedStore)

    async def fail() -> None:
        if reasons:
            raise StoreUnavailable(reasons.pop(0))

    store.before["append"] = fail
    async with service.publisher("s", 0) as pub:
        await pub.write(text(0))


async def test_an_outage_is_logged_once_with_its_stream_and_its_reason(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with DurableStreamService(HookedStore(MemoryStore()), None, PROTOCOL) as service:
        await write_after(service, ["the disk is full"] * 3 + ["the connection broke"])

        assert service.statistics().errors["append"] == 4
    warned = [record for record in caplog.records if record.levelno == logging.WARNING]
    assert [record.getMessage() for record in warned] == [
        f"{OUTAGE}the disk is full",
        f"{OUTAGE}the connection broke",
    ]
    assert [record.__dict__["stream_id"] for record in warned] == ["s", "s"]


async def test_an_outage_that_lasts_is_logged_again_with_the_number_of_failures(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("monostream_ai._background_errors.LOGGED_EVERY", 0.0)
    async with DurableStreamService(HookedStore(MemoryStore()), None, PROTOCOL) as service:
        await write_after(service, ["the disk is full"] * 2)

    assert [line for line in caplog.messages if "failed" in line] == [
        f"{OUTAGE}the disk is full",
        f"{OUTAGE}the disk is full (1 more since the last record)",
    ]


def test_the_text_of_an_error_that_is_not_ours_is_not_logged(
    caplog: pytest.LogCaptureFixture,
) -> None:
    ErrorReports().report("listen", OSError("postgresql://user:swordfish@host/db"))

    assert caplog.messages == ["listen failed: OSError"]
