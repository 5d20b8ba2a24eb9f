"""Record a Responses API model that calls a tool: call, result and answer become one message.

    python examples/openai_responses.py

Without OPENAI_API_KEY it replays recorded responses.
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

CITY = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
WEATHER: Any = {"type": "function", "name": "get_weather", "parameters": CITY}


def create_client() -> openai.AsyncOpenAI:
    if "OPENAI_API_KEY" in os.environ:
        return openai.AsyncOpenAI()
    headers, folder = {"content-type": "text/event-stream"}, Path(__file__).parent / "recordings"
    bodies = ((folder / f"weather_{name}.sse").read_bytes() for name in ("call", "answer"))
    replies = (httpx.Response(200, headers=headers, content=body) for body in bodies)
    http = httpx.AsyncClient(transport=httpx.MockTransport(lambda request: next(replies)))
    return openai.AsyncOpenAI(api_key="offline", http_client=http)


async def main() -> None:
    conversation: list[Any] = [{"role": "user", "content": "How is the weather in Rome?"}]
    async with create_service("memory://") as service, create_client() as client:
        async with service.publisher("chat:1", message_id="answer-1") as pub:
            while True:
                stream = await client.responses.create(
                    model="gpt-5-mini", input=conversation, tools=[WEATHER], stream=True
                )
                events = capture(stream, pub)
                done = [each async for each in events if each.type == "response.output_item.done"]
                items = [event.item.to_dict() for event in done]
                conversation += items
                calls: list[Any] = [item for item in items if item["type"] == "function_call"]
                if not calls:
                    break
                for call in calls:
                    weather = {"sky": "sunny", "celsius": 21, **json.loads(call["arguments"])}
                    events.tool_result(call["call_id"], output=weather)
                    output = {"call_id": call["call_id"], "output": json.dumps(weather)}
                    conversation.append({"type": "function_call_output", **output})
        async for chunk in service.subscribe("chat:1"):
            print(chunk)


if __name__ == "__main__":
    asyncio.run(main())
