"""With the setting of `docs/fastapi.md`, the proxy of Vite's development server closes a response
whose server has died.
"""

from __future__ import annotations

import asyncio
import os
import re
import signal
import socket

import httpx
import pytest

from tests.fastapi.chat_client import question
from tests.pages import blocks
from tests.tutorial.conftest import NODE_MODULES, PATIENCE, Application, NewApplication
from tests.tutorial.steps import command
from tests.tutorial.test_steps import change

NOTICED: float = 20.0
"""Seconds within which the response ends; without the setting it never does."""


def dev_server(app: Application) -> str:
    """Start Vite in front of the application; return its URL."""
    if not NODE_MODULES.is_dir():
        pytest.skip("no vite: run scripts/test, or `npm ci` in examples/chat/web")
    [config] = blocks("ts", "vite")
    page = app.folder / "page"
    (page / "node_modules").symlink_to(NODE_MODULES)
    (page / "vite.config.ts").write_text(config.text)
    change(page / "vite.config.ts", "http://127.0.0.1:8000", app.url)
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    app.start(f"cd page && node_modules/.bin/vite --host 127.0.0.1 --port {port} --strictPort")
    return f"http://127.0.0.1:{port}"


@pytest.mark.parametrize("sent", [signal.SIGKILL, signal.SIGTERM], ids=lambda sent: sent.name)
async def test_a_response_ends_with_its_server(
    application: NewApplication, sent: signal.Signals
) -> None:
    app = application(2)
    change(app.folder / "app.py", "sleep=0.1", "sleep=1")
    change(app.folder / "app.py", "(service, reply)", "(service, reply, drain_timeout=0)")
    server = app.serve(command(1, "uvicorn"))
    async with httpx.AsyncClient(base_url=dev_server(app), timeout=PATIENCE) as http:
        async with asyncio.timeout(PATIENCE):
            while not await answers(http):
                await asyncio.sleep(0.1)
        async with http.stream("POST", "/api/chat", json=question()) as response:
            lines = response.aiter_lines()
            async for line in lines:
                if '"text-delta"' in line:
                    break
            os.killpg(server.pid, sent)
            with pytest.raises(httpx.RemoteProtocolError):
                async with asyncio.timeout(NOTICED):
                    async for line in lines:
                        assert line != "data: [DONE]"


async def answers(http: httpx.AsyncClient) -> bool:
    try:
        return (await http.get("/api/chat/c1/status")).is_success
    except httpx.ConnectError:
        return False


def test_the_chat_example_has_the_setting_too() -> None:
    [config] = blocks("ts", "vite")
    [setting] = re.findall(r"configure: .*", config.text)

    assert setting in (NODE_MODULES.parent / "vite.config.ts").read_text()
