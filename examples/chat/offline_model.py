"""A chat model that needs no network: it thinks, calls a tool and answers at a realistic pace.

Its answer depends only on the conversation. If that ends with the beginning of an answer, the model
goes on with it, as those do that continue a last message of the assistant.
"""

from __future__ import annotations

import asyncio
import base64
import json
import re
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from typing import Any

from langchain_core.callbacks import AsyncCallbackManagerForLLMRun, CallbackManagerForLLMRun
from langchain_core.language_models import BaseChatModel, LanguageModelInput
from langchain_core.messages import (
    AIMessage,
    AIMessageChunk,
    BaseMessage,
    HumanMessage,
    ToolMessage,
)
from langchain_core.messages.ai import UsageMetadata
from langchain_core.messages.tool import tool_call_chunk
from langchain_core.outputs import ChatGeneration, ChatGenerationChunk, ChatResult
from langchain_core.runnables import Runnable
from langchain_core.tools import BaseTool

from offline_answers import TEXTS, Answer, answer_to

TOKEN = re.compile(r"\s*\S{1,6}|\s+")


class OfflineChatModel(BaseChatModel):
    """A scripted model that streams one token at a time.

    Args:
        tokens_per_second: Pace of the stream; 0 streams as fast as it can.
    """

    tokens_per_second: float = 40.0

    @property
    def _llm_type(self) -> str:
        return "offline"

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
        for message in script(messages):
            if self.tokens_per_second:
                await asyncio.sleep(1 / self.tokens_per_second)
            yield ChatGenerationChunk(message=message)

    def _generate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        whole, *rest = script(messages)
        for message in rest:
            whole = whole + message
        return ChatResult(generations=[ChatGeneration(message=whole)])


def script(messages: Sequence[BaseMessage]) -> Iterator[AIMessageChunk]:
    """Yield the next model message of the conversation, or the rest of its last one, in pieces."""
    questions = [
        index for index, message in enumerate(messages) if isinstance(message, HumanMessage)
    ]
    latest = questions[-1] if questions else 0
    answer = answer_to(messages[latest].text if messages else "")
    results = [message for message in messages[latest:] if isinstance(message, ToolMessage)]
    begun = messages[-1].text if messages and isinstance(messages[-1], AIMessage) else ""
    if answer.tool and not results:
        yield from _call(answer, begun, call_id=f"call_{len(messages)}")
        return
    if results and results[-1].status == "error":
        answer = Answer("declined")
        results.clear()
    text = answer.text(json.loads(results[-1].text) if results else {}).removeprefix(begun)
    if answer.picture and not begun:
        yield AIMessageChunk(content=[picture(answer.picture)])
    yield from (AIMessageChunk(content=token) for token in TOKEN.findall(text))
    if answer.fails:
        raise RuntimeError("the offline model was asked to fail")
    yield _last("stop", len(TOKEN.findall(text)))


def picture(name: str) -> dict[str, Any]:
    data = base64.b64encode((TEXTS / name).read_bytes()).decode()
    return {"type": "image", "mime_type": "image/svg+xml", "base64": data}


def _call(answer: Answer, begun: str, call_id: str) -> Iterator[AIMessageChunk]:
    for token in TOKEN.findall("" if begun else answer.thought):
        yield AIMessageChunk(content="", additional_kwargs={"reasoning_content": token})
    for token in TOKEN.findall(answer.opening.removeprefix(begun)):
        yield AIMessageChunk(content=token)
    yield _tool_call_piece(answer.tool, "", call_id)
    for token in TOKEN.findall(json.dumps(answer.arguments)):
        yield _tool_call_piece(None, token, None)
    yield _last("tool_calls", len(TOKEN.findall(answer.thought + answer.opening)))


def _tool_call_piece(name: str | None, arguments: str, call_id: str | None) -> AIMessageChunk:
    return AIMessageChunk(
        content="",
        tool_call_chunks=[tool_call_chunk(name=name, args=arguments, id=call_id, index=0)],
    )


def _last(reason: str, tokens: int) -> AIMessageChunk:
    usage = UsageMetadata(input_tokens=0, output_tokens=tokens, total_tokens=tokens)
    return AIMessageChunk(
        content="",
        response_metadata={"finish_reason": reason},
        usage_metadata=usage,
        chunk_position="last",
    )
