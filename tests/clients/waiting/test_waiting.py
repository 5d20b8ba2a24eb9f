"""Pages of many releases ask in one chat at the same time, and each shows its own answer."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, Final

import pytest
from fastapi import FastAPI

from monostream_ai.chats.queue.questions import queued_in
from monostream_ai.errors import UnknownStream
from monostream_ai.fastapi import ChatTurn, create_chat_router
from monostream_ai.ui_messages import UIMessageBuilder, UIMessageProtocol
from tests.app_server import serving
from tests.backends import Backend, open_backend
from tests.clients.resuming.releases import RELEASES
from tests.plugins.services import ServiceFactory
from tests.programs import run

PROGRAM: Final = Path(__file__).parent / "ask.mjs"


@pytest.fixture
def backend(tmp_path: Path, request: pytest.FixtureRequest) -> Backend:
    return open_backend("memory", tmp_path, request)


@pytest.fixture
async def url(packages: Path, service_factory: ServiceFactory) -> AsyncIterator[str]:
    """Serve chats whose first answer ends when the other questions wait. A chat's id begins with
    the number of its pages.
    """
    service = service_factory(protocol=UIMessageProtocol())

    async def others_wait(turn: ChatTurn) -> bool:
        try:
            queued = queued_in(await service.status(f"queue:{turn.stream_id}"))
        except UnknownStream:
            return False
        return queued == int(turn.chat_id[0]) - 1

    async def reply(turn: ChatTurn) -> None:
        while turn.version == 0 and not await others_wait(turn):
            await asyncio.sleep(0.02)
        asked = turn.messages[-1]["parts"][0]["text"]
        message = UIMessageBuilder(message_id=turn.message_id, send_start=False)
        await turn.pub.write(*message.text("t", f"answer to {asked}"))

    app = FastAPI()
    router = create_chat_router(service, reply, on_busy="queue", keep_alive=0.1)
    app.include_router(router, prefix="/api/chat")
    async with serving(app) as server:
        yield server.url


async def tell(url: str, *stories: dict[str, Any]) -> list[dict[str, Any]]:
    whole = [
        {"api": f"{url}/api/chat", "headers": {}, "pages": int(story["key"][0]), **story}
        for story in stories
    ]
    told = await run(PROGRAM, whole)
    assert len(told) == len(stories)
    return told


def assert_answered(page: dict[str, Any]) -> None:
    assert (page["status"], page["error"]) == ("ready", None)
    asked, answer = page["messages"]
    texts = [part["text"] for part in answer["parts"] if part["type"] == "text"]
    assert texts == [f"answer to {asked['parts'][0]['text']}"]


async def test_a_page_whose_question_waits_shows_its_answer(url: str) -> None:
    told = await tell(
        url,
        *(
            {
                "key": f"3 {release}",
                "client": release,
                "headers": {"x-ui-message-profile": f"v{release[0]}"},
            }
            for release in RELEASES
        ),
    )

    for story in told:
        for page in story["pages"]:
            assert_answered(page)
            assert page["requests"] == [["POST", 200]]


async def test_a_page_that_counts_chunks_comes_back_to_its_question(url: str) -> None:
    [story] = await tell(
        url, {"key": "2 pages", "client": "7.0.173", "workflow": True, "cut": True}
    )

    for page in story["pages"]:
        assert_answered(page)
    requests = sorted(page["requests"] for page in story["pages"])
    assert requests == [[["POST", 200]], [["POST", 200], ["GET", 200]]]
