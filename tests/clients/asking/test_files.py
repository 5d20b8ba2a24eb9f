"""Pages of the real `ai` show the files of an answer, and their browser finds them by the URL."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, Final

import httpx
import pytest
from fastapi import FastAPI

from monostream_ai.fastapi import ChatTurn, create_chat_router
from monostream_ai.files import DatabaseFiles
from monostream_ai.recording import consume_stream
from monostream_ai.ui_messages import UIMessageProtocol
from tests.app_server import serving
from tests.backends import Backend, open_backend
from tests.clients.resuming.releases import RELEASES
from tests.filing import LARGE, LARGE_BASE64, as_base64, image
from tests.plugins.services import ServiceFactory
from tests.programs import run
from tests.recording.test_files import FileMapper

PROGRAM: Final = Path(__file__).parent / "ask.mjs"
SEEN: Final = image(mark=1)
IMAGE: Final = f"data:image/png;base64,{LARGE_BASE64}"


@pytest.fixture
def backend(tmp_path: Path, request: pytest.FixtureRequest) -> Backend:
    return open_backend("sqlite", tmp_path, request)


@pytest.fixture
async def url(packages: Path, service_factory: ServiceFactory) -> AsyncIterator[str]:
    """The address of a server whose answers hold an image of the model and one of a tool."""
    service: Any = service_factory(protocol=UIMessageProtocol())

    async def reply(turn: ChatTurn) -> None:
        seen = {"type": "image", "data": as_base64(SEEN), "mimeType": "image/webp"}
        result = {"content": [seen]}
        events = ["Look: ", IMAGE, "nice", {"result": result}, "END"]
        await consume_stream(events, turn.pub, FileMapper)

    app = FastAPI()
    router = create_chat_router(service, reply, files=DatabaseFiles(service))
    app.include_router(router, prefix="/api/chat")
    async with serving(app) as server:
        yield server.url


@pytest.mark.sweep(1)
@pytest.mark.parametrize("release", RELEASES)
async def test_a_page_shows_the_files_of_an_answer(url: str, release: str) -> None:
    story = {"key": "1", "client": release, "api": f"{url}/api/chat", "id": f"c {release}"}
    story |= {"headers": {"x-ui-message-profile": f"v{release[0]}"}, "cause": ""}
    [told] = await run(PROGRAM, [story])

    assert told["error"] is None
    parts = [part for part in told["messages"][-1]["parts"] if part["type"] != "step-start"]
    kinds = ["text", "file", "text", "dynamic-tool", "file"]
    assert [part["type"] for part in parts] == kinds
    files = [part for part in parts if part["type"] == "file"]
    assert [file["mediaType"] for file in files] == ["image/png", "image/webp"]
    assert files[1]["url"] in json.dumps(parts[3]["output"])
    async with httpx.AsyncClient(base_url=url) as browser:
        for file, content in zip(files, (LARGE, SEEN), strict=True):
            response = await browser.get(file["url"])
            assert response.content == content
            assert response.headers["content-type"] == file["mediaType"]
