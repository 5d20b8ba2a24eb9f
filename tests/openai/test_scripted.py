"""`ScriptedOpenAI` answers through the real SDK as OpenAI does, by the steps of its script."""

from __future__ import annotations

from typing import Any, Final

import openai
import pytest

from monostream_ai.openai import capture
from monostream_ai.testing import Gate, Thought, ToolCall
from monostream_ai.testing.openai import ScriptedOpenAI
from monostream_ai.ui_messages import reduce_chunks
from tests.openai.storing import Service, stored, texts
from tests.scripted_clients import check_gate, shown_in

CALL: Final = ToolCall("clock", {"zone": "UTC"})
STEPS: Final = [Thought("They want the time."), "Let me look. ", CALL]


@pytest.fixture(params=["chat", "responses"])
def api(request: pytest.FixtureRequest) -> str:
    return str(request.param)


async def ask(client: openai.AsyncOpenAI, api: str, **options: Any) -> Any:
    if api == "chat":
        asked: Any = [{"role": "user", "content": "What time is it?"}]
        return await client.chat.completions.create(model="m", messages=asked, **options)
    return await client.responses.create(model="m", input="What time is it?", **options)


async def test_a_capture_records_the_script(service: Service, api: str) -> None:
    client = ScriptedOpenAI(STEPS, "It is noon.")
    async with service.publisher("chat", message_id="m1") as pub:
        events = capture(await ask(client, api, stream=True), pub)
        async for _ in events:
            pass
        events.tool_result("call_1", output="12:00")
        async for _ in capture(await ask(client, api, stream=True), pub):
            pass

    message = reduce_chunks(await stored(service))
    called = ("clock", {"zone": "UTC"}, "12:00")
    assert shown_in(message) == ["They want the time.", "Let me look. ", called, "It is noon."]
    assert message["metadata"]["finishReason"] == "stop"


async def test_it_keeps_what_it_was_asked(api: str) -> None:
    client = ScriptedOpenAI("Noon.")
    await ask(client.with_options(timeout=3), api)

    [asked] = client.asked
    assert asked["model"] == "m"
    assert "What time is it?" in str(asked["messages" if api == "chat" else "input"])


async def test_a_whole_answer_has_the_text_and_the_calls() -> None:
    client = ScriptedOpenAI(STEPS, STEPS)
    [choice] = (await ask(client, "chat")).choices
    response = await ask(client, "responses")

    [call] = choice.message.tool_calls
    assert (choice.message.content, choice.finish_reason) == ("Let me look. ", "tool_calls")
    assert (call.function.name, call.function.arguments) == ("clock", '{"zone": "UTC"}')
    thought, _, second = response.output
    assert (thought.summary[0].text, response.output_text) == (
        "They want the time.",
        "Let me look. ",
    )
    assert (second.name, second.call_id, second.arguments) == ("clock", "call_2", '{"zone": "UTC"}')


async def test_the_helpers_of_the_sdk_add_the_stream_up() -> None:
    client = ScriptedOpenAI(STEPS, STEPS)
    asked: Any = [{"role": "user", "content": "What time is it?"}]
    async with client.chat.completions.stream(model="m", messages=asked) as chat:
        [choice] = (await chat.get_final_completion()).choices
    async with client.responses.stream(model="m", input="What time is it?") as events:
        response = await events.get_final_response()

    assert (choice.message.content, response.output_text) == ("Let me look. ", "Let me look. ")
    assert [each.type for each in response.output] == ["reasoning", "message", "function_call"]


async def test_an_answer_waits_at_a_gate(service: Service, api: str) -> None:
    gate = Gate()
    stream = await ask(ScriptedOpenAI(["It is ", gate, "noon."]), api, stream=True)

    await check_gate(service, gate, lambda pub: capture(stream, pub))
    assert "".join(texts(await stored(service))) == "It is noon."


async def test_an_exception_is_raised_where_the_stream_is_read(service: Service, api: str) -> None:
    client = ScriptedOpenAI(["It is ", RuntimeError("out of words")], RuntimeError("no words"))
    with pytest.raises(RuntimeError, match="out of words"):
        async with service.publisher("chat") as pub:
            async for _ in capture(await ask(client, api, stream=True), pub):
                pass
    assert (await stored(service))[-1]["type"] == "error"

    with pytest.raises((RuntimeError, openai.APIConnectionError)) as raised:
        await ask(client, api)
    assert "no words" in (str(raised.value), str(raised.value.__cause__))


async def test_a_call_too_many_says_so(api: str) -> None:
    with pytest.raises(AssertionError, match="the script has 0 answers, and no more"):
        async for _ in await ask(ScriptedOpenAI(), api, stream=True):
            pass


async def test_other_routes_of_the_api_are_refused() -> None:
    client = ScriptedOpenAI("Noon.")
    with pytest.raises(openai.NotFoundError, match="does not answer POST /v1/embeddings"):
        await client.embeddings.create(model="m", input="Hi")
    assert client.asked == []
