"""A log record about a version names the version in fields of its own."""

from __future__ import annotations

import logging

import pytest

from monostream_ai import create_service


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
