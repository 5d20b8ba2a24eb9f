"""Row 15: the cost of capture: CPU for each token, and how much a stalled store slows a model."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator
from typing import Any

from langchain_core.callbacks import BaseCallbackHandler
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessageChunk
from langchain_core.outputs import ChatGenerationChunk
from openai.types.chat import ChatCompletionChunk
from openai.types.responses import ResponseTextDeltaEvent

from benchmarks.figures import Row
from monostream_ai import DurableStreamService, Publisher
from monostream_ai.langchain import StreamCallbackHandler
from monostream_ai.openai import capture
from monostream_ai.stores.memory import MemoryStore
from monostream_ai.ui_messages import UIMessageProtocol

TOKEN = "token "
Record = Callable[[Any, Iterable[Any]], Awaitable[None]]
"""Says tokens or events to a publisher, or to nobody where it is None."""

TOKENS = 5000
SECONDS, STALL = 3.0, 2.0
"""How long a rate is measured, and how long the stalled store takes nothing."""

CHAT = {"id": "c", "created": 0, "model": "m", "object": "chat.completion.chunk"}
DELTA = {"type": "response.output_text.delta", "item_id": "i", "logprobs": [], "delta": TOKEN}
DELTA |= {"output_index": 0, "content_index": 0, "sequence_number": 0}


class StallingStore(MemoryStore):
    """Takes appends from a point in time on."""

    opens_at = 0.0

    async def append(self, *arguments: Any, **options: Any) -> Any:
        await asyncio.sleep(max(0.0, self.opens_at - time.monotonic()))
        return await super().append(*arguments, **options)


class FastModel(BaseChatModel):
    """Says the tokens without waiting for anything but the event loop."""

    tokens: Any

    @property
    def _llm_type(self) -> str:
        return "fast"

    def _generate(self, *arguments: Any, **kwargs: Any) -> Any:
        raise RuntimeError("it only streams")

    async def _astream(self, *arguments: Any, **kwargs: Any) -> AsyncIterator[ChatGenerationChunk]:
        async for token in one_by_one(self.tokens):
            yield ChatGenerationChunk(message=AIMessageChunk(token))


class Nothing(BaseCallbackHandler):
    """Does nothing for each token, as the cost to compare with."""

    run_inline = True

    def tap_output_aiter(self, run_id: object, output: Any) -> Any:
        return output

    tap_output_iter = tap_output_aiter


class Sink(Publisher[Any]):
    """Takes chunks and does nothing with them, where only the mapping is measured."""

    def push(self, *chunks: Any) -> None: ...

    async def flush(self) -> None: ...

    def _check_open(self) -> None: ...

    @property
    def version(self) -> int:
        return 0

    @property
    def next_id(self) -> int:
        return 0

    @property
    def closed(self) -> bool:
        return False


def sink() -> Any:
    service = DurableStreamService(MemoryStore(), None, UIMessageProtocol())
    pub: Any = service.publisher("s", message_id="m")
    pub.__class__ = Sink
    return pub


def chat_events(tokens: Iterable[str]) -> Iterator[Any]:
    for token in tokens:
        yield {"choices": [{"index": 0, "delta": {"content": token}}]}
    yield {"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]}


async def one_by_one(values: Iterable[Any]) -> AsyncIterator[Any]:
    for value in values:
        await asyncio.sleep(0)
        yield value


async def say(pub: Any, tokens: Iterable[str]) -> None:
    handler = Nothing() if pub is None else StreamCallbackHandler(pub)
    await FastModel(tokens=tokens).ainvoke("Hi", {"callbacks": [handler]})


async def listen(pub: Any, events: Iterable[Any]) -> None:
    values = one_by_one(events)
    async for _ in values if pub is None else capture(values, pub):
        pass


async def say_chat(pub: Any, tokens: Iterable[str]) -> None:
    await listen(pub, chat_events(tokens))


async def published(record: Record, said: Iterable[Any], store: MemoryStore) -> None:
    service = DurableStreamService(store, None, UIMessageProtocol())
    async with service, service.publisher("s") as pub:
        await record(pub, said)


async def costs(count: int) -> dict[str, float]:
    """Return the microseconds of CPU, of all threads, that each way adds to each token."""
    tokens, done = [TOKEN] * count, {"type": "response.completed", "response": {"id": "r"}}
    chat = [ChatCompletionChunk.model_validate(CHAT | event) for event in chat_events(tokens)]
    responses = [*(ResponseTextDeltaEvent.model_validate(DELTA) for _ in tokens), done]

    async def cost(work: Awaitable[None], bare: float = 0.0) -> float:
        before = time.process_time()
        await work
        return (time.process_time() - before) / count * 1e6 - bare

    model, loop = await cost(say(None, tokens)), await cost(listen(None, chat))
    return {
        "LangChain: mapping": await cost(say(sink(), tokens), model),
        "OpenAI chat: mapping": await cost(listen(sink(), chat), loop),
        "OpenAI responses: mapping": await cost(listen(sink(), responses), loop),
        "LangChain: to memory://": await cost(published(say, tokens, MemoryStore()), model),
        "OpenAI chat: to memory://": await cost(published(listen, chat, MemoryStore()), loop),
    }


async def rate(record: Record, seconds: float, stall: float) -> float:
    """Return the tokens/s of a model that never waits by itself while it is recorded."""
    said, store = 0, StallingStore()
    store.opens_at = time.monotonic() + stall

    def tokens() -> Iterator[str]:
        # The model stops then; the wait for the store that follows does not count.
        nonlocal said
        ends_at = time.monotonic() + seconds
        while time.monotonic() < ends_at:
            said += 1
            yield TOKEN

    await published(record, tokens(), store)
    return said / seconds


async def cost_of_capture(row: Row) -> None:
    count, seconds, stall = row.count(TOKENS), row.seconds(SECONDS), row.seconds(STALL)
    # The first of these loads code.
    await costs(count // 5)
    for name, value in (await costs(count)).items():
        row.add(f"{name}, CPU per token", value, "µs", "<= 25" if "mapping" in name else "")
    for way, record in (("LangChain", say), ("OpenAI", say_chat)):
        # In any order, so that neither is always the first.
        stalls = random.sample((0.0, stall), 2)
        rates = {each: await rate(record, seconds, each) for each in stalls}
        title = f"{way}: rate with a store stalled for {STALL:g} s of {SECONDS:g} s"
        row.add(title, rates[stall] / rates[0.0], "×", ">= 0.9")
