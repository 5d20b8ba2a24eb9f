"""One model run, fed to the mapper by hand."""

from __future__ import annotations

from typing import Any
from uuid import uuid4

from langchain_core.messages import AIMessage, AIMessageChunk
from langchain_core.messages.tool import tool_call_chunk
from langchain_core.outputs import ChatGeneration, ChatGenerationChunk, LLMResult

from monostream_ai.langchain.agent_message import AgentMessage
from monostream_ai.langchain.mapper import LangChainMapper
from monostream_ai.langchain.runs import Runs
from monostream_ai.ui_messages import Chunk, UIMessageProtocol
from tests.langchain.recording import check_message, outline


def new_mapper() -> LangChainMapper:
    return LangChainMapper(AgentMessage(message_id="m1"), Runs())


def said(*messages: AIMessageChunk, last: AIMessage | None = None) -> list[str]:
    """Return what one model run adds between its `start-step` and its end."""
    mapper, run_id = new_mapper(), uuid4()
    chunks = mapper.model_start(run_id, None, None, None)
    for message in messages:
        chunks += mapper.token(run_id, message.text, ChatGenerationChunk(message=message))
    chunks += mapper.model_end(
        run_id, LLMResult(generations=[[ChatGeneration(message=last or _sum(messages))]])
    )
    ended = [*chunks, *_ending(chunks)]
    check_message(ended)
    return outline(ended)[2:-2]


def _sum(messages: tuple[AIMessageChunk, ...]) -> AIMessage:
    whole: Any = messages[0]
    for message in messages[1:]:
        whole = whole + message
    assert isinstance(whole, AIMessage)
    return whole


def _ending(chunks: list[Chunk]) -> list[Chunk]:
    transcript = UIMessageProtocol().transcript()
    for chunk in chunks:
        transcript.feed(chunk)
    return list(transcript.ending("finish"))


def block(kind: str, text: str, index: int | str | None = None) -> AIMessageChunk:
    content: dict[str, Any] = {"type": kind, kind: text}
    return AIMessageChunk([content if index is None else {**content, "index": index}])


def call(index: int | None, call_id: str | None, name: str | None, args: str) -> AIMessageChunk:
    return AIMessageChunk(
        "", tool_call_chunks=[tool_call_chunk(index=index, id=call_id, name=name, args=args)]
    )
