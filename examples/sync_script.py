"""Record a program that knows nothing of asyncio: it runs in a thread and pushes, while the event loop stores and serves.

python examples/sync_script.py
"""

import asyncio
from collections.abc import Iterator

from monostream_ai import Publisher, create_service
from monostream_ai.ui_messages import Chunk, UIMessageBuilder, UIMessageProtocol


def words() -> Iterator[str]:
    """Stand for any blocking code: a local model, an old client, a subprocess."""
    yield from ("Blocking ", "code ", "can ", "stream ", "too.")


def program(pub: Publisher[Chunk]) -> None:
    message = UIMessageBuilder(message_id=pub.message_id)
    for word in words():
        pub.push(*message.text("answer", word))
    pub.push(*message.finish("stop"))


async def record() -> None:
    async with service.publisher("chat:1", message_id="answer-1") as pub:
        await asyncio.to_thread(program, pub)


async def main() -> None:
    async with service:
        recording = asyncio.create_task(record())
        async for chunk in service.subscribe("chat:1"):
            print(chunk)
        await recording


service = create_service("memory://", protocol=UIMessageProtocol())

if __name__ == "__main__":
    asyncio.run(main())
