"""A database with a few streams, and the command run on it inside the test process."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from monostream_ai import DurableStreamService, create_service
from monostream_ai.cli.app import app
from tests.backends import DURABLE_BACKENDS, open_backend

LEASE = 0.3


@dataclass(frozen=True)
class Command:
    """Runs `monostream-ai` on one database."""

    url: str

    def __call__(self, *arguments: str) -> Result:
        return CliRunner().invoke(
            app, arguments, env={"MONOSTREAM_URL": self.url}, prog_name="monostream-ai"
        )

    def json(self, *arguments: str) -> list[Any]:
        result = self(*arguments, "--json")
        assert result.exit_code == 0, result.output
        return [json.loads(line) for line in result.stdout.splitlines()]


def do(
    url: str,
    work: Callable[[DurableStreamService[Any]], Awaitable[None]],
    *,
    lease: float = LEASE,
) -> None:
    """Run work with a service of its own, as another process would."""

    async def main() -> None:
        async with create_service(url, lease=lease) as service:
            await work(service)

    asyncio.run(main())


async def fill(service: DurableStreamService[Any]) -> None:
    for _ in range(2):
        async with service.publisher("chat:1", message_id="m1") as pub:
            await pub.write({"type": "text-start", "id": "t"})
            await pub.write({"type": "text-delta", "id": "t", "delta": "Grüße"})
    async with service.publisher("job:1"):
        pass
    # A dropped publisher stops renewing its lease, so this version will be lost.
    lost = await service.publisher("chat:lost", owner="worker-1").open()
    await lost.write({"type": "text-start", "id": "t"})


@pytest.fixture(params=DURABLE_BACKENDS)
def command(request: pytest.FixtureRequest, tmp_path: Path) -> Command:
    """The command on a database with a few streams, one of them lost."""
    url = open_backend(request.param, tmp_path, request).url
    do(url, fill)
    return Command(url)
