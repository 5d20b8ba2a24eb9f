"""The model and its tools: OpenAI if the environment has an API key, else the offline model."""

from __future__ import annotations

import os
import platform
from collections.abc import Sequence
from typing import Any

from langchain_core.callbacks import BaseCallbackHandler
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import BaseMessage
from langchain_core.tools import BaseTool, tool

from offline_model import OfflineChatModel


@tool
async def get_weather(city: str) -> dict[str, Any]:
    """Return the weather of a city."""
    return {"city": city, "celsius": 12 + sum(city.encode()) % 17, "sky": "a few clouds"}


@tool
async def describe_server() -> dict[str, Any]:
    """Return facts about the process that writes this answer."""
    return {"pid": os.getpid(), "python": platform.python_version()}


TOOLS: dict[str, BaseTool] = {each.name: each for each in (get_weather, describe_server)}


def create_model() -> BaseChatModel:
    """Return an OpenAI model if there is an API key, else the offline model."""
    if not os.environ.get("OPENAI_API_KEY"):
        return OfflineChatModel(
            tokens_per_second=float(os.environ.get("OFFLINE_TOKENS_PER_SECOND", "40"))
        )
    from langchain_openai import ChatOpenAI

    return ChatOpenAI(model=os.environ.get("OPENAI_MODEL", "gpt-5-mini"))


async def run_agent(
    model: BaseChatModel, messages: Sequence[BaseMessage], callback: BaseCallbackHandler
) -> None:
    """Let the model answer, and run its tool calls until it makes none.

    LangChain's `create_agent` does the same and more.
    """
    conversation = list(messages)
    bound = model.bind_tools(list(TOOLS.values()))
    while True:
        message = await bound.ainvoke(conversation, config={"callbacks": [callback]})
        conversation.append(message)
        if not message.tool_calls:
            return
        for call in message.tool_calls:
            conversation.append(
                await TOOLS[call["name"]].ainvoke(call, config={"callbacks": [callback]})
            )
