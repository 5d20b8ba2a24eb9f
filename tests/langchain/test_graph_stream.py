"""A graph's stream makes the same message as its callbacks."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
from langchain.agents import create_agent
from langchain.agents.middleware import (
    HumanInTheLoopMiddleware,
    ModelCallLimitMiddleware,
    after_model,
)
from langchain_core.messages import AIMessage, AIMessageChunk, ChatMessage
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.config import get_stream_writer
from langgraph.graph import START, MessagesState, StateGraph
from langgraph.types import Send

from monostream_ai import InvalidArgument, create_service
from monostream_ai.langchain import StreamCallbackHandler, record_graph
from monostream_ai.ui_messages import reduce_chunks
from tests.langchain.scripted import (
    USER,
    ScriptedModel,
    SilentModel,
    broken,
    calls,
    says,
    weather,
)

MODES = ["messages", "updates", "custom"]


async def recorded(record: Callable[[Any], Any]) -> list[dict[str, Any]]:
    """Return the parts of the message that this function writes, without ids of parts."""
    async with create_service("memory://") as service:
        async with service.publisher("s") as pub:
            await record(pub)
        chunks = [chunk async for chunk in service.subscribe("s")]
    return [dict(part) for part in reduce_chunks(chunks)["parts"]]


def tool_agent(model: type[SilentModel]) -> Any:
    script = [calls(("c1", "weather", '{"city": "Bern"}')), says("Warm", ".", tokens=3)]
    return create_agent(model(scripts=script), [weather])


def canned(model: type[SilentModel]) -> Any:
    graph = StateGraph(MessagesState)
    graph.add_node("guard", lambda state: {"messages": [AIMessage("No.")]})
    graph.add_edge(START, "guard")
    return graph.compile()


def limited(model: type[SilentModel]) -> Any:
    script = [calls(("c1", "weather", '{"city": "Bern"}'))]
    limit = ModelCallLimitMiddleware(run_limit=1)
    return create_agent(model(scripts=script), [weather], middleware=[limit])


def asking(model: type[SilentModel]) -> Any:
    script = [calls(("c1", "weather", '{"city": "Bern"}'))]
    human: Any = HumanInTheLoopMiddleware(interrupt_on={"weather": True})
    return create_agent(
        model(scripts=script), [weather], middleware=[human], checkpointer=InMemorySaver()
    )


@pytest.mark.parametrize("agent", [tool_agent, canned, limited, asking])
@pytest.mark.parametrize("model", [ScriptedModel, SilentModel], ids=["streamed", "at once"])
async def test_a_graph_stream_makes_the_message_of_the_callbacks(
    agent: Callable[..., Any], model: type[SilentModel]
) -> None:
    thread: Any = {"configurable": {"thread_id": "t"}}

    async def by_stream(pub: Any) -> None:
        await record_graph(agent(model).astream(USER, thread, stream_mode=MODES), pub)

    async def by_callbacks(pub: Any) -> None:
        handler = StreamCallbackHandler(pub)
        await agent(model).ainvoke(USER, {**thread, "callbacks": [handler]})

    ours, theirs = await recorded(by_stream), await recorded(by_callbacks)

    assert without_ids(ours) == without_ids(theirs)


def without_ids(parts: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Leave out the ids of interrupts, which LangGraph makes anew for each run."""
    return [
        {key: value for key, value in part.items() if key not in ("id", "approval")}
        for part in parts
    ]


@pytest.mark.parametrize("modes", ["messages", "updates", ["messages"], ["updates", "values"]])
@pytest.mark.parametrize("subgraphs", [True, False])
async def test_any_mode_brings_the_answer(modes: Any, subgraphs: bool) -> None:
    stream = tool_agent(ScriptedModel).astream(USER, stream_mode=modes, subgraphs=subgraphs)

    parts = await recorded(lambda pub: record_graph(stream, pub))

    assert [part["text"] for part in parts if part["type"] == "text"] == ["Warm."]
    [call] = [part for part in parts if part["type"] == "dynamic-tool"]
    assert (call["state"], call["output"]) == ("output-available", {"city": "Bern", "temp": 21})


async def test_what_a_node_writes_becomes_data_parts() -> None:
    def work(state: MessagesState) -> dict[str, Any]:
        write = get_stream_writer()
        write({"type": "progress", "percent": 50, "id": "p"})
        write({"type": "progress", "percent": 100, "id": "p"})
        write({"type": "data-chart", "data": [1, 2]})
        write({"percent": 1})
        write("no type")
        return {"messages": [AIMessage("Done.")]}

    graph = StateGraph(MessagesState)
    graph.add_node("work", work)
    graph.add_edge(START, "work")
    stream = graph.compile().astream(USER, stream_mode=MODES)

    parts = await recorded(lambda pub: record_graph(stream, pub))

    assert [part for part in parts if part["type"].startswith("data-")] == [
        {"type": "data-progress", "id": "p", "data": {"percent": 100, "id": "p"}},
        {"type": "data-chart", "data": [1, 2]},
    ]


async def test_the_items_pass_through() -> None:
    items = []

    async def record(pub: Any) -> None:
        stream = tool_agent(ScriptedModel).astream(USER, stream_mode=MODES)
        async for item in record_graph(stream, pub):
            items.append(item)

    await recorded(record)

    assert {mode for mode, _ in items} == {"messages", "updates"}


async def test_an_error_of_the_graph_leaves_the_loop() -> None:
    model = ScriptedModel(scripts=[[AIMessageChunk("par"), ConnectionError("down")]])
    stream = create_agent(model, [broken]).astream(USER, stream_mode=MODES)

    with pytest.raises(ConnectionError):
        await recorded(lambda pub: record_graph(stream, pub))


def test_a_service_is_no_publisher() -> None:
    with pytest.raises(TypeError, match="record_graph needs a publisher"):
        record_graph(None, create_service("memory://"))  # type: ignore[arg-type]


async def test_a_stream_that_cannot_be_awaited_is_refused() -> None:
    stream: Any = canned(SilentModel).stream(USER)

    with pytest.raises(TypeError, match=r"needs the stream of graph\.astream"):
        await recorded(lambda pub: record_graph(stream, pub))


async def test_a_graph_stream_continues_a_message() -> None:
    asked = await recorded(
        lambda pub: record_graph(tool_agent(SilentModel).astream(USER, stream_mode=MODES), pub)
    )
    earlier = {"id": "m1", "role": "assistant", "parts": asked, "metadata": {"usage": {}}}
    more = ScriptedModel(scripts=[says("More.")])
    stream = create_agent(more, []).astream(USER, stream_mode=MODES)

    parts = await recorded(lambda pub: record_graph(stream, pub, continued=earlier))

    assert [part["text"] for part in parts if part["type"] == "text"] == ["More."]


async def test_a_program_may_change_what_it_has_read() -> None:
    async def stream() -> AsyncIterator[Any]:
        for number in range(100):
            yield AIMessageChunk(f"{number} ", id="m1"), {}

    async def record(pub: Any) -> None:
        async for message, _ in record_graph(stream(), pub):
            message.content = "changed"

    [_, part] = await recorded(record)
    assert part["text"] == "".join(f"{number} " for number in range(100))


def fanned_out(*, names: str = "ab") -> Any:
    """Return a graph that runs one node for several models at once, which speak in turns."""
    scripts = {
        "a": [AIMessageChunk("a1"), 0.01, AIMessageChunk("a2")],
        "b": [0.005, AIMessageChunk("b1"), 0.02, AIMessageChunk("b2")],
    }

    async def speak(state: dict[str, str]) -> dict[str, Any]:
        answer = await ScriptedModel(scripts=[scripts[state["name"]]]).ainvoke("hi")
        return {"messages": [answer]}

    graph = StateGraph(MessagesState)
    graph.add_node("begin", lambda state: {})
    graph.add_node("speak", speak)
    graph.add_edge(START, "begin")
    graph.add_conditional_edges("begin", lambda s: [Send("speak", {"name": n}) for n in names])
    return graph.compile()


@pytest.mark.parametrize("inside", [False, True], ids=["a graph", "a subgraph"])
async def test_models_that_a_node_runs_at_once_are_heard_to_their_end(inside: bool) -> None:
    graph = fanned_out()
    if inside:
        outer = StateGraph(MessagesState)
        outer.add_node("inner", graph)
        outer.add_edge(START, "inner")
        graph = outer.compile()
    stream = graph.astream(USER, stream_mode=MODES, subgraphs=inside)
    parts = await recorded(lambda pub: record_graph(stream, pub))

    assert sorted(part["text"] for part in parts if part["type"] == "text") == ["a1a2", "b1b2"]


async def test_a_graph_whose_loop_is_left_does_not_end_as_if_it_were_whole() -> None:
    model = ScriptedModel(scripts=[says("one", "two")])
    async with create_service("memory://") as service:
        async with service.publisher("s") as pub:
            stream = create_agent(model, [weather]).astream(USER, stream_mode=MODES)
            async for _ in record_graph(stream, pub):
                break
        chunks = [chunk async for chunk in service.subscribe("s")]

    assert chunks[-1] == {"type": "finish", "finishReason": "other"}


@pytest.mark.parametrize("mode", ["values", "debug", ["values", "tasks"]])
async def test_a_stream_without_a_mode_that_is_read_is_an_error(mode: Any) -> None:
    async with create_service("memory://") as service:
        with pytest.raises(InvalidArgument, match="add messages"):
            async with service.publisher("s") as pub:
                await record_graph(tool_agent(ScriptedModel).astream(USER, stream_mode=mode), pub)
        chunks = [chunk async for chunk in service.subscribe("s")]

    assert chunks[-1]["type"] == "error"


@pytest.mark.parametrize("streams", [True, False])
async def test_an_answer_in_a_message_of_a_role_is_shown(streams: bool) -> None:
    def answer(state: Any) -> Any:
        return {"messages": [ChatMessage("Hello", role="assistant")]}

    graph: Any = StateGraph(MessagesState)
    graph.add_node("answer", answer)
    graph.add_edge(START, "answer")
    compiled = graph.compile()

    async def record(pub: Any) -> None:
        if streams:
            await record_graph(compiled.astream(USER, stream_mode=MODES), pub)
        else:
            await compiled.ainvoke(USER, {"callbacks": [StreamCallbackHandler(pub)]})

    parts = await recorded(record)
    assert [part["text"] for part in parts if part["type"] == "text"] == ["Hello"]


@after_model
def redacting(state: Any, runtime: Any) -> Any:
    last = state["messages"][-1]
    return {"messages": [AIMessage(last.text.replace("1234", "****"), id=last.id)]}


@pytest.mark.parametrize("model", [ScriptedModel, SilentModel])
@pytest.mark.parametrize("modes", [MODES, ["updates"], None], ids=["all", "updates", "handler"])
async def test_a_message_that_middleware_edits_replaces_that_of_the_model(
    model: type[SilentModel], modes: Any
) -> None:
    graph = create_agent(model(scripts=[says("It is ", "1234.")]), middleware=[redacting])

    async def record(pub: Any) -> None:
        if modes is None:
            await graph.ainvoke(USER, {"callbacks": [StreamCallbackHandler(pub)]})
        else:
            await record_graph(graph.astream(USER, stream_mode=modes), pub)

    parts = await recorded(record)
    assert [part["text"] for part in parts if part["type"] == "text"] == ["It is ****."]
