"""The cost of capture: CPU for each token, and how much a stalled store slows the model down.

python benchmarks/capture.py [--rounds 7] [--tokens 5000] [--seconds 3] [--json
benchmarks/capture.json]
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

from langchain_core.callbacks import BaseCallbackHandler
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessageChunk
from langchain_core.outputs import ChatGenerationChunk
from openai.types.chat import ChatCompletionChunk
from openai.types.responses import ResponseTextDeltaEvent

from benchmarks.figures import Figure, report, table
from monostream_ai import DurableStreamService
from monostream_ai.errors import MonostreamError
from monostream_ai.langchain import StreamCallbackHandler
from monostream_ai.openai import capture
from monostream_ai.stores.memory import MemoryStore
from monostream_ai.types import Append
from monostream_ai.ui_messages import UIMessageProtocol

TOKEN = "token "
STALL = 2.0
"""Seconds for which the stalled store takes nothing."""


class StallingStore(MemoryStore):
    """Takes appends from a point in time on."""

    def __init__(self, stall: float) -> None:
        super().__init__()
        self._opens_at = time.monotonic() + stall

    async def append(
        self, appends: Sequence[Append], *, lease: float
    ) -> list[MonostreamError | None]:
        await asyncio.sleep(max(0.0, self._opens_at - time.monotonic()))
        return await super().append(appends, lease=lease)


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


class Sink:
    """Stands for a publisher where only the mapping is measured."""

    message_id, stream_id, version, next_id, closed = "m", "s", 0, 0, False

    def __init__(self) -> None:
        self._adapter_state: dict[type[Any], Any] = {}

    def push(self, *chunks: Any) -> None: ...

    async def flush(self) -> None: ...


def chat_events(tokens: Iterator[str]) -> Iterator[Any]:
    for token in tokens:
        yield {"choices": [{"index": 0, "delta": {"content": token}}]}
    yield {"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]}


def parsed_chat_events(count: int) -> list[Any]:
    fields = {"id": "c", "created": 0, "model": "m", "object": "chat.completion.chunk"}
    events = chat_events(iter([TOKEN] * count))
    return [ChatCompletionChunk.model_validate({**fields, **event}) for event in events]


def parsed_response_events(count: int) -> list[Any]:
    fields = {"type": "response.output_text.delta", "item_id": "i", "logprobs": []}
    fields |= {"output_index": 0, "content_index": 0, "delta": TOKEN}
    deltas = ({**fields, "sequence_number": number} for number in range(count))
    events: list[Any] = [ResponseTextDeltaEvent.model_validate(delta) for delta in deltas]
    return [*events, {"type": "response.completed", "response": {"id": "r"}}]


async def one_by_one(values: Any) -> AsyncIterator[Any]:
    for value in values:
        await asyncio.sleep(0)
        yield value


async def say(handler: BaseCallbackHandler, tokens: Any) -> None:
    await FastModel(tokens=tokens).ainvoke("Hi", {"callbacks": [handler]})


async def listen(events: AsyncIterator[Any]) -> None:
    async for _ in events:
        pass


async def cpu_of(work: Awaitable[None]) -> float:
    """Return the seconds of CPU, of all threads, that this takes."""
    before = time.process_time()
    await work
    return time.process_time() - before


async def published(
    record: Callable[[Any], Awaitable[None]], store: MemoryStore | None = None
) -> None:
    service = DurableStreamService(store or MemoryStore(), None, UIMessageProtocol())
    async with service, service.publisher("s") as pub:
        await record(pub)


async def costs(count: int) -> dict[str, float]:
    """Return the microseconds of CPU for each token that each way of capture adds."""
    chat, responses, tokens = (
        parsed_chat_events(count),
        parsed_response_events(count),
        [TOKEN] * count,
    )
    sink: Any = Sink()
    model = await cpu_of(say(Nothing(), tokens))
    loop = await cpu_of(listen(one_by_one(chat)))
    ways = {
        "LangChain: mapping": (say(StreamCallbackHandler(sink), tokens), model),
        "OpenAI chat: mapping": (listen(capture(one_by_one(chat), sink)), loop),
        "OpenAI responses: mapping": (listen(capture(one_by_one(responses), sink)), loop),
        "LangChain: to memory://": (
            published(lambda pub: say(StreamCallbackHandler(pub), tokens)),
            model,
        ),
        "OpenAI chat: to memory://": (
            published(lambda pub: listen(capture(one_by_one(chat), pub))),
            loop,
        ),
    }
    return {name: (await cpu_of(work) - bare) / count * 1e6 for name, (work, bare) in ways.items()}


async def by_handler(pub: Any, tokens: Iterator[str]) -> None:
    await say(StreamCallbackHandler(pub), tokens)


async def by_capture(pub: Any, tokens: Iterator[str]) -> None:
    await listen(capture(one_by_one(chat_events(tokens)), pub))


async def rate(
    record: Callable[[Any, Iterator[str]], Awaitable[None]], seconds: float, stall: float
) -> float:
    """Return the tokens/s of a model that never waits by itself while it is recorded."""
    said = 0

    def tokens() -> Iterator[str]:
        # The model stops then; the wait for the store that follows does not count.
        nonlocal said
        ends_at = time.monotonic() + seconds
        while time.monotonic() < ends_at:
            said += 1
            yield TOKEN

    await published(lambda pub: record(pub, tokens()), StallingStore(stall))
    return said / seconds


async def measure(rounds: int, count: int, seconds: float) -> list[Figure]:
    """Measure everything once per round, so that a busy moment disturbs all alike."""
    figures: dict[str, Figure] = {}

    def add(name: str, value: float, unit: str, target: str) -> None:
        figures.setdefault(name, Figure(0, name, unit, [], target)).values.append(value)

    # The first round loads code.
    await costs(count // 5)
    for number in range(rounds):
        for name, value in (await costs(count)).items():
            target = "<= 25" if "mapping" in name else ""
            add(f"{name}, CPU per token", value, "µs", target)
        for name, record in (("LangChain", by_handler), ("OpenAI", by_capture)):
            # In turns, so that neither is always the first.
            stalls = (0.0, STALL) if number % 2 else (STALL, 0.0)
            rates = {stall: await rate(record, seconds, stall) for stall in stalls}
            title = f"{name}: rate with a store stalled for {STALL:g} s of {seconds:g} s"
            add(title, rates[STALL] / rates[0.0], "×", ">= 0.9")
    return [*figures.values()]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--tokens", type=int, default=5000, help="of each measurement of CPU time")
    parser.add_argument("--seconds", type=float, default=3.0, help="of each measurement of a rate")
    parser.add_argument("--json", type=Path, default=Path(__file__).with_suffix(".json"))
    options = parser.parse_args()
    figures = asyncio.run(measure(options.rounds, options.tokens, options.seconds))
    print(table(figures))
    stored = report(figures, ("langchain-core", "openai"))
    options.json.write_text(json.dumps(stored, indent=2, ensure_ascii=False) + "\n")


if __name__ == "__main__":
    main()
