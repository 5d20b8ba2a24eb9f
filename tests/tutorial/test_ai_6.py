"""With the hook of `docs/compatibility.md`, an open tab of `ai` 6 and `@ai-sdk/react` 3 shows an
answer once after its connection broke. It runs in the page of the tutorial.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

import pytest

from tests.pages import blocks
from tests.tutorial.conftest import NODE_MODULES, Application, NewApplication, OpenPage
from tests.tutorial.steps import ROOT, command

pytestmark = pytest.mark.browser

REACT_3: Final = ROOT / "tests" / "clients" / "node_modules" / "@ai-sdk" / "react-3"
ANSWER: Final = "Each letter of this answer"
END: Final = "it is all there."


@pytest.fixture
def old(application: NewApplication) -> Application:
    """The application of step 2, whose page uses the hook and the older packages."""
    if not REACT_3.is_dir():
        pytest.skip("no @ai-sdk/react 3: run scripts/test, or `npm ci` in tests/clients")
    app = application(2)
    [hook] = blocks("tsx", "ai_6")
    page = app.folder / "page"
    (page / "useDurableChat.tsx").write_text(hook.text)
    chat, replaced = re.subn(
        r"useChat\(\{ id, resume: true \}\)", "useDurableChat(id)", (page / "Chat.jsx").read_text()
    )
    assert replaced == 1
    imported = 'import { useDurableChat } from "./useDurableChat.tsx";'
    (page / "Chat.jsx").write_text(f"{imported}\n{chat}")
    install_react_3(page)
    app.run("node_modules/.bin/vite build", folder="page")
    app.serve(command(1, "uvicorn"))
    return app


def install_react_3(page: Path) -> None:
    """Give a page the packages of the chat example, but those of `ai` 6 and their one React."""
    modules = page / "node_modules"
    (modules / "@ai-sdk").mkdir(parents=True)
    for package in NODE_MODULES.iterdir():
        if package.name not in ("@ai-sdk", "ai"):
            (modules / package.name).symlink_to(package)
    (modules / "@ai-sdk" / "react").symlink_to(REACT_3)
    (modules / "ai").symlink_to(REACT_3 / "node_modules" / "ai")
    (page / "vite.config.js").write_text(
        'export default { resolve: { dedupe: ["react", "react-dom"] } };'
    )


@asynccontextmanager
async def behind_a_proxy(url: str) -> AsyncIterator[tuple[str, Callable[[], None]]]:
    """Yield the URL of a proxy, and a function that cuts the connections through it."""
    writers = set[asyncio.StreamWriter]()

    async def pipe(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writers.add(writer)
        with suppress(OSError):
            while data := await reader.read(65536):
                writer.write(data)
        writer.transport.abort()
        writers.discard(writer)

    async def connect(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        port = urlsplit(url).port
        there, back = await asyncio.open_connection("127.0.0.1", port)
        await asyncio.gather(pipe(reader, back), pipe(there, writer))

    def cut() -> None:
        for writer in writers:
            writer.transport.abort()

    server = await asyncio.start_server(connect, "127.0.0.1", 0)
    async with server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}", cut
        cut()


async def test_an_open_tab_shows_an_answer_once_after_its_connection_broke(
    old: Application, open_page: OpenPage
) -> None:
    async with behind_a_proxy(old.url) as (url, cut):
        page = await open_page(url)
        await page("open", "/?chat=c1")
        await page("fill", "Question", "Hi!")
        await page("click", "Ask")
        await page("sees", ANSWER)
        cut()
        shown = await page("reads", END)

    assert shown.count(ANSWER) == 1
