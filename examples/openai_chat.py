"""Record a chat completion while it streams, and read it back as a browser would.

    python examples/openai_chat.py

Without OPENAI_API_KEY it replays a recorded answer.
"""

import asyncio
import os
from pathlib import Path

import httpx
import openai

from monostream_ai import create_service
from monostream_ai.openai import capture
from monostream_ai.ui_messages import UIMessageProtocol

RECORDING = Path(__file__).parent / "recordings" / "chat.sse"


def create_client() -> openai.AsyncOpenAI:
    if "OPENAI_API_KEY" in os.environ:
        return openai.AsyncOpenAI()
    response = httpx.Response(
        200, headers={"content-type": "text/event-stream"}, content=RECORDING.read_bytes()
    )
    http = httpx.AsyncClient(transport=httpx.MockTransport(lambda request: response))
    return openai.AsyncOpenAI(api_key="offline", http_client=http)


async def main() -> None:
    service = create_service("memory://", protocol=UIMessageProtocol())
    async with service, create_client() as client:
        async with service.publisher("chat:1", message_id="answer-1") as pub:
            stream = await client.chat.completions.create(
                model="gpt-5-mini",
                messages=[{"role": "user", "content": "Why store a stream?"}],
                stream=True,
                stream_options={"include_usage": True},
            )
            async for chunk in capture(stream, pub):
                for choice in chunk.choices:
                    print(choice.delta.content or "", end="", flush=True)
        print("\n--- read back:")
        async for stored in service.subscribe("chat:1"):
            print(stored)


if __name__ == "__main__":
    asyncio.run(main())
