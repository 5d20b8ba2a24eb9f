"""A process that asks for one answer, or goes on with it.

python -m tests.processes.responder DATABASE_URL PROVIDER_URL
"""

from __future__ import annotations

import asyncio
import sys

import openai

from monostream_ai import UnknownStream, create_service
from monostream_ai.openai import respond


async def main(database: str, provider: str) -> None:
    client = openai.AsyncOpenAI(api_key="none", base_url=provider)
    async with client, create_service(database) as service:
        try:
            while not (await service.status("chat")).lost:
                await asyncio.sleep(0.01)
            pub = service.successor("chat", 0)
        except UnknownStream:
            pub = service.publisher("chat", message_id="m1")
        async with pub:
            await respond(client, pub, model="long", input="Hi")


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
