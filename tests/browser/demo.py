"""The chat example as `scripts/demo` runs it, on a database that tests can read too."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, NamedTuple

from monostream_ai import DurableStreamService, create_service
from monostream_ai.ui_messages import UIMessage, reduce_chunks

ROOT = Path(__file__).parents[2]
EXAMPLE = ROOT / "examples" / "chat"
PATIENCE = 60.0
"""Seconds for a start, for the end of a stream, or for a shutdown."""
SUPERVISE = "import asyncio, supervisor; asyncio.run(supervisor.supervise(0))"
"""`supervisor.py`, on a database whose address the test knows."""


class Turn(NamedTuple):
    """A turn as a reader of its stream gets it."""

    version: int
    attempt: int
    chunks: list[dict[str, Any]]

    @property
    def message(self) -> UIMessage:
        return reduce_chunks(self.chunks, finished=True)

    @property
    def text(self) -> str:
        return "\n\n".join(part["text"] for part in self.message["parts"] if part["type"] == "text")


class Demo:
    def __init__(self, url: str, database_url: str) -> None:
        self.url = url
        self._database_url = database_url

    async def turn(self, chat_id: str = "c1") -> Turn:
        """Read the latest turn without the page, and check that store and subscription agree."""
        service: DurableStreamService[Any]
        async with create_service(self._database_url) as service:
            # The visitor is a guest whose account id only the browser knows.
            [status] = [
                each
                for each in await service.streams(prefix="chat:")
                if each.stream_id.endswith(f"/{chat_id}")
            ]
            stream_id = status.stream_id
            stored = await service.chunks(stream_id)
            assert [
                chunk async for chunk in service.subscribe(stream_id, timeout=PATIENCE)
            ] == stored
        return Turn(status.version, status.attempt, stored)


@asynccontextmanager
async def run_demo(database_url: str, tokens_per_second: int) -> AsyncIterator[Demo]:
    """Run two servers, with the lease of the demo."""
    command = ["-c", SUPERVISE]
    settings = {
        "DATABASE_URL": database_url,
        "OFFLINE_TOKENS_PER_SECOND": str(tokens_per_second),
        "MONOSTREAM_DEMO": "1",
    }
    environment = os.environ | settings | {"PYTHONPATH": str(EXAMPLE)}
    environment.pop("OPENAI_API_KEY", None)
    supervisor = await asyncio.create_subprocess_exec(
        sys.executable, *command, cwd=ROOT, env=environment, stdout=asyncio.subprocess.PIPE
    )
    assert supervisor.stdout is not None
    try:
        async with asyncio.timeout(PATIENCE):
            url = (await supervisor.stdout.readline()).decode().removeprefix("open ").strip()
        yield Demo(url, database_url)
    finally:
        if supervisor.returncode is None:
            supervisor.terminate()
        await asyncio.wait_for(supervisor.communicate(), PATIENCE)
