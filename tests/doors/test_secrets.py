"""Nothing of ours tells passwords, prompts or answers to a log, an error or a browser."""

from __future__ import annotations

import logging
import socket
import traceback
from collections.abc import Iterator
from pathlib import Path

import pytest

from monostream_ai import MonostreamError, create_service

SECRET = "swordfish-77"


@pytest.fixture
def log(caplog: pytest.LogCaptureFixture) -> Iterator[pytest.LogCaptureFixture]:
    with caplog.at_level(logging.DEBUG, logger="monostream_ai"):
        yield caplog


def closed_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.mark.parametrize(
    "url",
    [
        "postgresql+asyncpg://user:{secret}@127.0.0.1:{port}/db",
        "postgresql://user:{secret}@127.0.0.1:{port}/db?sslmode=disable",
        "mysql://user:{secret}@127.0.0.1:{port}/db",
        "postgresql+asyncpg://user:{secret}@127.0.0.1:{port}",
        "postgresql+asyncpg://user:{secret}@[broken/db",
    ],
)
async def test_a_password_of_the_database_is_told_to_nobody(
    log: pytest.LogCaptureFixture, url: str
) -> None:
    with pytest.raises((MonostreamError, ValueError)) as failed:
        async with create_service(url.format(secret=SECRET, port=closed_port())) as service:
            await service.status("s")

    assert SECRET not in "".join(traceback.format_exception(failed.value))
    assert SECRET not in log.text


async def test_what_is_written_is_not_logged(log: pytest.LogCaptureFixture, tmp_path: Path) -> None:
    async with create_service(f"sqlite+aiosqlite:///{tmp_path / 'chat.db'}", lease=0.3) as service:
        pub = await service.publisher(
            "s", request={"prompt": SECRET}, metadata={"note": SECRET}
        ).open()
        await pub.write({"type": "data-answer", "data": SECRET})
        await service.publisher("s", 7).open()
        with pytest.raises(MonostreamError) as fenced:
            await pub.write({"type": "data-answer", "data": SECRET})
        with pytest.raises(MonostreamError) as refused:
            await service.publisher("s", 9, metadata={"note": {SECRET: float("nan")}}).open()

    assert SECRET not in str(fenced.value)
    # The error tells its caller the path of the refused value, and no log contains it.
    assert SECRET in str(refused.value)
    assert SECRET not in log.text
