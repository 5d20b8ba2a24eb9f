"""Answers that no model speaks: nodes, middleware and chains return them as messages."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from langchain.agents import create_agent
from langchain.agents.middleware import (
    AgentMiddleware,
    ModelCallLimitMiddleware,
    ModelRequest,
    ModelResponse,
    ModelRetryMiddleware,
    ToolCallLimitMiddleware,
    hook_config,
)
from langchain_core.caches import InMemoryCache
from langchain_core.messages import AIMessage, AIMessageChunk, HumanMessage, ToolMessage
from langchain_core.runnables import Runnable, RunnableBranch, RunnableConfig, RunnableLambda
from langchain_core.tools import tool
from langgraph.cache.memory import InMemoryCache as NodeCache
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.func import entrypoint, task
from langgraph.graph import END, START, MessagesState, StateGraph
from langgraph.types import CachePolicy, Command
from pydantic import BaseModel

from tests.langchain.recording import Recorder
from tests.langchain.scripted import USER, ScriptedModel, SilentModel, calls, says, weather


def texts(recorder: Recorder) -> list[str]:
    """Return the texts of the message, one for each text part."""
    return [part["text"] for part in recorder.sink.message()["parts"] if part["type"] == "text"]


def of_type(recorder: Recorder, kind: str) -> list[Any]:
    return [part for part in recorder.sink.message()["parts"] if part["type"] == kind]


def graph_of(node: Callable[..., Any], **options: Any) -> Any:
    graph = StateGraph(MessagesState)
    graph.add_node("answer", node, **options)
    graph.add_edge(START, "answer")
    return graph


async def test_the_answer_of_a_node_is_shown() -> None:
    recorder = Recorder()

    await (
        graph_of(lambda state: {"messages": [AIMessage("canned")]})
        .compile()
        .ainvoke(USER, config=recorder.config)
    )

    assert recorder.outline() == [
        "start m1",
        "start-step",
        "text-start A:answer-0:0",
        "text-delta A:answer-0:0 canned",
        "text-end A:answer-0:0",
        "finish-step",
        "finish stop",
    ]


class Guard(AgentMiddleware):
    @hook_config(can_jump_to=["end"])
    def before_model(self, state: Any, runtime: Any) -> dict[str, Any]:
        return {"messages": [AIMessage("I may not answer that.")], "jump_to": "end"}


class AfterGuard(AgentMiddleware):
    def after_model(self, state: Any, runtime: Any) -> dict[str, Any]:
        return {"messages": [AIMessage("Ask your doctor.")]}


class Canned(AgentMiddleware):
    async def awrap_model_call(self, request: ModelRequest, handler: Any) -> Any:
        return ModelResponse(result=[AIMessage("From the cache.")])


class Shout(AgentMiddleware):
    async def awrap_model_call(self, request: ModelRequest, handler: Any) -> Any:
        said = (await handler(request)).result[0]
        return AIMessage(said.content.upper())


class Same(AgentMiddleware):
    """Returns the model's answer under another id."""

    async def awrap_model_call(self, request: ModelRequest, handler: Any) -> Any:
        return AIMessage(f"{(await handler(request)).result[0].content}\n", name="expert")


@pytest.mark.parametrize(
    ("middleware", "shown"),
    [
        ([Guard()], ["I may not answer that."]),
        ([AfterGuard()], ["hello", "Ask your doctor."]),
        ([Canned()], ["From the cache."]),
        ([Shout()], ["hello", "HELLO"]),
        ([Same()], ["hello"]),
        ([], ["hello"]),
    ],
    ids=["jump_to", "after_model", "wrap_model_call", "changed", "same text", "none"],
)
@pytest.mark.parametrize("streams", [True, False])
async def test_an_answer_of_middleware_is_shown_once(
    middleware: list[Any], shown: list[str], streams: bool
) -> None:
    model = (ScriptedModel if streams else SilentModel)(scripts=[says("hello")])
    recorder = Recorder()

    await create_agent(model, [weather], middleware=middleware).ainvoke(
        USER, config=recorder.config
    )

    assert texts(recorder) == shown


async def test_the_limit_of_model_calls_is_told() -> None:
    recorder, model = Recorder(), ScriptedModel(scripts=[calls(("c1", "weather", '{"city": "B"}'))])
    limit = ModelCallLimitMiddleware(run_limit=1)

    await create_agent(model, [weather], middleware=[limit]).ainvoke(USER, config=recorder.config)

    assert texts(recorder) == ["Model call limits exceeded: run limit (1/1)"]
    assert recorder.outline()[-1] == "finish stop"


async def test_the_limit_of_tool_calls_is_told_after_the_results() -> None:
    both = calls(("c1", "weather", '{"city": "B"}'), ("c2", "weather", '{"city": "C"}'))
    recorder, model = Recorder(), ScriptedModel(scripts=[both])
    limit = ToolCallLimitMiddleware(run_limit=1, exit_behavior="end")

    await create_agent(model, [weather], middleware=[limit]).ainvoke(USER, config=recorder.config)

    assert [part["state"] for part in of_type(recorder, "dynamic-tool")][1] == "output-error"
    assert texts(recorder) == ["Tool call limit reached: run limit exceeded (2/1 calls)."]


async def test_a_retry_that_gives_up_replaces_the_failed_attempt() -> None:
    model = ScriptedModel(scripts=[[AIMessageChunk("par"), ConnectionError("down")]])
    recorder = Recorder()
    retry = ModelRetryMiddleware(max_retries=1, initial_delay=0, on_failure=lambda e: "Try later.")

    await create_agent(model, [], middleware=[retry]).ainvoke(USER, config=recorder.config)

    assert texts(recorder) == ["Try later."]


async def test_old_answers_are_not_shown_again() -> None:
    saver, thread = InMemorySaver(), {"configurable": {"thread_id": "t"}}
    graph = graph_of(lambda state: {"messages": [*state["messages"], AIMessage("new")]}).compile(
        checkpointer=saver
    )
    first, second = Recorder(), Recorder()

    await graph.ainvoke(USER, config={**first.config, **thread})
    await graph.ainvoke(USER, config={**second.config, **thread})

    assert texts(first) == texts(second) == ["new"]


async def test_the_answer_of_a_subgraph_is_shown_once() -> None:
    inner = graph_of(lambda state: {"messages": [AIMessage("canned")]}).compile()
    called, added = Recorder(), Recorder()

    async def call_inner(state: MessagesState, config: RunnableConfig) -> Any:
        return await inner.ainvoke(state, config)

    await graph_of(call_inner).compile().ainvoke(USER, config=called.config)
    await graph_of(inner).compile().ainvoke(USER, config=added.config)

    assert texts(called) == texts(added) == ["canned"]


@pytest.mark.parametrize(
    "answer",
    [
        lambda: Command(update={"messages": [AIMessage("canned")]}),
        lambda: [Command(update={"messages": AIMessage("canned")})],
        lambda: {"messages": AIMessageChunk("canned")},
        lambda: {"messages": [{"role": "assistant", "content": "canned"}]},
        lambda: {"messages": [("ai", "canned")]},
        lambda: MessagesModel(messages=[AIMessage("canned")]),
    ],
    ids=["command", "commands", "chunk", "role", "pair", "model"],
)
async def test_a_node_may_return_an_answer_in_any_form(answer: Callable[[], Any]) -> None:
    recorder = Recorder()

    await graph_of(lambda state: answer()).compile().ainvoke(USER, config=recorder.config)

    assert texts(recorder) == ["canned"]


class MessagesModel(BaseModel):
    messages: list[AIMessage]


async def test_an_answer_of_a_hidden_model_stays_hidden() -> None:
    hidden = ScriptedModel(scripts=[says("secret")]).with_config(tags=["nostream"])
    recorder = Recorder()

    async def ask(state: MessagesState) -> Any:
        return {"messages": [await hidden.ainvoke(state["messages"])]}

    await graph_of(ask).compile().ainvoke(USER, config=recorder.config)

    assert texts(recorder) == []


async def test_an_answer_of_a_hidden_node_stays_hidden() -> None:
    recorder = Recorder(exclude_tags=["internal"])
    node = RunnableLambda(lambda state: {"messages": [AIMessage("secret")]})

    await (
        graph_of(node.with_config(tags=["internal"]))
        .compile()
        .ainvoke(USER, config=recorder.config)
    )

    assert texts(recorder) == []


async def test_an_answer_inside_a_tool_is_shown_only_with_nested() -> None:
    inner = graph_of(lambda state: {"messages": [AIMessage("inside")]}).compile()

    @tool
    async def research(topic: str) -> str:
        """Research."""
        return str((await inner.ainvoke(USER))["messages"][-1].content)

    def model() -> ScriptedModel:
        return ScriptedModel(scripts=[calls(("c1", "research", '{"topic": "x"}')), says("done")])

    hidden, shown = Recorder(), Recorder(nested="show")
    for recorder in (hidden, shown):
        await create_agent(model(), [research]).ainvoke(USER, config=recorder.config)

    assert texts(hidden) == ["done"]
    assert texts(shown) == ["inside", "done"]


async def test_a_node_may_call_tools_without_a_model() -> None:
    said = AIMessage(
        "Looking.", tool_calls=[{"id": "c1", "name": "weather", "args": {"city": "Bern"}}]
    )
    recorder = Recorder()

    await (
        graph_of(lambda state: {"messages": [said, ToolMessage("sunny", tool_call_id="c1")]})
        .compile()
        .ainvoke(USER, config=recorder.config)
    )

    [call] = of_type(recorder, "dynamic-tool")
    assert (call["state"], call["output"]) == ("output-available", "sunny")
    assert texts(recorder) == ["Looking."]


async def test_tasks_and_entrypoints_answer_like_nodes() -> None:
    @task
    async def guard(question: str) -> AIMessage:
        return AIMessage("No.")

    @entrypoint()
    async def flow(question: str) -> AIMessage:
        return await guard(question)

    recorder = Recorder()

    await flow.ainvoke("hi", config=recorder.config)

    assert texts(recorder) == ["No."]


async def test_the_answer_of_a_cached_node_is_shown() -> None:
    graph = graph_of(
        lambda state: {"messages": [AIMessage("once", id="a1")]},
        cache_policy=CachePolicy(key_func=lambda state: "key"),
    ).compile(cache=NodeCache())
    first, second = Recorder(), Recorder()

    await graph.ainvoke({"messages": [HumanMessage("hi")]}, config=first.config)
    await graph.ainvoke({"messages": [HumanMessage("hi")]}, config=second.config)

    assert texts(first) == texts(second) == ["once"]


async def test_the_answer_of_a_cached_model_is_shown_once() -> None:
    model = SilentModel(scripts=[says("cached")], cache=InMemoryCache())
    agent = create_agent(model, [])
    first, second = Recorder(), Recorder()

    for recorder in (first, second):
        await agent.ainvoke(USER, config=recorder.config)

    assert texts(first) == texts(second) == ["cached"]


@pytest.mark.parametrize("blocked", [True, False])
async def test_a_chain_may_answer_without_its_model(blocked: bool) -> None:
    chain: Runnable[Any, Any] = RunnableBranch(
        (lambda question: blocked, RunnableLambda(lambda question: AIMessage("No."))),
        ScriptedModel(scripts=[says("Yes.")]) | RunnableLambda(lambda m: AIMessage(m.content)),
    )
    recorder = Recorder()

    await chain.ainvoke("hi", config=recorder.config)

    assert texts(recorder) == (["No."] if blocked else ["Yes."])


async def test_a_text_of_a_node_follows_the_text_of_another_model() -> None:
    model = ScriptedModel(scripts=[says("model")])
    recorder = Recorder()

    async def ask(state: MessagesState) -> Any:
        return {"messages": [await model.ainvoke(state["messages"])]}

    graph = graph_of(ask)
    graph.add_node("notice", lambda state: {"messages": [AIMessage("model")]})
    graph.add_edge("answer", "notice")
    graph.add_edge("notice", END)
    await graph.compile().ainvoke(USER, config=recorder.config)

    assert texts(recorder) == ["model", "model"]


@pytest.mark.parametrize("streams", [True, False])
async def test_a_model_that_streams_into_a_node_is_shown_once(streams: bool) -> None:
    model = ScriptedModel(scripts=[says("a", "b")])
    recorder = Recorder(force_streaming=streams)

    async def ask(state: MessagesState) -> Any:
        whole = None
        async for chunk in model.astream(state["messages"]):
            whole = chunk if whole is None else whole + chunk
        return {"messages": [whole]}

    await graph_of(ask).compile().ainvoke(USER, config=recorder.config)

    assert texts(recorder) == ["ab"]
