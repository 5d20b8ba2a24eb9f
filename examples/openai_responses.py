"""Let a model of the Responses API call a tool; the call, its result and the answer become one
recorded message.

python examples/openai_responses.py             # without OPENAI_API_KEY it replays recorded responses
"""

import asyncio
import json
import os
from pathlib import Path
from typing import Any

import httpx
import openai

from monostream_ai import create_service
from monostream_ai.openai import capture
from monostream_ai.ui_messages import UIMessageProtocol

RECORDINGS = Path(__file__).parent / "recordings"
CITY = {
    "type": "object",
    "properties": {"city": {"type": "string"}},
    "required": ["city"],
    "additionalProperties": False,
}
WEATHER: Any = {
    "type": "function",
    "name": "get_weather",
    "description": "Weather of a city",
    "parameters": CITY,
    "strict": True,
}


def create_client() -> openai.AsyncOpenAI:
    if "OPENAI_API_KEY" in os.environ:
        return openai.AsyncOpenAI()
    names = iter(["weather_call.sse", "weather_answer.sse"])

    def replay(request: httpx.Request) -> httpx.Response:
        body = (RECORDINGS / next(names)).read_bytes()
        return httpx.Response(200, headers={"content-type": "text/event-stream"}, content=body)

    return openai.AsyncOpenAI(
        api_key="offline", http_client=httpx.AsyncClient(transport=httpx.MockTransport(replay))
    )


async def main() -> None:
    service = create_service("memory://", protocol=UIMessageProtocol())
    conversation: list[Any] = [{"role": "user", "content": "How is the weather in Rome?"}]
    async with service, create_client() as client:
        async with service.publisher("chat:1", message_id="answer-1") as pub:
            while (
                conversation[-1].get("role") == "user"
                or conversation[-1]["type"] == "function_call_output"
            ):
                stream = await client.responses.create(
                    model="gpt-5-mini", input=conversation, tools=[WEATHER], stream=True
                )
                events = capture(stream, pub)
                items = [
                    event.item.to_dict()
                    async for event in events
                    if event.type == "response.output_item.done"
                ]
                conversation += items
                for call in (item for item in items if item["type"] == "function_call"):
                    weather = {"sky": "sunny", "celsius": 21, **json.loads(str(call["arguments"]))}
                    events.tool_result(str(call["call_id"]), output=weather)
                    output = {
                        "type": "function_call_output",
                        "call_id": call["call_id"],
                        "output": json.dumps(weather),
                    }
                    conversation.append(output)
        async for chunk in service.subscribe("chat:1"):
            print(chunk)


if __name__ == "__main__":
    asyncio.run(main())
