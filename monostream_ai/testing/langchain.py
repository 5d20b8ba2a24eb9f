"""A scripted chat model of LangChain, for tests of applications."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable, Sequence
from functools import reduce
from operator import add
from typing import Any

from monostream_ai._extras import needs

with needs("langchain-core", "langchain", by=__name__):
    from langchain_core.callbacks import AsyncCallbackManagerForLLMRun, CallbackManagerForLLMRun
    from langchain_core.language_models import BaseChatModel, LanguageModelInput
    from langchain_core.messages import AIMessage, AIMessageChunk, BaseMessage
    from langchain_core.messages.tool import tool_call_chunk
    from langchain_core.outputs import ChatGeneration, ChatGenerationChunk, ChatResult
    from langchain_core.runnables import Runnable
    from langchain_core.tools import BaseTool

from monostream_ai.testing.script import Script, ScriptedAnswer, Thought, ToolCall


class ScriptedChatModel(BaseChatModel):
    """A chat model that gives the answers of a script, one for each call, and streams them.

        gate = Gate()
        model = ScriptedChatModel([ToolCall("clock")], ["It is ", gate, "noon"])

    Call it with `ainvoke` or `astream`. The results of its tool calls come from the tools.
    """

    _script: Script
    _asked: list[list[BaseMessage]]

    def __init__(self, *answers: ScriptedAnswer) -> None:
        super().__init__()
        self._script = Script(answers)
        self._asked = []

    @property
    def asked(self) -> list[list[BaseMessage]]:
        """The conversations that it was called with."""
        return self._asked

    @property
    def _llm_type(self) -> str:
        return "scripted"

    def bind_tools(
        self, tools: Sequence[dict[str, Any] | type | Callable[..., Any] | BaseTool], **kwargs: Any
    ) -> Runnable[LanguageModelInput, AIMessage]:
        return self

    async def _astream(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: AsyncCallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> AsyncIterator[ChatGenerationChunk]:
        self._asked.append([*messages])
        calls = 0
        async for piece in self._script.next():
            yield ChatGenerationChunk(message=_message(piece, calls))
            calls += isinstance(piece, ToolCall)
        reason = "tool_calls" if calls else "stop"
        yield ChatGenerationChunk(
            message=AIMessageChunk(
                content="", response_metadata={"finish_reason": reason}, chunk_position="last"
            )
        )

    async def _agenerate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: AsyncCallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        pieces = [chunk.message async for chunk in self._astream(messages)]
        return ChatResult(generations=[ChatGeneration(message=reduce(add, pieces))])

    def _generate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        raise RuntimeError("a scripted model waits at gates: call ainvoke or astream")


def _message(piece: str | Thought | ToolCall, place: int) -> AIMessageChunk:
    if isinstance(piece, str):
        return AIMessageChunk(content=piece)
    if isinstance(piece, Thought):
        return AIMessageChunk(content="", additional_kwargs={"reasoning_content": piece.text})
    call = tool_call_chunk(
        name=piece.name, args=json.dumps(piece.arguments), id=piece.call_id, index=place
    )
    return AIMessageChunk(content="", tool_call_chunks=[call])
