"""A page with `HttpAgent` of @ag-ui/client reads an answer of the chat routes in Chromium."""

from __future__ import annotations

import asyncio
import json
import subprocess
from asyncio.subprocess import PIPE
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
from fastapi import FastAPI
from fastapi.responses import FileResponse, HTMLResponse

from monostream_ai.fastapi import create_chat_router
from tests.backends import Backend, open_backend
from tests.browser.conftest import PATIENCE
from tests.fastapi.chat_client import ChatClient, question
from tests.fastapi.conftest import NewService, new_service, serve_app
from tests.fastapi.replies import Held

__all__ = ["new_service", "serve_app"]

pytestmark = pytest.mark.browser

ServeApp = Callable[[FastAPI], Awaitable[ChatClient]]

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
HTML = (
    '<p id="text"></p><p id="state"></p><button id="stop">Stop</button>'
    '<script type="module" src="/page.js"></script>'
)


@pytest.fixture
def backend(tmp_path: Path, request: pytest.FixtureRequest) -> Backend:
    return open_backend("memory", tmp_path, request)


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    """The script of the page."""
    rolldown = ROOT / "examples" / "chat" / "web" / "node_modules" / ".bin" / "rolldown"
    if not rolldown.exists():
        pytest.skip("no rolldown: run scripts/test, or `npm ci` in examples/chat/web")
    page, script = ROOT / "tests" / "clients" / "ag_ui" / "page.mjs", tmp_path / "page.js"
    command = [rolldown, page, "--format", "esm", "--platform", "browser", "--file", script]
    subprocess.run(command, check=True, capture_output=True)
    return script


async def test_a_page_loads_in_mid_answer_loads_again_and_stops_it(
    browser: str, bundle: Path, new_service: NewService, serve_app: ServeApp
) -> None:
    held, app = Held(), FastAPI()
    app.include_router(create_chat_router(new_service(), held), prefix="/api/chat")
    app.get("/", response_class=HTMLResponse)(lambda: HTML)
    app.get("/page.js")(lambda: FileResponse(bundle))
    client = await serve_app(app)
    async with client.ask(question()):
        await held.started.wait()

    task = json.dumps({"url": str(client.http.base_url), "browser": browser})
    driver = await asyncio.create_subprocess_exec(
        "node", str(HERE / "driver" / "ag_ui.mjs"), task, stdout=PIPE, stderr=PIPE
    )
    try:
        out, errors = await asyncio.wait_for(driver.communicate(), PATIENCE)
    finally:
        if driver.returncode is None:
            driver.kill()
            await driver.wait()

    assert driver.returncode == 0, errors.decode()
    assert json.loads(out) == {
        "seen": [["Hello", ""], ["Hello", ""], ["Hello", "cancelled"]],
        "errors": [],
    }
    await asyncio.wait_for(held.cancelled.wait(), PATIENCE)
