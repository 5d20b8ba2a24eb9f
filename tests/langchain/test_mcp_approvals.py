"""OpenAI asks before it calls a tool of an MCP server, and the user's answer goes back to it."""

from __future__ import annotations

from typing import Any

import pytest
from langchain_core.messages import AIMessageChunk

from monostream_ai.langchain import to_langchain_messages
from tests.langchain.recording import Recorder
from tests.langchain.scripted import ScriptedModel, SilentModel

OPENAI = {"model_provider": "openai", "status": "completed"}
REQUEST = {
    "type": "mcp_approval_request",
    "id": "mcpr_1",
    "name": "roll",
    "arguments": '{"dice":"2d4"}',
    "server_label": "dnd",
}
CALL = {
    "type": "mcp_call",
    "id": "mcp_1",
    "name": "roll",
    "arguments": '{"dice":"2d4"}',
    "server_label": "dnd",
    "approval_request_id": "mcpr_1",
    "output": "7",
}


async def turn(block: dict[str, Any], earlier: Any, model: type[SilentModel]) -> Any:
    recorder = Recorder(continued=earlier)
    script = [AIMessageChunk([block], response_metadata=OPENAI)]
    await model(scripts=[script]).ainvoke("hi", recorder.config)
    return {"role": "assistant", **recorder.sink.message(earlier)}


def answered(message: Any, approved: bool) -> Any:
    """Return the message as the page sends it after the user's answer."""
    [call] = [part for part in message["parts"] if part["type"] == "dynamic-tool"]
    call |= {"state": "approval-responded"}
    call["approval"] |= {"approved": approved}
    return message


@pytest.mark.parametrize("model", [ScriptedModel, SilentModel], ids=["streamed", "at once"])
@pytest.mark.parametrize("approved", [True, False])
async def test_the_answer_of_the_user_goes_back_to_openai(
    approved: bool, model: type[SilentModel]
) -> None:
    message = answered(await turn(REQUEST, None, model), approved)

    asked, answer = to_langchain_messages([message])

    assert asked.content == [{"type": "non_standard", "value": REQUEST}]
    assert answer.type == "human"
    assert answer.content == [
        {"type": "mcp_approval_response", "approval_request_id": "mcpr_1", "approve": approved}
    ]


async def test_the_page_is_asked() -> None:
    message = await turn(REQUEST, None, ScriptedModel)

    [call] = [part for part in message["parts"] if part["type"] == "dynamic-tool"]
    assert (call["toolName"], call["state"], call["input"]) == (
        "roll",
        "approval-requested",
        {"dice": "2d4"},
    )
    assert call["approval"] == {"id": "mcpr_1"}


async def test_the_approved_call_gets_its_result() -> None:
    asked = answered(await turn(REQUEST, None, ScriptedModel), True)

    message = await turn(CALL, asked, ScriptedModel)

    calls = [part for part in message["parts"] if part["type"] == "dynamic-tool"]
    assert [(call["state"], call["output"]) for call in calls] == [("output-available", "7")]
