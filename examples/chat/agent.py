"""The model and its tools: OpenAI if the environment has an API key, else the offline model."""

from __future__ import annotations

import asyncio
import json
import os
import platform
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from langchain_core.callbacks import BaseCallbackHandler, adispatch_custom_event
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import BaseMessage, ToolCall, ToolMessage
from langchain_core.tools import BaseTool, tool

from monostream_ai.ui_messages import UIMessage
from offline_model import OfflineChatModel


@tool
async def get_weather(city: str) -> dict[str, Any]:
    """Return the weather of a city."""
    return {"city": city, "celsius": 12 + sum(city.encode()) % 17, "sky": "a few clouds"}


@tool
async def describe_server() -> dict[str, Any]:
    """Return facts about the process that writes this answer."""
    return {"pid": os.getpid(), "python": platform.python_version()}


@tool
async def search_archive(topic: str) -> dict[str, Any]:
    """Search the letters of the lighthouse keepers, which takes a while."""
    for shelf in range(SHELVES + 1):
        progress = {"id": topic, "label": "Shelves read", "done": shelf, "of": SHELVES}
        await adispatch_custom_event("progress", progress)
        await asyncio.sleep(SECONDS_PER_SHELF)
    return {"topic": topic, "shelves": SHELVES, "found": 3}


@tool
async def ask_for_a_table() -> dict[str, Any]:
    """Show the user a form for the reservation of a table."""
    await adispatch_custom_event("form", TABLE)
    return {"shown": TABLE["title"]}


@tool
async def delete_file(path: str) -> dict[str, Any]:
    """Delete a file. The user is asked first."""
    return {"deleted": path}


SHELVES = 8
SECONDS_PER_SHELF = 1.0
TABLE = {
    "title": "A table for tonight",
    "fields": [
        {"name": "Guests", "options": ["2", "3", "4"]},
        {"name": "Time", "options": ["18:30", "20:00", "21:30"]},
        {"name": "Name"},
    ],
    "submit": "Book it",
}
ALL_TOOLS = (get_weather, describe_server, search_archive, ask_for_a_table, delete_file)
TOOLS: dict[str, BaseTool] = {each.name: each for each in ALL_TOOLS}
NEED_APPROVAL = {"delete_file"}


def create_model() -> BaseChatModel:
    """Return an OpenAI model if there is an API key, else the offline model."""
    if not os.environ.get("OPENAI_API_KEY"):
        return OfflineChatModel(
            tokens_per_second=float(os.environ.get("OFFLINE_TOKENS_PER_SECOND", "40"))
        )
    from langchain_openai import ChatOpenAI

    return ChatOpenAI(model=os.environ.get("OPENAI_MODEL", "gpt-5-mini"))


async def run_agent(
    model: BaseChatModel,
    messages: Sequence[BaseMessage],
    callback: BaseCallbackHandler,
    ask_user: Callable[[str], Awaitable[None]],
) -> None:
    """Let the model answer, and run its tool calls until it makes none or one needs an approval.

    LangChain's `create_agent` does the same and more.

    Args:
        ask_user: Asks the user whether the call with this id may run.
    """
    conversation = list(messages)
    bound = model.bind_tools(list(TOOLS.values()))
    while True:
        message = await bound.ainvoke(conversation, config={"callbacks": [callback]})
        conversation.append(message)
        if not message.tool_calls:
            return
        asks = [call for call in message.tool_calls if call["name"] in NEED_APPROVAL]
        for call in message.tool_calls:
            if call not in asks:
                conversation.append(await run_tool(call, callback))
        for call in asks:
            await ask_user(str(call["id"]))
        if asks:
            return


async def run_approved(message: UIMessage, callback: BaseCallbackHandler) -> None:
    """Run the calls in the message that the user has approved, and add their results to it."""
    for part in message["parts"]:
        if part.get("state") == "approval-responded" and part["approval"]["approved"] is True:
            call = ToolCall(name=part["toolName"], args=part["input"], id=part["toolCallId"])
            result = await run_tool(call, callback)
            part.update(state="output-available", output=json.loads(result.text))


async def run_tool(call: ToolCall, callback: BaseCallbackHandler) -> ToolMessage:
    tool_call = {**call, "type": "tool_call"}
    result: ToolMessage = await TOOLS[call["name"]].ainvoke(
        tool_call, config={"callbacks": [callback]}
    )
    return result
