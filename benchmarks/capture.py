"""What the capture costs: CPU time for each token, and how much a store that stalls slows the model
down.

python benchmarks/capture.py [--rounds 7] [--tokens 5000] [--seconds 3] [--json
benchmarks/capture.json]
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import platform
import statistics
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple

from langchain_core.callbacks import BaseCallbackHandler
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessageChunk
from langchain_core.outputs import ChatGenerationChunk, ChatResult
from openai.types.chat import ChatCompletionChunk
from openai.types.responses import ResponseTextDeltaEvent

from monostream_ai import DurableStreamService
from monostream_ai.errors import MonostreamError
from monostream_ai.langchain import StreamCallbackHandler
from monostream_ai.openai import capture
from monostream_ai.stores.memory import MemoryStore
from monostream_ai.types import Append
from monostream_ai.ui_messages import Chunk, UIMessageProtocol

TOKEN = "token "
STALL = 2.0
"""Seconds for which the stalled store takes nothing."""


class Row(NamedTuple):
    """One line of the table: the values of all rounds, and the target for their median."""

    name: str
    unit: str
    values: list[float]
    target: str


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
    """Says as many tokens as `tokens` yields, without ever waiting for anything but the event loop."""

    tokens: Any

    @property
    def _llm_type(self) -> str:
        return "fast"

    def _generate(
        self, messages: Any, stop: Any = None, run_manager: Any = None, **kwargs: Any
    ) -> ChatResult:
        raise NotImplementedError

    async def _astream(self, *arguments: Any, **kwargs: Any) -> AsyncIterator[ChatGenerationChunk]:
        for token in self.tokens():
            await asyncio.sleep(0)
            yield ChatGenerationChunk(message=AIMessageChunk(token))


class Nothing(BaseCallbackHandler):
    """Is called for each token, as a handler of anybody's is."""

    run_inline = True

    def tap_output_aiter(self, run_id: object, output: Any) -> Any:
        return output

    tap_output_iter = tap_output_aiter


class Sink:
    """Stands for a publisher where only the mapping counts."""

    message_id, stream_id, version, next_id, closed = "m", "s", 0, 0, False

    def __init__(self) -> None:
        self._adapter_state: dict[type[Any], Any] = {}

    def push(self, *chunks: Chunk) -> None:
        pass

    async def flush(self) -> None:
        pass


def chat_events(tokens: Callable[[], Iterator[str]]) -> Iterator[ChatCompletionChunk]:
    fields = {"id": "c", "created": 0, "model": "m", "object": "chat.completion.chunk"}
    for token in tokens():
        yield ChatCompletionChunk.model_validate(
            {**fields, "choices": [{"index": 0, "delta": {"content": token}}]}
        )
    last = {"index": 0, "delta": {}, "finish_reason": "stop"}
    yield ChatCompletionChunk.model_validate({**fields, "choices": [last]})


def response_events(tokens: Callable[[], Iterator[str]]) -> Iterator[Any]:
    fields = {
        "type": "response.output_text.delta",
        "item_id": "i",
        "output_index": 0,
        "content_index": 0,
        "logprobs": [],
    }
    for number, token in enumerate(tokens()):
        yield ResponseTextDeltaEvent.model_validate(
            {**fields, "delta": token, "sequence_number": number}
        )
    yield {"type": "response.completed", "response": {"id": "r"}}


async def one_by_one(events: Sequence[Any]) -> AsyncIterator[Any]:
    for event in events:
        await asyncio.sleep(0)
        yield event


async def say(handler: BaseCallbackHandler, tokens: Callable[[], Iterator[str]]) -> None:
    await FastModel(tokens=tokens).ainvoke("Hi", {"callbacks": [handler]})


async def listen(events: AsyncIterator[Any]) -> None:
    async for _ in events:
        pass


async def cpu_of(work: Awaitable[None]) -> float:
    """Return the seconds of CPU, of all threads, that this takes."""
    before = time.process_time()
    await work
    return time.process_time() - before


async def published(record: Callable[[Any], Awaitable[None]]) -> None:
    async with (
        DurableStreamService(MemoryStore(), None, UIMessageProtocol()) as service,
        service.publisher("s") as pub,
    ):
        await record(pub)


async def costs(count: int) -> dict[str, float]:
    """Return the microseconds of CPU for each token that each way of recording adds to not
    recording.
    """

    def tokens() -> Iterator[str]:
        return iter([TOKEN] * count)

    chat, responses = list(chat_events(tokens)), list(response_events(tokens))
    sink: Any = Sink()
    bare_model, bare_loop = (
        await cpu_of(say(Nothing(), tokens)),
        await cpu_of(listen(one_by_one(chat))),
    )
    total = {
        "LangChain: mapping": await cpu_of(say(StreamCallbackHandler(sink), tokens)) - bare_model,
        "OpenAI chat: mapping": await cpu_of(listen(capture(one_by_one(chat), sink))) - bare_loop,
        "OpenAI responses: mapping": await cpu_of(listen(capture(one_by_one(responses), sink)))
        - bare_loop,
        "LangChain: to memory://": await cpu_of(
            published(lambda pub: say(StreamCallbackHandler(pub), tokens))
        )
        - bare_model,
        "OpenAI chat: to memory://": await cpu_of(
            published(lambda pub: listen(capture(one_by_one(chat), pub)))
        )
        - bare_loop,
    }
    return {name: seconds / count * 1e6 for name, seconds in total.items()}


async def rate(
    record: Callable[[Any, Callable[[], Iterator[str]]], Awaitable[None]],
    seconds: float,
    stall: float,
) -> float:
    """Return the tokens per second that a model which never waits by itself says while it is
    recorded.
    """
    said, ends_at = 0, 0.0

    def tokens() -> Iterator[str]:
        nonlocal said
        while time.monotonic() < ends_at:
            said += 1
            yield TOKEN

    async with DurableStreamService(StallingStore(stall), None, UIMessageProtocol()) as service:
        async with service.publisher("s") as pub:
            began = time.monotonic()
            ends_at = began + seconds
            await record(pub, tokens)
            # The model speaks until then; what follows is the wait for the store.
            return said / seconds


async def by_handler(pub: Any, tokens: Callable[[], Iterator[str]]) -> None:
    await say(StreamCallbackHandler(pub), tokens)


async def by_capture(pub: Any, tokens: Callable[[], Iterator[str]]) -> None:
    async def events() -> AsyncIterator[Any]:
        for token in tokens():
            await asyncio.sleep(0)
            yield {"choices": [{"index": 0, "delta": {"content": token}}]}
        yield {"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]}

    await listen(capture(events(), pub))


async def measure(rounds: int, count: int, seconds: float) -> list[Row]:
    """Measure everything once per round, so that a busy moment of the machine disturbs all of it
    alike.
    """
    await costs(count // 5)  # a first look at everything is slow
    cpu: dict[str, list[float]] = {}
    ratios: dict[str, list[float]] = {"LangChain": [], "OpenAI": []}
    for number in range(rounds):
        for name, value in (await costs(count)).items():
            cpu.setdefault(name, []).append(value)
        for name, record in (("LangChain", by_handler), ("OpenAI", by_capture)):
            # Alternating, so that neither is always the first.
            stalls = (0.0, STALL) if number % 2 else (STALL, 0.0)
            rates = {stall: await rate(record, seconds, stall) for stall in stalls}
            ratios[name].append(rates[STALL] / rates[0.0])
    rows = [
        Row(f"{name}, CPU per token", "µs", values, "<= 25" if "mapping" in name else "")
        for name, values in cpu.items()
    ]
    title = f"rate with a store stalled for {STALL:g} s of {seconds:g} s"
    return [
        *rows,
        *(Row(f"{name}: {title}", "×", values, ">= 0.9") for name, values in ratios.items()),
    ]


def table(rows: list[Row]) -> str:
    width = max(len(row.name) for row in rows)
    lines = [f"{'':{width}}   median      min      max      target"]
    for row in rows:
        numbers = (statistics.median(row.values), min(row.values), max(row.values))
        lines.append(
            f"{row.name:{width}} "
            + " ".join(f"{number:8.2f}" for number in numbers)
            + f" {row.unit:2} {row.target:>7}"
        )
    return "\n".join(lines)


def report(rows: list[Row]) -> dict[str, Any]:
    packages = ("langchain-core", "openai")
    machine = {
        "python": platform.python_version(),
        "processors": os.cpu_count(),
        **{name: version(name) for name in packages},
    }
    measured = [{**row._asdict(), "median": statistics.median(row.values)} for row in rows]
    return {"machine": machine, "rows": measured}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--tokens", type=int, default=5000, help="of each measurement of CPU time")
    parser.add_argument("--seconds", type=float, default=3.0, help="of each measurement of a rate")
    parser.add_argument("--json", type=Path, default=Path(__file__).with_suffix(".json"))
    options = parser.parse_args()
    rows = asyncio.run(measure(options.rounds, options.tokens, options.seconds))
    print(table(rows))
    options.json.write_text(json.dumps(report(rows), indent=2, ensure_ascii=False) + "\n")


if __name__ == "__main__":
    main()
