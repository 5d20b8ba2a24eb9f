"""Pages that send only their last message, with the function of docs/usechat.md."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, Final

import pytest
from fastapi import FastAPI

from monostream_ai.fastapi import ChatHistory, ChatTurn, create_chat_router
from monostream_ai.ui_messages import UIMessage, UIMessageBuilder, UIMessageProtocol
from tests.app_server import serving
from tests.backends import Backend, open_backend
from tests.clients.resuming.releases import RELEASES
from tests.pages import blocks
from tests.plugins.services import ServiceFactory
from tests.programs import run

PROGRAM: Final = Path(__file__).parent / "only_last.mjs"


@pytest.fixture
def backend(tmp_path: Path, request: pytest.FixtureRequest) -> Backend:
    return open_backend("sqlite", tmp_path, request)


@pytest.fixture
def prepared(tmp_path: Path) -> str:
    """The function of the page, without its types."""
    [block] = blocks("ts", "last")
    text = re.sub(r"^import type .*|: PrepareSendMessagesRequest<UIMessage>", "", block.text)
    (tmp_path / "prepared.mjs").write_text(text)
    return (tmp_path / "prepared.mjs").as_uri()


def texts(messages: list[UIMessage]) -> list[str]:
    return [
        "".join(part.get("text") or part.get("output", "") for part in message["parts"])
        for message in messages
    ]


@pytest.mark.sweep(2)
@pytest.mark.parametrize("release", RELEASES)
async def test_the_reply_gets_the_whole_conversation(
    packages: Path, service_factory: ServiceFactory, prepared: str, release: str
) -> None:
    service: Any = service_factory(protocol=UIMessageProtocol())
    history, asked = ChatHistory(service), list[list[str]]()

    async def reply(turn: ChatTurn) -> None:
        conversation = await history.ask(turn)
        asked.append(texts(conversation))
        message = UIMessageBuilder(message_id=turn.message_id, send_start=False)
        await turn.pub.write(*message.text(f"t{len(asked)}", f"answer {len(asked)} "))
        if asked[-1][-1] == "and then?":
            await turn.pub.write(*message.tool_call("call", "color", {}))

    app = FastAPI()
    router = create_chat_router(service, reply, on_finish=history.finish)
    app.include_router(router, prefix="/api/chat")
    async with serving(app) as server:
        story = {"client": release, "api": f"{server.url}/api/chat", "id": "c"}
        [told] = await run(PROGRAM, [story | {"prepared": prepared}])

    assert told["error"] is None
    assert asked == [
        ["hi"],
        ["hi", "answer 1 ", "and now?"],
        ["hi", "answer 1 ", "and now?"],
        ["hi", "answer 1 ", "and then?"],
        ["hi", "answer 1 ", "and then?", "answer 4 green"],
    ]
    assert texts(told["messages"]) == texts(await history.messages("c"))
    assert texts(told["messages"])[-1] == "answer 4 greenanswer 5 "
    for body in told["bodies"]:
        assert body["own"] == "key" and "messages" not in body
