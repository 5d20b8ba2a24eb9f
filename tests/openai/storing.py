"""Recording a stream with a real service, as a program does."""

from __future__ import annotations

from typing import Any

from monostream_ai import DurableStreamService
from monostream_ai.openai import capture
from monostream_ai.ui_messages import Chunk, check_chunk, reduce_chunks

Service = DurableStreamService[Chunk]

TERMINAL = ("finish", "error", "abort")


async def record(service: Service, stream: Any, **options: Any) -> Exception | None:
    """Capture the stream in a publisher's block; return the error that the block raised."""
    try:
        async with service.publisher("chat", message_id="m1") as pub:
            async for _ in capture(stream, pub, **options):
                pass
    except Exception as error:
        return error
    return None


async def stored(service: Service) -> list[Chunk]:
    """Return the chunks of the latest version, checked as a client would."""
    chunks = await service.chunks("chat")
    check_message(chunks)
    return chunks


def check_message(chunks: list[Chunk]) -> None:
    """Fail if a client would refuse these chunks, or would be left with something half-streamed."""
    kinds = [check_chunk(chunk)["type"] for chunk in chunks]
    assert (kinds[0], kinds.count("start")) == ("start", 1)
    assert [kind for kind in kinds if kind in TERMINAL] == kinds[-1:]
    assert kinds.count("start-step") - kinds.count("finish-step") == (kinds[-1] == "abort")
    tools = [
        chunk
        for chunk in chunks
        if chunk["type"].startswith(("tool-input", "tool-output"))
        and chunk["type"] != "tool-input-delta"
    ]
    assert all(chunk["dynamic"] for chunk in tools)
    message = reduce_chunks(chunks)
    assert [
        part for part in message["parts"] if part.get("state") in ("streaming", "input-streaming")
    ] == []


def chunk_of(chunks: list[Chunk], kind: str) -> Chunk:
    """Return the first chunk of this type."""
    return next(chunk for chunk in chunks if chunk["type"] == kind)


def texts(chunks: list[Chunk]) -> list[str]:
    return [chunk["delta"] for chunk in chunks if chunk["type"] == "text-delta"]
