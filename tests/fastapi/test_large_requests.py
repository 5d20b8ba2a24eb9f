"""A large request costs memory and time in proportion, and holds nobody else up."""

from __future__ import annotations

import json
import time
import tracemalloc
from collections.abc import AsyncIterator
from contextlib import suppress
from typing import Any

import pytest

from monostream_ai.chats.turns.messages import MAX_PARTS
from monostream_ai.chats.turns.requests import MAX_VALUES, ChatRequest, RequestRefused
from tests.fastapi.chat_client import question, types_in
from tests.fastapi.conftest import NewService, Serve
from tests.fastapi.replies import greet

pytestmark = pytest.mark.every_framework

MIB = 1024 * 1024
HEAD = b'{"id":"c1","messages":[{"id":"u1","role":"user","parts":['
TEXT = b'{"type":"text","text":"%s"}'


def body_of(parts: bytes) -> bytes:
    return HEAD + parts + b"]}]}"


class FakeRequest:
    """A request whose body comes in pieces, as a server hands it over."""

    def __init__(self, body: bytes) -> None:
        self._body = body

    async def stream(self) -> AsyncIterator[bytes]:
        for first in range(0, len(self._body), 64 * 1024):
            yield self._body[first : first + 64 * 1024]


async def test_a_body_of_empty_parts_is_refused(new_service: NewService, serve: Serve) -> None:
    client = await serve(new_service(), greet)
    body = body_of(b",".join([b"{}"] * 5_200_000))
    assert 14 * MIB < len(body) < 16 * MIB

    refused = await client.http.post("/api/chat", content=body)

    assert (refused.status_code, refused.text) == (
        400,
        f"The request has more than {MAX_VALUES:,} JSON values.",
    )


@pytest.mark.parametrize(
    "parts",
    [
        b",".join([b"{}"] * 5_200_000),
        b",".join([b"{}"] * 240_000),
        b",".join([TEXT % b"hi"] * 9_000),
        TEXT % (b"\\n" * (7 * MIB)),
        TEXT % ("ä".encode() * (7 * MIB)),
        b'{"type":"data-x","data":[' + b",".join([b'"abc"'] * 200_000) + b"]}",
    ],
    ids=["many parts", "fewer parts", "texts", "escapes", "umlauts", "data"],
)
async def test_a_large_body_is_read_beside_the_loop_in_little_memory(parts: bytes) -> None:
    request: Any = FakeRequest(body_of(parts))
    before = time.thread_time()
    with suppress(RequestRefused):
        await ChatRequest.read(request, 16 * MIB)
    on_loop = time.thread_time() - before
    tracemalloc.start()
    with suppress(RequestRefused):
        await ChatRequest.read(request, 16 * MIB)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()

    # Time of this thread, so that a busy machine changes nothing.
    assert on_loop < 0.05
    assert peak < 6 * len(parts) + 16 * MIB


async def test_the_decoder_holds_the_interpreter_for_a_moment_only() -> None:
    most = body_of(b'{"type":"data-x","data":[%s]}' % b",".join([b"{}"] * (MAX_VALUES - 100)))
    quickest = 1.0
    for _ in range(3):
        before = time.thread_time()
        json.loads(most)
        quickest = min(quickest, time.thread_time() - before)

    assert quickest < 0.1


async def test_the_number_of_parts_of_all_messages_is_limited(
    new_service: NewService, serve: Serve
) -> None:
    client = await serve(new_service(), greet)
    part = {"type": "text", "text": "hi"}

    def body(count: int) -> dict[str, Any]:
        user = {"role": "user", "parts": [part] * (count // 2)}
        return question() | {"messages": [user, {**user, "parts": [part] * (count - count // 2)}]}

    accepted = await client.post(body(MAX_PARTS))
    refused = await client.post(body(MAX_PARTS + 1))

    assert types_in(accepted.text)[-1] == "finish"
    assert (refused.status_code, refused.text) == (400, "The request has more than 10,000 parts.")


@pytest.mark.parametrize("cut", range(8))
async def test_what_looks_like_json_in_a_text_counts_as_one_value(
    new_service: NewService, serve: Serve, cut: int
) -> None:
    service = new_service()
    client = await serve(service, greet)
    # Wherever a piece ends, half of an escape or not.
    text = "x" * cut + '[{"a\\", \\' * 200_000
    body = question(text=text)

    answer = await client.post(body)

    assert types_in(answer.text)[-1] == "finish"
    assert await service.request("chat:c1", 0) == body


async def test_values_after_a_long_text_are_counted(new_service: NewService, serve: Serve) -> None:
    client = await serve(new_service(), greet)
    text = json.dumps('"\\' * 100_000).encode()
    many = b'{"type":"data-x","data":[%s%s]}' % (text, b",[]" * (MAX_VALUES + 1))

    refused = await client.http.post("/api/chat", content=body_of(many))

    assert refused.text == "The request has more than 250,000 JSON values."
