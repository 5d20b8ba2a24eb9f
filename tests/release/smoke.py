"""A program that uses the installed package, with the types it sees. scripts/check-wheel runs it,
mypy and pyright look at it.
"""

from __future__ import annotations

import asyncio
import subprocess
import sys
import tempfile
from importlib.metadata import version
from pathlib import Path
from typing import Any, assert_type

from monostream_ai import (
    Cursor,
    DurableStreamService,
    Publisher,
    Subscription,
    VersionInfo,
    __version__,
    create_service,
)
from monostream_ai.fastapi import ChatTurn, create_chat_router
from monostream_ai.langchain import StreamCallbackHandler
from monostream_ai.openai import capture
from monostream_ai.ui_messages import Chunk, UIMessage, reduce_chunks


async def reply(turn: ChatTurn) -> None:
    assert_type(turn.messages, list[UIMessage])
    assert_type(turn.callback, StreamCallbackHandler)


async def stream(service: DurableStreamService[Chunk]) -> list[Chunk]:
    async with service.publisher("s") as pub:
        assert_type(pub, Publisher[Chunk])
        assert_type(await pub.write({"type": "text-start", "id": "t"}), int)
        events: list[dict[str, Any]] = []
        async for event in capture(events, pub):
            raise AssertionError(event)
    return [chunk async for chunk in service.subscribe("s")]


async def main(folder: str) -> None:
    url = f"sqlite+aiosqlite:///{folder}/chat.db"
    async with create_service(url) as service:
        try:
            await stream(service)
        except Exception as error:
            # A stream without events is one that was cut off.
            assert type(error).__name__ == "TruncatedStream", error
        async with service.publisher("s") as pub:
            await pub.write(
                {"type": "text-start", "id": "t"},
                {"type": "text-delta", "id": "t", "delta": "Hello"},
            )
        reader = service.subscribe("s", after=Cursor(1, -1))
        assert_type(reader, Subscription[Chunk])
        chunks = [chunk async for chunk in reader]
        assert_type(await service.status("s"), VersionInfo)
        message: dict[str, Any] = reduce_chunks(chunks)
        assert [part["text"] for part in message["parts"]] == ["Hello"], message
        create_chat_router(service, reply)
    assert '"s"' in command("ls", "--json", "--url", url)
    assert command("--version").split()[-1] == __version__ == version("monostream-ai")


def command(*arguments: str) -> str:
    program = Path(sys.executable).parent / "monostream-ai"
    done = subprocess.run([program, *arguments], capture_output=True, text=True, check=True)
    return done.stdout


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        asyncio.run(main(folder))
    print("works on Python", sys.version.split()[0])
