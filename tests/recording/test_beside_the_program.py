"""A program writes beside the captures of a message, and a page can still read all of it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable
from typing import Any, Final

import pytest
from google.genai.types import GenerateContentResponse
from langchain_core.language_models import FakeListChatModel

from monostream_ai import (
    DurableStreamService,
    anthropic,
    create_service,
    google_genai,
    openai,
    openai_agents,
    pydantic_ai,
)
from monostream_ai._writing.publisher import Publisher
from monostream_ai.langchain import StreamCallbackHandler, record_graph
from monostream_ai.recording import ModelOutput, Recording, record
from monostream_ai.threads import SyncPublisher
from monostream_ai.ui_messages import Chunk, UIMessage, UIMessageBuilder, reduce_chunks
from tests.openai_agents.responses import saying

Service = DurableStreamService[Chunk]
Say = Callable[[Publisher[Chunk]], AsyncIterator[Any]]
"""Records an answer with the text "Hello" in two deltas, and yields an event for each, or more."""

PIECES: Final = ("Hel", "lo")
FINISH_STEP, START_STEP, RESET_STEP = (
    [{"type": f"{each}-step"}] for each in ("finish", "start", "reset")
)


class LineMapper:
    def __init__(self, recording: Recording) -> None:
        self.output = ModelOutput(recording)

    def feed(self, event: str) -> list[Chunk]:
        return self.output.finish("stop") if event == "END" else self.output.speech.text(0, event)


def chat_events() -> Iterable[Any]:
    for delta, reason in [*(({"content": piece}, None) for piece in PIECES), ({}, "stop")]:
        choice = {"index": 0, "delta": delta, "finish_reason": reason}
        yield {"object": "chat.completion.chunk", "id": "x", "choices": [choice]}


def responses_events() -> Iterable[Any]:
    for event in saying("Hello"):
        if event["type"].endswith(".delta"):
            yield from ({**event, "delta": piece} for piece in PIECES)
        else:
            yield event


def anthropic_events() -> Iterable[Any]:
    message = {"id": "m", "role": "assistant", "content": [], "usage": {"input_tokens": 1}}
    yield {"type": "message_start", "message": message}
    block = {"type": "text", "text": ""}
    yield {"type": "content_block_start", "index": 0, "content_block": block}
    for piece in PIECES:
        delta = {"type": "text_delta", "text": piece}
        yield {"type": "content_block_delta", "index": 0, "delta": delta}
    yield {"type": "content_block_stop", "index": 0}
    yield {"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": {}}
    yield {"type": "message_stop"}


def google_events() -> Iterable[Any]:
    for piece, reason in zip(PIECES, (None, "STOP"), strict=True):
        content = {"role": "model", "parts": [{"text": piece}]}
        answer = {"candidates": [{"content": content, "finishReason": reason}]}
        yield GenerateContentResponse.model_validate(answer)


def run_events() -> Iterable[Any]:
    yield from START_STEP
    yield {"type": "text-start", "id": "p"}
    for piece in PIECES:
        yield {"type": "text-delta", "id": "p", "delta": piece}
    yield {"type": "text-end", "id": "p"}
    yield from FINISH_STEP
    yield {"type": "finish", "finishReason": "stop"}


async def each(items: Iterable[Any]) -> AsyncIterator[Any]:
    for item in items:
        yield item


async def callback(pub: Publisher[Chunk]) -> AsyncIterator[Any]:
    # One handler for all runs of this publisher, as `turn.callback` is.
    handler = HANDLERS.setdefault(pub, StreamCallbackHandler(pub, send_start=False))
    model = FakeListChatModel(responses=["Hello"])
    async for token in model.astream("Hi", config={"callbacks": [handler]}):
        yield token


HANDLERS: dict[Publisher[Chunk], StreamCallbackHandler] = {}


def graph(pub: Publisher[Chunk]) -> AsyncIterator[Any]:
    async def items() -> AsyncIterator[Any]:
        async for token in FakeListChatModel(responses=["Hello"]).astream("Hi"):
            yield "messages", (token, {"langgraph_checkpoint_ns": "agent:1", "langgraph_step": 1})

    return record_graph(items(), pub, send_start=False)


SAID: Final[dict[str, Say]] = {
    "record": lambda pub: record([*PIECES, "END"], pub, LineMapper),
    "openai chat": lambda pub: openai.capture(each(chat_events()), pub),
    "openai responses": lambda pub: openai.capture(each(responses_events()), pub),
    "anthropic": lambda pub: anthropic.capture(each(anthropic_events()), pub),
    "google": lambda pub: google_genai.capture(each(google_events()), pub),
    "agents": lambda pub: openai_agents.capture(
        each({"type": "raw_response_event", "data": event} for event in responses_events()), pub
    ),
    "pydantic": lambda pub: pydantic_ai.capture(each(run_events()), pub),
    "callback": callback,
    "graph": graph,
}
captures = pytest.mark.parametrize("say", [pytest.param(SAID[name], id=name) for name in SAID])

LOST: Final[list[Chunk]] = [
    {"type": "start", "messageId": "m1"},
    *START_STEP,
    {
        "type": "tool-input-available",
        "toolCallId": "c",
        "toolName": "look",
        "input": {},
        "dynamic": True,
    },
    {"type": "tool-output-available", "toolCallId": "c", "output": 7, "dynamic": True},
    *FINISH_STEP,
    *START_STEP,
    {"type": "text-start", "id": "text-1"},
    {"type": "text-delta", "id": "text-1", "delta": "Half"},
]


def taken_back(written: list[Chunk]) -> list[Chunk]:
    builder = UIMessageBuilder(message_id="m1", send_start=False)
    builder.take_up(written)
    return builder.reset_step()


def ended(written: list[Chunk]) -> list[Chunk]:
    return [{"type": "text-end", "id": "text-1"}, *FINISH_STEP]


MENDED: Final[dict[str, tuple[Callable[[list[Chunk]], list[Chunk]], list[str]]]] = {
    "taken back": (taken_back, ["Hello"]),
    "only reset": (lambda written: RESET_STEP, ["Hello"]),
    "reset and ended": (lambda written: [*RESET_STEP, *FINISH_STEP], ["Hello"]),
    "reset and begun": (lambda written: [*RESET_STEP, *FINISH_STEP, *START_STEP], ["Hello"]),
    "ended": (ended, ["Half", "Hello"]),
    "ended and begun": (lambda written: [*ended(written), *START_STEP], ["Half", "Hello"]),
    "only finished": (lambda written: FINISH_STEP, ["Half", "Hello"]),
}
"""Chunks that a program writes before the model speaks again, and the texts of the message then."""


async def checked(service: Service) -> UIMessage:
    """Return the message of the stored chunks, if every client can read them."""
    chunks = await service.chunks("chat")
    opened = set[tuple[str, str]]()
    for chunk in chunks:
        kind, _, step = chunk["type"].partition("-")
        if kind in ("text", "reasoning"):
            part = (kind, chunk["id"])
            assert step == "start" or part in opened, chunk
            opened = opened - {part} if step == "end" else opened | {part}
        elif chunk["type"] in ("finish-step", "reset-step"):
            # Clients below 7.0.79 drop their open parts at the end of a step.
            opened.clear()
    assert chunks[-1]["type"] == "finish"
    return reduce_chunks(chunks)


def texts_of(message: UIMessage) -> list[str]:
    return [part["text"] for part in message["parts"] if part["type"] == "text"]


async def lost(service: Service, written: list[Chunk] = LOST) -> Publisher[Chunk]:
    """Return the publisher that goes on with a version whose first one has died."""
    pub = await service.publisher("chat", message_id="m1").open()
    await pub.write(*written)
    await pub.release()
    return service.successor("chat", 0)


@captures
@pytest.mark.parametrize("how", MENDED)
async def test_a_step_that_broke_off_is_ended_by_the_program(
    service: Service, say: Say, how: str
) -> None:
    mend, texts = MENDED[how]
    async with await lost(service) as pub:
        await pub.write(*mend([*pub.written]))
        async for _ in say(pub):
            pass
        # Once more, behind chunks that the program writes between two models.
        await pub.write(*FINISH_STEP, *START_STEP)
        async for _ in say(pub):
            pass

    assert texts_of(message := await checked(service)) == [*texts, "Hello"]
    [call] = [part for part in message["parts"] if "toolCallId" in part]
    assert call["output"] == 7


@captures
@pytest.mark.parametrize("written", [RESET_STEP, FINISH_STEP, [*FINISH_STEP, *START_STEP]])
async def test_a_step_ends_in_the_middle_of_an_answer(
    service: Service, say: Say, written: list[Chunk]
) -> None:
    async with service.publisher("chat", message_id="m1") as pub:
        await pub.write({"type": "start", "messageId": "m1"})
        events, done = aiter(say(pub)), False
        async for _ in events:
            await pub.flush()
            said = [chunk async for chunk in stored(service, pub)]
            if not done and any(chunk["type"] == "text-delta" for chunk in said):
                done = True
                pub.push(*written)

    text = "".join(texts_of(await checked(service)))
    assert done
    assert "Hello".endswith(text) if written == RESET_STEP else text == "Hello"


async def test_thinking_ends_with_its_signature_behind_a_step_of_the_program(
    service: Service,
) -> None:
    events = [*anthropic_events()]
    block = {"type": "thinking", "thinking": ""}
    events[1] = {"type": "content_block_start", "index": 0, "content_block": block}
    thought = {"type": "thinking_delta", "thinking": "Hm."}
    signed = {"type": "signature_delta", "signature": "s"}
    events[2:4] = [
        {"type": "content_block_delta", "index": 0, "delta": delta} for delta in (thought, signed)
    ]
    async with service.publisher("chat", message_id="m1") as pub:
        async for event in anthropic.capture(each(events), pub):
            if event.get("delta") == thought:
                await pub.write(*FINISH_STEP)

    parts = [part for part in (await checked(service))["parts"] if part["type"] == "reasoning"]
    assert [part["text"] for part in parts] == ["Hm.", ""]
    assert parts[1]["providerMetadata"] == {"anthropic": {"signature": "s"}}


async def stored(service: Service, pub: Publisher[Chunk]) -> AsyncIterator[Chunk]:
    for chunk in await service.chunks(pub.stream_id):
        yield chunk


@captures
async def test_a_text_of_the_program_stays_its_own(service: Service, say: Say) -> None:
    delta = {"type": "text-delta", "id": "text-1", "delta": "Note"}
    async with service.publisher("chat", message_id="m1") as pub:
        await pub.write(
            {"type": "start", "messageId": "m1"}, {"type": "text-start", "id": "text-1"}
        )
        async for _ in say(pub):
            pass
        await pub.write(delta, {"type": "text-end", "id": "text-1"})

    assert texts_of(reduce_chunks(await service.chunks("chat"))) == ["Note", "Hello"]


@captures
async def test_captures_of_two_kinds_know_each_others_steps(service: Service, say: Say) -> None:
    async with await lost(service) as pub:
        # Made before the first one has written anything, as `turn.callback` may be.
        HANDLERS[pub] = StreamCallbackHandler(pub, send_start=False)
        for speaker in (SAID["record"], say, callback, say):
            async for _ in speaker(pub):
                pass

    assert texts_of(await checked(service)) == ["Half", *["Hello"] * 4]


@captures
async def test_the_program_gives_the_result_of_a_call(service: Service, say: Say) -> None:
    call = {"type": "tool-input-available", "toolCallId": "d", "toolName": "look", "input": {}}
    result = {"type": "tool-output-available", "toolCallId": "d", "output": 8}
    async with await lost(service, [*LOST[:-2], {**call, "dynamic": True}]) as pub:
        await pub.write({**result, "dynamic": True})
        async for _ in say(pub):
            pass

    message = await checked(service)
    assert [part["output"] for part in message["parts"] if "output" in part] == [7, 8]
    assert texts_of(message) == ["Hello"]


@captures
@pytest.mark.parametrize("chunk", [{"type": "text-start"}, {"type": "source-url", "sourceId": []}])
async def test_a_chunk_that_no_page_reads_costs_no_answer(
    service: Service, say: Say, chunk: Chunk
) -> None:
    async with await lost(service) as pub:
        await pub.write(*RESET_STEP, chunk)
        async for _ in say(pub):
            pass

    chunks = await service.chunks("chat")
    assert texts_of(reduce_chunks(each for each in chunks if each != chunk)) == ["Hello"]


async def test_a_call_gets_its_own_id_beside_one_of_the_program(service: Service) -> None:
    called = {"id": "c", "name": "look", "input": {}, "type": "tool_use"}
    events = [*anthropic_events()]
    events[1] = {"type": "content_block_start", "index": 0, "content_block": called}
    json = {"type": "input_json_delta", "partial_json": "{}"}
    events[2:4] = [{"type": "content_block_delta", "index": 0, "delta": json}]
    async with service.publisher("chat", message_id="m1") as pub:
        await pub.write(*LOST[:5])
        async for _ in (capture := anthropic.capture(each(events), pub)):
            pass
        capture.tool_result("c", output=8)

    parts = (await checked(service))["parts"]
    calls = {part["toolCallId"]: part["output"] for part in parts if "toolCallId" in part}
    assert calls == {"c": 7, "c#2": 8}


def test_a_thread_writes_beside_a_capture(tmp_path: Any) -> None:
    url = f"sqlite+aiosqlite:///{tmp_path / 'chat.db'}"
    with SyncPublisher(url, "chat", message_id="m1") as pub:
        pub.push(*START_STEP)
        for event in openai.capture_sync([*chat_events()], pub):
            if event["choices"][0]["delta"].get("content") == "Hel":
                pub.push(*FINISH_STEP)
        pub.push(*FINISH_STEP, *START_STEP)
        for _ in openai.capture_sync([*chat_events()], pub):
            pass

    async def read() -> UIMessage:
        async with create_service(url) as service:
            return await checked(service)

    assert texts_of(asyncio.run(read())) == ["Hel", "lo", "Hello"]
