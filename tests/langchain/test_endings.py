"""A publisher's block ends the runs that LangChain leaves open (T19), on a real service."""

from __future__ import annotations

import asyncio
import gc
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import aclosing, suppress
from typing import Any

import pytest
from langchain_core.messages import AIMessageChunk
from langchain_core.output_parsers import StrOutputParser
from langchain_core.runnables import Runnable, RunnableLambda
from langchain_core.tools import tool

from monostream_ai import DurableStreamService, create_service
from monostream_ai.langchain import StreamCallbackHandler
from monostream_ai.ui_messages import Chunk, UIMessageProtocol
from monostream_ai.ui_messages.protocol import TERMINAL_TYPES
from tests.langchain.recording import check_message, outline
from tests.langchain.scripted import USER, ScriptedModel, agent, calls, says, weather

Service = DurableStreamService[Chunk]
HALF = [AIMessageChunk("half"), 60.0]
ASKED = calls(("call_1", "weather", '{"city":"Paris"}'))

RUNNABLES: dict[str, tuple[Callable[[ScriptedModel], Runnable[Any, Any]], Any]] = {
    "model": (lambda model: model, "hi"),
    "chain": (lambda model: RunnableLambda(str) | model | StrOutputParser(), "hi"),
    "graph": (lambda model: agent(model, [weather]), USER),
}
ENDINGS = {"model": "finish other", "chain": "finish other", "graph": "finish stop"}
"""How a message ends whose stream is left at the first item: a graph's has the whole answer."""


@pytest.fixture
async def service() -> AsyncIterator[Service]:
    async with create_service("memory://", protocol=UIMessageProtocol()) as service:
        yield service


async def recorded(service: Service) -> list[Chunk]:
    chunks = await service.chunks("chat")
    check_message(chunks)
    return chunks


async def until_it_speaks(service: Service) -> None:
    async for chunk in service.subscribe("chat", timeout=5.0):
        if chunk["type"] == "text-delta":
            return


async def invoke(runnable: Runnable[Any, Any], question: Any, config: Any) -> None:
    await runnable.ainvoke(question, config)


async def stream(runnable: Runnable[Any, Any], question: Any, config: Any) -> None:
    async for _ in runnable.astream(question, config):
        pass


@pytest.mark.parametrize("call", [invoke, stream])
@pytest.mark.parametrize("kind", RUNNABLES)
async def test_a_completed_block_finishes_the_message(
    service: Service, kind: str, call: Callable[..., Any]
) -> None:
    build, question = RUNNABLES[kind]
    async with service.publisher("chat", message_id="m1") as pub:
        await call(
            build(ScriptedModel(scripts=[says("Hel", "lo")])),
            question,
            {"callbacks": [StreamCallbackHandler(pub)]},
        )

    assert outline(await recorded(service)) == [
        "start m1",
        "start-step",
        "text-start A:0",
        "text-delta A:0 Hel",
        "text-delta A:0 lo",
        "text-end A:0",
        "finish-step",
        "finish stop",
    ]


@pytest.mark.parametrize("call", [invoke, stream])
@pytest.mark.parametrize("kind", RUNNABLES)
async def test_a_cancelled_block_aborts_the_message(
    service: Service, kind: str, call: Callable[..., Any]
) -> None:
    build, question = RUNNABLES[kind]

    async def reply() -> None:
        async with service.publisher("chat", message_id="m1") as pub:
            await call(
                build(ScriptedModel(scripts=[HALF])),
                question,
                {"callbacks": [StreamCallbackHandler(pub)]},
            )

    task = asyncio.create_task(reply())
    await until_it_speaks(service)
    task.cancel()
    await asyncio.wait([task])

    assert outline(await recorded(service))[-5:] == [
        "text-end A:0",
        "finish-step",
        "start-step",
        "message-metadata {'stopped': True}",
        "abort",
    ]


@pytest.mark.parametrize("call", [invoke, stream])
async def test_a_block_that_is_cancelled_inside_a_tool_aborts_the_message(
    service: Service, call: Callable[..., Any]
) -> None:
    started = asyncio.Event()

    @tool
    async def ponder() -> None:
        """Think, and never stop."""
        started.set()
        await asyncio.Event().wait()

    async def reply() -> None:
        async with service.publisher("chat", message_id="m1") as pub:
            graph = agent(ScriptedModel(scripts=[calls(("call_1", "ponder", "{}"))]), [ponder])
            await call(graph, USER, {"callbacks": [StreamCallbackHandler(pub)]})

    task = asyncio.create_task(reply())
    await started.wait()
    task.cancel()
    await asyncio.wait([task])

    lines = outline(await recorded(service))
    assert [line for line in lines if "output" in line] == []
    assert lines[-4:] == [
        "finish-step",
        "start-step",
        "message-metadata {'stopped': True}",
        "abort",
    ]


@pytest.mark.parametrize("after", range(13))
@pytest.mark.parametrize("call", [invoke, stream])
async def test_a_message_that_is_cancelled_after_any_chunk_is_whole(
    service: Service, call: Callable[..., Any], after: int
) -> None:
    pauses: Any = [
        [0.0, *(piece for step in script for piece in (step, 0.0))]
        for script in (ASKED, says("Warm", "."))
    ]

    async def reply() -> None:
        async with service.publisher("chat", message_id="m1") as pub:
            await call(
                agent(ScriptedModel(scripts=pauses), [weather]),
                USER,
                {"callbacks": [StreamCallbackHandler(pub)]},
            )

    task = asyncio.create_task(reply())
    subscription = service.subscribe("chat", timeout=5.0)
    for _ in range(after + 1):
        await anext(subscription)
    task.cancel()
    await asyncio.wait([task])

    chunks = await recorded(service)
    assert [chunk["type"] for chunk in chunks if chunk["type"] in TERMINAL_TYPES] == [
        chunks[-1]["type"]
    ]


@pytest.mark.parametrize("kind", RUNNABLES)
async def test_a_reader_that_forgets_its_stream_leaves_a_message_without_loose_ends(
    service: Service, kind: str
) -> None:
    build, question = RUNNABLES[kind]
    model = ScriptedModel(
        scripts=[[AIMessageChunk("one"), AIMessageChunk("two"), 0.0, AIMessageChunk("three")]]
    )
    async with service.publisher("chat") as pub:
        async for _ in build(model).astream(question, {"callbacks": [StreamCallbackHandler(pub)]}):
            break
        gc.collect()

    assert outline(await recorded(service))[-1] == ENDINGS[kind]


@pytest.mark.parametrize("kind", RUNNABLES)
async def test_a_failed_block_reveals_that_it_failed_but_not_why(
    service: Service, kind: str
) -> None:
    build, question = RUNNABLES[kind]
    model = ScriptedModel(scripts=[[AIMessageChunk("half"), RuntimeError("secret")]])
    with pytest.raises(RuntimeError):
        async with service.publisher("chat") as pub:
            await build(model).ainvoke(question, {"callbacks": [StreamCallbackHandler(pub)]})

    assert outline(await recorded(service))[-3:] == [
        "text-end A:0",
        "finish-step",
        "error An error occurred.",
    ]


@pytest.mark.parametrize("kind", RUNNABLES)
async def test_a_reader_that_stops_early_leaves_a_message_without_loose_ends(
    service: Service, kind: str
) -> None:
    build, question = RUNNABLES[kind]
    model = ScriptedModel(
        scripts=[[AIMessageChunk("one"), AIMessageChunk("two"), 0.0, AIMessageChunk("three")]]
    )
    async with service.publisher("chat") as pub:
        async with aclosing(
            build(model).astream(question, {"callbacks": [StreamCallbackHandler(pub)]})
        ) as pieces:
            async for _ in pieces:
                break

    assert outline(await recorded(service))[-1] == ENDINGS[kind]


async def test_the_reason_and_usage_of_the_model_reach_the_ending(service: Service) -> None:
    async with service.publisher("chat") as pub:
        model = ScriptedModel(scripts=[says("cut", reason="length", tokens=2)])
        await model.ainvoke("hi", {"callbacks": [StreamCallbackHandler(pub)]})

    assert outline(await recorded(service))[-3:] == [
        "message-metadata {'finishReason': 'length', "
        "'usage': {'inputTokens': 2, 'outputTokens': 2, 'totalTokens': 4}}",
        "finish-step",
        "finish length",
    ]


async def test_a_run_that_outlives_its_block_is_harmless(service: Service) -> None:
    started, go_on = asyncio.Event(), asyncio.Event()

    @tool
    async def hold() -> str:
        """Wait until the block has ended."""
        started.set()
        await go_on.wait()
        return "held"

    graph = agent(ScriptedModel(scripts=[calls(("call_1", "hold", "{}")), says("late")]), [hold])
    async with service.publisher("chat") as pub:
        config: Any = {"callbacks": [StreamCallbackHandler(pub)]}
        running = asyncio.create_task(graph.ainvoke(USER, config))
        await started.wait()
    go_on.set()

    assert (await running)["messages"][-1].text == "late"
    assert [chunk["type"] for chunk in await recorded(service)][-2:] == ["finish-step", "finish"]
    assert pub.dropped > 0


async def test_a_chain_in_a_thread_and_one_on_the_loop_make_one_message(service: Service) -> None:
    model = ScriptedModel(scripts=[says("one"), says("two"), says("three")])
    async with service.publisher("chat") as pub:
        config: Any = {"callbacks": [StreamCallbackHandler(pub)]}
        await asyncio.to_thread(model.invoke, "hi", config)
        await model.ainvoke("hi", config)
        await asyncio.to_thread(model.invoke, "hi", config)

    lines = outline(await recorded(service))
    assert [line for line in lines if "text-delta" in line] == [
        "text-delta A:0 one",
        "text-delta B:0 two",
        "text-delta C:0 three",
    ]


async def test_pushes_from_a_thread_stay_before_later_ones_from_the_loop(service: Service) -> None:
    """An async graph runs sync functions in threads. Their chunks stay before later ones."""
    model = ScriptedModel(scripts=[says("one"), says("two")])
    async with service.publisher("chat") as pub:
        config: Any = {"callbacks": [StreamCallbackHandler(pub)]}
        thread = threading.Thread(target=model.invoke, args=("hi", config))
        thread.start()
        # The loop stands still meanwhile, so the chunks that the thread pushes wait for it.
        thread.join()
        model.invoke("hi", config)

    lines = outline(await recorded(service))
    assert [line for line in lines if "text-delta" in line] == [
        "text-delta A:0 one",
        "text-delta B:0 two",
    ]


async def test_an_agent_with_a_tool_is_kept_as_a_whole_message(service: Service) -> None:
    async with service.publisher("chat", message_id="m1") as pub:
        model = ScriptedModel(
            scripts=[calls(("call_1", "weather", '{"city":"Paris"}')), says("Warm")]
        )
        await agent(model, [weather]).ainvoke(USER, {"callbacks": [StreamCallbackHandler(pub)]})

    chunks = [chunk async for chunk in service.subscribe("chat")]
    assert chunks == await recorded(service)
    assert chunks[-1] == {"type": "finish", "finishReason": "stop"}


@pytest.mark.parametrize("kind", RUNNABLES)
async def test_an_answer_whose_error_is_caught_does_not_end_as_if_it_were_whole(
    service: Service, kind: str
) -> None:
    build, question = RUNNABLES[kind]
    model = ScriptedModel(scripts=[[AIMessageChunk("one"), RuntimeError("secret")]])
    async with service.publisher("chat") as pub:
        with suppress(RuntimeError):
            await build(model).ainvoke(question, {"callbacks": [StreamCallbackHandler(pub)]})

    assert outline(await recorded(service))[-1] == "finish error"


async def test_an_answer_after_a_caught_error_is_whole(service: Service) -> None:
    async with service.publisher("chat") as pub:
        handler = StreamCallbackHandler(pub)
        for script in ([AIMessageChunk("one"), RuntimeError("secret")], says("two")):
            with suppress(RuntimeError):
                await ScriptedModel(scripts=[script]).ainvoke("hi", {"callbacks": [handler]})

    assert outline(await recorded(service))[-1] == "finish stop"
