"""Chat models that follow a script, and an agent around them.

Every callback is LangChain's own; no request is sent.
"""

from __future__ import annotations

import asyncio
import operator
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from typing import Annotated, Any, TypeAlias, TypedDict

from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, AIMessageChunk, BaseMessage, HumanMessage
from langchain_core.messages.tool import tool_call_chunk
from langchain_core.outputs import ChatGeneration, ChatGenerationChunk, ChatResult
from langchain_core.runnables import RunnableLambda
from langchain_core.tools import BaseTool, tool
from langgraph.graph import END, START, StateGraph
from langgraph.graph.state import CompiledStateGraph
from langgraph.prebuilt import ToolNode
from langgraph.types import Send
from pydantic import PrivateAttr

Step: TypeAlias = AIMessageChunk | BaseException | float
"""A message chunk to say, an error to raise, or seconds to wait."""

USER = {"messages": [HumanMessage("hi")]}


class SilentModel(BaseChatModel):
    """Answers in one piece. Each call follows the next script; the last script is repeated."""

    scripts: list[list[Any]]
    _calls: int = PrivateAttr(default=0)

    @property
    def _llm_type(self) -> str:
        return "scripted"

    def bind_tools(self, tools: Any, **kwargs: Any) -> Any:
        return self.bind(**kwargs)

    def _next_script(self) -> list[Step]:
        script = self.scripts[min(self._calls, len(self.scripts) - 1)]
        self._calls += 1
        return script

    def _generate(
        self, messages: Any, stop: Any = None, run_manager: Any = None, **kwargs: Any
    ) -> ChatResult:
        said: list[Any] = [
            _said(step).message for step in self._next_script() if not isinstance(step, float)
        ]
        whole = sum(said[1:], start=said[0])
        message = AIMessage(
            **whole.model_dump(exclude={"type", "chunk_position", "tool_call_chunks"})
        )
        return ChatResult(generations=[ChatGeneration(message=message)])


class ScriptedModel(SilentModel):
    """Answers piece by piece."""

    def _stream(
        self, messages: Any, stop: Any = None, run_manager: Any = None, **kwargs: Any
    ) -> Iterator[ChatGenerationChunk]:
        for step in self._next_script():
            if isinstance(step, float):
                time.sleep(step)
            else:
                yield _said(step)

    async def _astream(
        self, messages: Any, stop: Any = None, run_manager: Any = None, **kwargs: Any
    ) -> AsyncIterator[ChatGenerationChunk]:
        for step in self._next_script():
            if isinstance(step, float):
                await asyncio.sleep(step)
            else:
                yield _said(step)


class TalkativeModel(ScriptedModel):
    """Reports its tokens itself whenever LangChain passes it a run manager, like ChatOpenAI."""

    async def _astream(
        self, messages: Any, stop: Any = None, run_manager: Any = None, **kwargs: Any
    ) -> AsyncIterator[ChatGenerationChunk]:
        async for chunk in super()._astream(messages):
            if run_manager is not None:
                await run_manager.on_llm_new_token(chunk.text, chunk=chunk)
            yield chunk


class State(TypedDict):
    messages: Annotated[list[BaseMessage], operator.add]


@tool
async def weather(city: str) -> dict[str, Any]:
    """Tell the weather."""
    return {"city": city, "temp": 21}


@tool
async def clock(zone: str) -> str:
    """Tell the time."""
    return f"12:00 {zone}"


@tool
async def broken() -> str:
    """Fail."""
    raise RuntimeError("secret")


def says(*texts: str, reason: str = "stop", tokens: int = 0) -> list[Step]:
    """Return a script that streams these texts."""
    usage: Any = (
        {"input_tokens": tokens, "output_tokens": tokens, "total_tokens": 2 * tokens}
        if tokens
        else None
    )
    last = AIMessageChunk("", response_metadata={"finish_reason": reason}, usage_metadata=usage)
    return [*(AIMessageChunk(text) for text in texts), last]


def calls(*tools: tuple[str, str, str]) -> list[Step]:
    """Return a script that streams tool calls, each given as (id, name, arguments as JSON text)."""
    script: list[Step] = []
    for index, (call_id, name, arguments) in enumerate(tools):
        start = tool_call_chunk(name=name, args="", id=call_id, index=index)
        more = tool_call_chunk(name=None, args=arguments, id=None, index=index)
        script += [
            AIMessageChunk("", tool_call_chunks=[start]),
            AIMessageChunk("", tool_call_chunks=[more]),
        ]
    return [*script, AIMessageChunk("", response_metadata={"finish_reason": "tool_calls"})]


def agent(
    model: BaseChatModel, tools: Sequence[BaseTool], **node: Any
) -> CompiledStateGraph[Any, Any, Any, Any]:
    """Return a graph like that of `create_agent`: a model node, and a tools node for each call."""

    async def ask(state: State) -> State:
        return {"messages": [await model.ainvoke(state["messages"])]}

    def ask_in_sync(state: State) -> State:
        return {"messages": [model.invoke(state["messages"])]}

    def route(state: State) -> list[Send] | str:
        message = state["messages"][-1]
        assert isinstance(message, AIMessage)
        return [Send("tools", [call]) for call in message.tool_calls] or END

    graph = StateGraph(State)
    graph.add_node("model", RunnableLambda(ask_in_sync, ask))
    graph.add_node("tools", ToolNode(list(tools), **node))
    graph.add_edge(START, "model")
    graph.add_conditional_edges("model", route, ["tools", END])
    graph.add_edge("tools", "model")
    return graph.compile()


def _said(step: Step) -> ChatGenerationChunk:
    if isinstance(step, BaseException):
        raise step
    assert isinstance(step, AIMessageChunk)
    return ChatGenerationChunk(message=step.model_copy(deep=True))
