"""The way of one chunk from `pub.write` to the SSE frame of a waiting reader: calls and modules.

A newcomer follows this way with a debugger, so each call on it must earn its place.
"""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path
from types import FrameType
from typing import Any

import monostream_ai
from monostream_ai import create_service
from monostream_ai.fastapi import stream_response

PACKAGE = str(Path(monostream_ai.__file__).parent)

MOST_CALLS = 61
MOST_MODULES = 20


async def test_a_chunk_reaches_a_waiting_reader_in_few_calls() -> None:
    calls: dict[tuple[str, str, int], None] = {}

    def note(frame: FrameType, event: str, argument: object) -> None:
        code = frame.f_code
        if event == "call" and code.co_filename.startswith(PACKAGE):
            # A coroutine that goes on is the same call.
            calls[code.co_filename, code.co_qualname, id(frame)] = None

    async with create_service("memory://") as service, service.publisher("s") as pub:
        await pub.write({"type": "start", "messageId": "m"}, {"type": "text-start", "id": "t"})
        response: Any = await stream_response(service, "s", version=0)
        body = aiter(response.body_iterator)
        assert b"stream-open" in await anext(body)
        assert b"text-start" in await anext(body)
        reading = asyncio.create_task(anext(body))
        for _ in range(10):
            await asyncio.sleep(0)
        sys.setprofile(note)
        try:
            writing = asyncio.create_task(
                pub.write({"type": "text-delta", "id": "t", "delta": "hello"})
            )
            frame = await reading
        finally:
            sys.setprofile(None)
        assert b'"delta":"hello"' in frame
        await writing

    modules = sorted({file.removeprefix(PACKAGE) for file, _, _ in calls})
    assert len(calls) <= MOST_CALLS, [name for _, name, _ in calls]
    assert len(modules) <= MOST_MODULES, modules
