"""A handler that owns its versions, and handlers attached to a block.

M, T and L: rows of the integration reference.
"""

from __future__ import annotations

import asyncio
import gc
from collections.abc import AsyncIterator
from typing import Any
from uuid import uuid4

import pytest
from langchain_core.messages import AIMessageChunk
from langchain_core.output_parsers import StrOutputParser
from langchain_core.runnables import RunnableLambda

from monostream_ai import DurableStreamService, VersionConflict, create_service
from monostream_ai.langchain import OwningCallbackHandler, StreamCallbackHandler, attached
from monostream_ai.ui_messages import Chunk, UIMessageProtocol
from tests.langchain.recording import Recorder, check_message, outline
from tests.langchain.scripted import USER, ScriptedModel, agent, calls, says, weather

Service = DurableStreamService[Chunk]
HALF = [AIMessageChunk("half"), 60.0]


@pytest.fixture
async def service() -> AsyncIterator[Service]:
    async with create_service("memory://", protocol=UIMessageProtocol()) as service:
        yield service


async def recorded(service: Service, version: int | None = None) -> list[str]:
    """Return the whole version, once it is closed."""
    async with asyncio.timeout(5.0):
        while (await service.status("chat", version)).state == "open":
            await asyncio.sleep(0)
    chunks = await service.chunks("chat", version)
    check_message(chunks)
    return outline(chunks)


async def speaking(service: Service) -> None:
    async for chunk in service.subscribe("chat", timeout=5.0):
        if chunk["type"] == "text-delta":
            return


async def test_a_run_makes_a_version_of_its_own(service: Service) -> None:
    handler = OwningCallbackHandler(service, "chat", opening={"message_id": "m1", "owner": "ann"})
    model = ScriptedModel(scripts=[calls(("call_1", "weather", '{"city":"Paris"}')), says("Warm")])
    await agent(model, [weather]).ainvoke(USER, {"callbacks": [handler]})

    lines = await recorded(service)
    assert (lines[0], lines[-1]) == ("start m1", "finish stop")
    assert "tool-output-available call_1 {'city': 'Paris', 'temp': 21}" in lines
    assert (await service.status("chat")).owner == "ann"


async def test_m33_each_root_run_is_a_version(service: Service) -> None:
    handler = OwningCallbackHandler(service, "chat")
    model = ScriptedModel(scripts=[says("one"), says("two")])
    for _ in range(2):
        await model.ainvoke("hi", {"callbacks": [handler]})
    await handler.aclose()

    assert [(await recorded(service, version))[3] for version in (0, 1)] == [
        "text-delta A:0 one",
        "text-delta A:0 two",
    ]


async def test_m20_a_fallback_without_a_parent_belongs_to_the_open_root(service: Service) -> None:
    handler = OwningCallbackHandler(service, "chat")
    model = ScriptedModel(scripts=[[AIMessageChunk("par"), ConnectionError()]])
    await model.with_fallbacks([ScriptedModel(scripts=[says("whole")])]).ainvoke(
        "hi", {"callbacks": [handler]}
    )

    lines = await recorded(service)
    assert [line for line in lines if "delta" in line] == [
        "text-delta A:0 par",
        "text-delta B:0 whole",
    ]
    assert (await service.status("chat")).version == 0


async def test_a_run_that_fails_ends_its_version_with_an_error(service: Service) -> None:
    handler = OwningCallbackHandler(service, "chat")
    with pytest.raises(ConnectionError):
        await ScriptedModel(scripts=[[AIMessageChunk("half"), ConnectionError("secret")]]).ainvoke(
            "hi", {"callbacks": [handler]}
        )

    assert (await recorded(service))[-1] == "error An error occurred."


@pytest.mark.parametrize("kind", ["model", "chain", "graph"])
async def test_t19_a_cancelled_run_is_aborted(service: Service, kind: str) -> None:
    handler = OwningCallbackHandler(service, "chat")
    model = ScriptedModel(scripts=[HALF])
    runnables: dict[str, Any] = {
        "model": model,
        "chain": RunnableLambda(str) | model,
        "graph": agent(model, [weather]),
    }
    task = asyncio.create_task(
        runnables[kind].ainvoke(USER if kind == "graph" else "hi", {"callbacks": [handler]})
    )
    await speaking(service)
    task.cancel()
    await asyncio.wait([task])

    assert (await recorded(service))[-1] == "abort"


async def test_t19_a_run_that_was_cut_off_in_silence_is_aborted_when_its_handler_is_closed(
    service: Service,
) -> None:
    handler = OwningCallbackHandler(service, "chat")
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.05):
            await ScriptedModel(scripts=[HALF]).ainvoke("hi", {"callbacks": [handler]})
    assert (await service.status("chat")).state == "open"
    await handler.aclose()

    assert (await recorded(service))[-1] == "abort"


async def test_t19_a_run_that_was_cut_off_in_silence_is_aborted_when_its_handler_is_collected(
    service: Service,
) -> None:
    async def ask() -> None:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.05):
                config: Any = {"callbacks": [OwningCallbackHandler(service, "chat")]}
                await ScriptedModel(scripts=[HALF]).ainvoke("hi", config)

    await ask()
    gc.collect()

    assert (await recorded(service))[-1] == "abort"


async def test_a_sync_run_in_a_thread_is_recorded(service: Service) -> None:
    handler = OwningCallbackHandler(service, "chat")
    await asyncio.to_thread(
        ScriptedModel(scripts=[says("Hel", "lo")]).invoke, "hi", {"callbacks": [handler]}
    )

    assert [line for line in await recorded(service) if "delta" in line] == [
        "text-delta A:0 Hel",
        "text-delta A:0 lo",
    ]


async def test_a_stopped_version_takes_nothing_more_and_the_run_goes_on(service: Service) -> None:
    handler = OwningCallbackHandler(service, "chat")
    stopped = asyncio.Event()

    async def stop_in_between(text: str) -> str:
        assert await service.stop("chat")
        stopped.set()
        return text

    model = ScriptedModel(scripts=[says("one"), says("two")])
    chain = model | StrOutputParser() | RunnableLambda(stop_in_between) | model | StrOutputParser()
    answer = await chain.ainvoke("hi", {"callbacks": [handler]})
    await handler.aclose()

    lines = await recorded(service)
    assert (answer, lines[-1]) == ("two", "abort")
    assert not [line for line in lines if "two" in line]


async def test_a_version_that_cannot_be_opened_fails_when_the_handler_is_closed(
    service: Service,
) -> None:
    async with service.publisher("chat", 5):
        pass
    handler = OwningCallbackHandler(service, "chat", opening={"version": 5})
    answer = await ScriptedModel(scripts=[says("Hi")]).ainvoke("hi", {"callbacks": [handler]})

    assert answer.text == "Hi"
    with pytest.raises(VersionConflict):
        await handler.aclose()


async def test_closing_a_handler_that_never_ran_does_nothing(service: Service) -> None:
    await OwningCallbackHandler(service, "chat").aclose()


async def test_its_repr_shows_the_stream_and_whether_a_run_is_recorded(service: Service) -> None:
    handler, run_id = OwningCallbackHandler(service, "chat"), uuid4()
    shown = [repr(handler)]
    handler.on_chain_start({}, {}, run_id=run_id)
    shown.append(repr(handler))
    handler.on_chain_end({}, run_id=run_id)
    shown.append(repr(handler))
    await handler.aclose()

    assert shown == [
        f"<OwningCallbackHandler of 'chat' {state}>" for state in ("idle", "recording", "idle")
    ]


def test_it_needs_a_running_loop() -> None:
    with pytest.raises(RuntimeError):
        OwningCallbackHandler(create_service("memory://"), "chat")


async def test_l18_runs_in_a_block_are_recorded_without_callbacks() -> None:
    recorder, model = Recorder(), ScriptedModel(scripts=[says("one"), says("two"), says("three")])
    with attached(recorder.handler):
        await model.ainvoke("hi")
        await asyncio.create_task(model.ainvoke("hi"))
        await asyncio.to_thread(model.invoke, "hi")
    await model.ainvoke("hi")

    assert [line.split()[-1] for line in recorder.outline() if "delta" in line] == [
        "one",
        "two",
        "three",
    ]


async def test_l18_a_graph_that_has_the_callback_too_is_recorded_once() -> None:
    recorder = Recorder()
    graph = agent(
        ScriptedModel(scripts=[calls(("call_1", "weather", '{"city":"Paris"}')), says("Warm")]),
        [weather],
    )
    with attached(recorder.handler):
        await graph.ainvoke(USER, recorder.config)

    assert [line for line in recorder.outline() if "output" in line or "text-delta" in line] == [
        "tool-output-available call_1 {'city': 'Paris', 'temp': 21}",
        "text-delta A:0 Warm",
    ]


async def test_l18_an_inner_block_replaces_the_outer_one() -> None:
    outer, inner, model = Recorder(), Recorder(), ScriptedModel(scripts=[says("one"), says("two")])
    with attached(outer.handler):
        with attached(inner.handler):
            await model.ainvoke("hi")
        await model.ainvoke("hi")

    assert [line for line in inner.outline() if "delta" in line] == ["text-delta A:0 one"]
    assert [line for line in outer.outline() if "delta" in line] == ["text-delta A:0 two"]


async def test_l18_a_publisher_and_the_block_around_a_chain_are_enough(service: Service) -> None:
    async with service.publisher("chat", message_id="m1") as pub:
        with attached(StreamCallbackHandler(pub)):
            await (RunnableLambda(str) | ScriptedModel(scripts=[says("Hi")])).ainvoke("hi")

    assert (await recorded(service))[3] == "text-delta A:0 Hi"
