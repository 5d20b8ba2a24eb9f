from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from pathlib import Path

import httpx
import pytest

from tests.fastapi.chat_client import ChatClient

SUPERVISOR = Path(__file__).parents[2] / "examples" / "chat" / "supervisor.py"

StartDemo = Callable[..., Awaitable[ChatClient]]


@pytest.fixture
async def start_demo(tmp_path: Path) -> AsyncIterator[StartDemo]:
    """Run the chat example as `scripts/demo` does; return a client that is signed in as a guest.

    Its `shut_down` sends SIGTERM.
    """
    async with AsyncExitStack() as stack:

        async def start(*options: str, tokens_per_second: int) -> ChatClient:
            environment = os.environ | {
                "DATABASE_URL": f"sqlite+aiosqlite:///{tmp_path / 'chat.db'}",
                "OFFLINE_TOKENS_PER_SECOND": str(tokens_per_second),
            }
            environment.pop("OPENAI_API_KEY", None)
            command = [sys.executable, str(SUPERVISOR), "--port", "0", *options]
            demo = await asyncio.create_subprocess_exec(
                *command, env=environment, stdout=asyncio.subprocess.PIPE
            )
            assert demo.stdout is not None
            url = (await demo.stdout.readline()).decode().removeprefix("open ").strip()

            async def shut_down() -> None:
                if demo.returncode is None:
                    demo.terminate()
                await demo.communicate()

            stack.push_async_callback(shut_down)
            http = await stack.enter_async_context(httpx.AsyncClient(base_url=url, timeout=30.0))
            (await http.post("/api/guest")).raise_for_status()
            return ChatClient(http, shut_down)

        yield start
