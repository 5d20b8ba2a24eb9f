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
