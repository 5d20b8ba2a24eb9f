"""Record a blocking program: a background thread of the publisher stores its chunks.

python examples/sync_script.py
"""

import asyncio
import tempfile
from collections.abc import Iterator

from monostream_ai import create_service
from monostream_ai.threads import SyncPublisher
from monostream_ai.ui_messages import UIMessageBuilder


def words() -> Iterator[str]:
    """Stands for any blocking code: a local model, an old client, a subprocess."""
    yield from ("Blocking ", "code ", "can ", "stream ", "too.")


def program(url: str) -> None:
    with SyncPublisher(url, "chat:1", message_id="answer-1") as pub:
        message = UIMessageBuilder(message_id=pub.message_id)
        for word in words():
            pub.push(*message.text("answer", word))


async def read(url: str) -> None:
    """Read the stream as a server would: in another process, during the program or later."""
    async with create_service(url) as service:
        async for chunk in service.subscribe("chat:1"):
            print(chunk)


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as directory:
        database = f"sqlite+aiosqlite:///{directory}/chat.db"
        program(database)
        asyncio.run(read(database))
