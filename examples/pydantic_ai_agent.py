"""Record a Pydantic AI agent, whose own adapter makes chunks for `useChat`.

python examples/pydantic_ai_agent.py    # runs offline with the test model of Pydantic AI
"""

import asyncio

from pydantic_ai import Agent
from pydantic_ai.models.test import TestModel
from pydantic_ai.ui.vercel_ai import VercelAIAdapter

from monostream_ai import Publisher, create_service
from monostream_ai.pydantic_ai import consume
from monostream_ai.ui_messages import Chunk

agent = Agent(TestModel(custom_output_text="In Rome it is sunny, 21 °C."))
QUESTION = b"""{"trigger": "submit-message", "id": "1", "messages": [{"id": "q1", "role": "user",
    "parts": [{"type": "text", "text": "How is the weather in Rome?"}]}]}"""


@agent.tool_plain
def get_weather(city: str) -> str:
    return f"{city}: sunny, 21 °C"


async def answer(request: bytes, pub: Publisher[Chunk]) -> None:
    adapter = VercelAIAdapter(agent, VercelAIAdapter.build_run_input(request), sdk_version=6)
    await consume(adapter.run_stream(), pub)


async def main() -> None:
    async with create_service("memory://") as service:
        async with service.publisher("chat:1", message_id="answer-1") as pub:
            await answer(QUESTION, pub)
        async for chunk in service.subscribe("chat:1"):
            print(chunk)


if __name__ == "__main__":
    asyncio.run(main())
