"""Row 15: the cost of capture: CPU for each token, and how much a stalled store slows a model."""

from __future__ import annotations

import asyncio
import math
import random
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator, Sequence
from copy import deepcopy
from functools import partial
from typing import Any, NamedTuple
from uuid import uuid4

from agents.stream_events import RawResponsesStreamEvent
from anthropic.types import RawContentBlockDeltaEvent
from google.genai.types import GenerateContentResponse
from langchain_core.callbacks import BaseCallbackHandler
from langchain_core.messages import AIMessage, AIMessageChunk
from langchain_core.outputs import ChatGeneration, ChatGenerationChunk, LLMResult
from openai.types.chat import ChatCompletionChunk
from openai.types.responses import ResponseTextDeltaEvent
from pydantic_ai.ui.vercel_ai.response_types import TextDeltaChunk

from benchmarks.figures import Row
from monostream_ai import (
    DurableStreamService,
    anthropic,
    google_genai,
    openai,
    openai_agents,
    pydantic_ai,
)
from monostream_ai.langchain import StreamCallbackHandler, record_graph
from monostream_ai.stores.memory import MemoryStore
from monostream_ai.ui_messages import UIMessageProtocol

TOKEN = "token "
Record = Callable[[Any, Iterable[Any]], Awaitable[None]]
"""Says events to a publisher, or to nobody where it is None."""

TOKENS, REPEATS = 5000, 3
"""Of each cost: how many tokens, and how often it is measured for the least value."""

SECONDS, STALL = 3.0, 2.0
"""How long a rate is measured, and how long the stalled store takes nothing."""


class Stream(NamedTuple):
    """Events of an SDK, by its own types: one for each token, and those before and after them."""

    record: Record
    token: Any
    last: Sequence[Any] = ()
    first: Sequence[Any] = ()

    def events(self, count: int) -> list[Any]:
        return [*self.first, *(deepcopy(self.token) for _ in range(count)), *self.last]


class StallingStore(MemoryStore):
    """Takes appends from a point in time on."""

    opens_at = 0.0

    async def append(self, *arguments: Any, **options: Any) -> Any:
        await asyncio.sleep(max(0.0, self.opens_at - time.monotonic()))
        return await super().append(*arguments, **options)


async def one_by_one(values: Iterable[Any]) -> AsyncIterator[Any]:
    for value in values:
        await asyncio.sleep(0)
        yield value


async def call_back(pub: Any, chunks: Iterable[ChatGenerationChunk]) -> None:
    """Call a handler as LangChain does; one that does nothing where there is no publisher."""
    handler = BaseCallbackHandler() if pub is None else StreamCallbackHandler(pub)
    run_id, texts = uuid4(), list[str]()
    handler.on_llm_start({}, ["Hi"], run_id=run_id)
    async for chunk in one_by_one(chunks):
        handler.on_llm_new_token(chunk.text, chunk=chunk, run_id=run_id)
        texts.append(chunk.text)
    whole = ChatGeneration(message=AIMessage(content="".join(texts)))
    handler.on_llm_end(LLMResult(generations=[[whole]]), run_id=run_id)


async def listen(capture: Callable[[Any, Any], Any], pub: Any, events: Iterable[Any]) -> None:
    values = one_by_one(events)
    async for _ in values if pub is None else capture(values, pub):
        pass


def streams() -> dict[str, Stream]:
    def chat(**choice: Any) -> Any:
        fields = {"id": "c", "created": 0, "model": "m", "object": "chat.completion.chunk"}
        return ChatCompletionChunk.model_validate({**fields, "choices": [{"index": 0, **choice}]})

    def arguments(text: str, **call: Any) -> Any:
        piece = {"index": 0, "function": {"arguments": text}, **call}
        return chat(delta={"tool_calls": [piece]})

    place = {"item_id": "i", "output_index": 0, "content_index": 0, "sequence_number": 0}
    said = {"type": "response.output_text.delta", "logprobs": [], "delta": TOKEN, **place}
    response = ResponseTextDeltaEvent.model_validate(said)
    completed = {"type": "response.completed", "response": {"id": "r"}}
    block = {"type": "content_block_delta", "index": 0}
    usage = {"prompt_token_count": 9, "candidates_token_count": 9, "total_token_count": 18}
    part = {"content": {"role": "model", "parts": [{"text": TOKEN}]}}
    answer = {"response_id": "r", "usage_metadata": usage, "candidates": [part]}
    of_openai = partial(listen, openai.capture)
    return {
        "LangChain": Stream(call_back, ChatGenerationChunk(message=AIMessageChunk(content=TOKEN))),
        "LangGraph": Stream(
            partial(listen, record_graph), ("messages", (AIMessageChunk(content=TOKEN, id="m"), {}))
        ),
        "OpenAI chat": Stream(
            of_openai, chat(delta={"content": TOKEN}), [chat(delta={}, finish_reason="stop")]
        ),
        "OpenAI chat, arguments": Stream(
            of_openai,
            arguments("1, "),
            [arguments("1]"), chat(delta={}, finish_reason="tool_calls")],
            [arguments("", id="c", function={"name": "f", "arguments": "["})],
        ),
        "OpenAI responses": Stream(of_openai, response, [completed]),
        "OpenAI Agents": Stream(
            partial(listen, openai_agents.capture),
            RawResponsesStreamEvent(response),
            [{"type": "raw_response_event", "data": completed}],
        ),
        "Anthropic": Stream(
            partial(listen, anthropic.capture),
            RawContentBlockDeltaEvent.model_validate(
                {**block, "delta": {"type": "text_delta", "text": TOKEN}}
            ),
            [{"type": "message_delta", "delta": {"stop_reason": "end_turn"}}],
            [
                {"type": "message_start", "message": {"id": "m"}},
                {"type": "content_block_start", "index": 0, "content_block": {"type": "text"}},
            ],
        ),
        "Google Gen AI": Stream(
            partial(listen, google_genai.capture),
            GenerateContentResponse.model_validate(answer),
            [GenerateContentResponse.model_validate({"candidates": [{"finish_reason": "STOP"}]})],
        ),
        "Pydantic AI": Stream(
            partial(listen, pydantic_ai.capture),
            TextDeltaChunk(id="t", delta=TOKEN),
            [{"type": "text-end", "id": "t"}, {"type": "finish"}],
            [{"type": "text-start", "id": "t"}],
        ),
    }


async def published(
    record: Record, said: Iterable[Any], store: MemoryStore, *, push: Any = None
) -> None:
    """Record to a publisher; one with another `push` keeps nothing."""
    service = DurableStreamService(store, None, UIMessageProtocol())
    async with service, service.publisher("s", message_id="m") as pub:
        pub.push = push or pub.push  # type: ignore[method-assign]
        await record(pub, said)


async def costs(stream: Stream, count: int) -> dict[str, float]:
    """Return the microseconds of CPU, of all threads, that a capture adds to each token."""
    ways: dict[str, Callable[[list[Any]], Awaitable[None]]] = {
        "nobody": lambda events: stream.record(None, events),
        "mapping": lambda events: published(
            stream.record, events, MemoryStore(), push=lambda *chunks: None
        ),
        "to memory://": lambda events: published(stream.record, events, MemoryStore()),
    }
    least = dict.fromkeys(ways, math.inf)
    for _ in range(REPEATS):
        for way, run in ways.items():
            events, before = stream.events(count), time.process_time()
            await run(events)
            least[way] = min(least[way], (time.process_time() - before) / count * 1e6)
    bare = least.pop("nobody")
    return {way: value - bare for way, value in least.items()}


async def rate(stream: Stream, seconds: float, stall: float) -> float:
    """Return the tokens/s of a model that never waits by itself while it is recorded."""
    said, store = 0, StallingStore()
    store.opens_at = time.monotonic() + stall

    def events() -> Iterator[Any]:
        # The model stops then; the wait for the store that follows does not count.
        nonlocal said
        ends_at = time.monotonic() + seconds
        yield from stream.first
        while time.monotonic() < ends_at:
            said += 1
            yield stream.token
        yield from stream.last

    await published(stream.record, events(), store)
    return said / seconds


async def cost_of_capture(row: Row) -> None:
    count, seconds, stall = row.count(TOKENS), row.seconds(SECONDS), row.seconds(STALL)
    every = streams()
    for name, stream in every.items():
        # The first of these loads code.
        await costs(stream, count // 5)
        for way, value in (await costs(stream, count)).items():
            row.add(f"{name}: {way}, CPU per token", value, "µs", "<= 25" * (way == "mapping"))
    for name in ("LangChain", "OpenAI chat"):
        # In any order, so that neither is always the first.
        stalls = random.sample((0.0, stall), 2)
        rates = {each: await rate(every[name], seconds, each) for each in stalls}
        title = f"{name}: rate with a store stalled for {STALL:g} s of {SECONDS:g} s"
        row.add(title, rates[stall] / rates[0.0], "×", ">= 0.9")
