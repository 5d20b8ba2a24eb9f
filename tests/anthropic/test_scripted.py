"""`ScriptedAnthropic` answers through the real SDK as Anthropic does, by its script."""

from __future__ import annotations

from typing import Any, Final

import anthropic
import pytest

from monostream_ai import DurableStreamService
from monostream_ai.anthropic import capture
from monostream_ai.testing import Gate, Thought, ToolCall
from monostream_ai.testing.anthropic import ScriptedAnthropic
from monostream_ai.ui_messages import Chunk, reduce_chunks
from tests.scripted_clients import check_gate, shown_in

Service = DurableStreamService[Chunk]

CALL: Final = ToolCall("clock", {"zone": "UTC"})
STEPS: Final = [Thought("They want the time."), "Let me look. ", CALL]
ASKED: Final[Any] = {
    "model": "m",
    "max_tokens": 100,
    "messages": [{"role": "user", "content": "What time is it?"}],
}


@pytest.mark.parametrize("beta", [False, True], ids=["messages", "beta"])
@pytest.mark.parametrize("helper", [False, True], ids=["create", "stream"])
async def test_a_capture_records_the_script(service: Service, helper: bool, beta: bool) -> None:
    client = ScriptedAnthropic(STEPS, "It is noon.")
    api: Any = client.beta.messages if beta else client.messages

    async def ask() -> Any:
        return api.stream(**ASKED) if helper else await api.create(**ASKED, stream=True)

    async with service.publisher("chat", message_id="m1") as pub:
        events = capture(await ask(), pub)
        async for _ in events:
            pass
        events.tool_result("call_1", output="12:00")
        async for _ in capture(await ask(), pub):
            pass

    message = reduce_chunks(await service.chunks("chat"))
    called = ("clock", {"zone": "UTC"}, "12:00")
    assert shown_in(message) == ["They want the time.", "Let me look. ", called, "It is noon."]
    assert message["metadata"]["finishReason"] == "stop"
    assert [each["messages"] for each in client.asked] == [ASKED["messages"]] * 2


@pytest.mark.parametrize("streamed", [False, True])
async def test_a_message_has_the_thoughts_the_text_and_the_calls(streamed: bool) -> None:
    client = ScriptedAnthropic(STEPS).with_options(timeout=3)
    if streamed:
        async with client.messages.stream(**ASKED) as stream:
            message = await stream.get_final_message()
    else:
        message = await client.messages.create(**ASKED)

    thinking, text, call = message.content
    assert (thinking.type, text.type, call.type) == ("thinking", "text", "tool_use")
    assert (thinking.thinking, thinking.signature) == ("They want the time.", "scripted")
    assert text.text == "Let me look. "
    assert (call.id, call.name, call.input) == ("call_1", "clock", {"zone": "UTC"})
    assert message.stop_reason == "tool_use"


async def test_an_answer_waits_at_a_gate(service: Service) -> None:
    gate = Gate()
    stream = await ScriptedAnthropic(["It is ", gate, "noon."]).messages.create(
        **ASKED, stream=True
    )
    await check_gate(service, gate, lambda pub: capture(stream, pub))


async def test_an_exception_is_raised_where_the_stream_is_read(service: Service) -> None:
    client = ScriptedAnthropic(["It is ", RuntimeError("out of words")], RuntimeError("no words"))
    with pytest.raises(RuntimeError, match="out of words"):
        async with service.publisher("chat") as pub:
            async for _ in capture(await client.messages.create(**ASKED, stream=True), pub):
                pass
    assert (await service.chunks("chat"))[-1]["type"] == "error"

    with pytest.raises((RuntimeError, anthropic.APIConnectionError)) as raised:
        await client.messages.create(**ASKED)
    assert "no words" in (str(raised.value), str(raised.value.__cause__))


async def test_a_call_too_many_says_so() -> None:
    with pytest.raises(AssertionError, match="the script has 0 answers, and no more"):
        async for _ in await ScriptedAnthropic().messages.create(**ASKED, stream=True):
            pass


async def test_other_routes_of_the_api_are_refused() -> None:
    client = ScriptedAnthropic("Noon.")
    with pytest.raises(anthropic.NotFoundError, match="does not answer POST /v1/messages/count"):
        await client.messages.count_tokens(model="m", messages=ASKED["messages"])
    assert client.asked == []
