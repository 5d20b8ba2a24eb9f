"""A sink in place of a publisher, and an outline of chunks for tests to compare."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterable
from typing import Any

from monostream_ai.langchain import StreamCallbackHandler
from monostream_ai.ui_messages import (
    Chunk,
    MessageReducer,
    UIMessage,
    UIMessageProtocol,
    check_chunk,
    chunks_of_message,
    reduce_chunks,
)
from tests.plugins.recorded_chunks import record

LAST_STEP = ["start-step", "message-metadata {}", "finish-step"]
"""Lines of the empty step that keeps a page from sending a message with tool results again."""

_UUID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")


class Sink:
    """Collects pushed chunks, ends them like a publisher's block, and checks them like a client."""

    message_id = "m1"

    def __init__(self) -> None:
        self.chunks: list[Chunk] = []

    def push(self, *chunks: Chunk) -> None:
        self.chunks += chunks

    async def until(self, kind: str) -> None:
        """Wait until a chunk of this type is there."""
        async with asyncio.timeout(5.0):
            while not any(chunk["type"] == kind for chunk in self.chunks):
                await asyncio.sleep(0)

    def ended(self) -> list[Chunk]:
        transcript = UIMessageProtocol().transcript()
        for chunk in self.chunks:
            transcript.feed(chunk)
        return [*self.chunks, *transcript.ending("finish")]

    def message(self, earlier: UIMessage | None = None) -> UIMessage:
        """Return the message as a client shows it, continuing the earlier one."""
        chunks = self.ended()
        replayed = [] if earlier is None else chunks_of_message(earlier)
        check_message([*replayed, *(chunks[1:] if replayed else chunks)])
        reducer = MessageReducer(earlier)
        for chunk in chunks:
            reducer.feed(chunk)
        reducer.settle()
        return reducer.message

    def outline(self) -> list[str]:
        """Return the whole message, one line for each chunk.

        Runs are named A, B, … in the order in which they spoke.
        """
        chunks = self.ended()
        check_message(chunks)
        return outline(chunks)


class Recorder:
    """A handler and its sink."""

    def __init__(self, **options: Any) -> None:
        self.sink = Sink()
        self.handler = StreamCallbackHandler(self.sink, **options)
        self.config: Any = {"callbacks": [self.handler]}

    def outline(self) -> list[str]:
        return self.sink.outline()


def check_message(chunks: Iterable[Chunk]) -> None:
    """Fail if a client would refuse these chunks, or would be left with something half-streamed."""
    chunks = [check_chunk(chunk) for chunk in chunks]
    record(chunks)
    kinds = [chunk["type"] for chunk in chunks]
    assert kinds.count("start") == 1
    assert kinds[0] == "start"
    tools = [
        chunk
        for chunk in chunks
        if chunk["type"].startswith(
            ("tool-input-a", "tool-input-e", "tool-output-a", "tool-output-e")
        )
    ]
    assert all(chunk["dynamic"] for chunk in tools)
    message = reduce_chunks(chunks)
    assert [
        part for part in message["parts"] if part.get("state") in ("streaming", "input-streaming")
    ] == []


def outline(chunks: Iterable[Chunk]) -> list[str]:
    names: dict[str, str] = {}

    def name(found: re.Match[str]) -> str:
        return names.setdefault(found[0], chr(ord("A") + len(names)))

    shown = (
        {key: value for key, value in chunk.items() if key not in ("type", "dynamic")}
        for chunk in chunks
    )
    lines = (
        " ".join([chunk["type"], *map(str, keys.values())])
        for chunk, keys in zip(chunks, shown, strict=True)
    )
    return [_UUID.sub(name, line) for line in lines]
