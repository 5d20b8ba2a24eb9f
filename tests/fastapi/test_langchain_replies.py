from __future__ import annotations

import gc

from langchain_core.language_models import GenericFakeChatModel
from langchain_core.messages import AIMessage, HumanMessage

from monostream_ai.fastapi import ChatTurn
from tests.fastapi.chat_client import chunks_in, question, types_in
from tests.fastapi.conftest import NewService, Serve
from tests.fastapi.replies import Held


async def test_a_model_streams_through_the_callback_of_its_turn(
    new_service: NewService, serve: Serve
) -> None:
    heard: list[object] = []

    async def reply(turn: ChatTurn) -> None:
        heard.extend(turn.langchain_messages())
        model = GenericFakeChatModel(messages=iter([AIMessage("Hello there")]))
        await model.ainvoke(turn.langchain_messages(), config={"callbacks": [turn.callback]})
        assert turn.callback is turn.callback

    body = (await (await serve(new_service(), reply)).post(question(text="hi"))).text

    assert [
        (type(message), message.content) for message in heard if isinstance(message, HumanMessage)
    ] == [(HumanMessage, "hi")]
    assert "".join(chunk.get("delta", "") for chunk in chunks_in(body)) == "Hello there"
    types = types_in(body)
    assert (types[0], types.count("start"), types[-2:]) == ("start", 1, ["finish-step", "finish"])


async def test_a_turn_that_nobody_holds_is_not_collected(
    new_service: NewService, serve: Serve
) -> None:
    service, held = new_service(), Held()
    client = await serve(service, held)

    async with client.ask(question()):
        await held.started.wait()
    gc.collect()
    held.go_on.set()

    assert [chunk["type"] async for chunk in service.subscribe("chat:c1")][-1] == "finish"
