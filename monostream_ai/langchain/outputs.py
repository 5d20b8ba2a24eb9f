"""What a tool returned, as a client shows it."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from itertools import islice
from typing import Any, Final

from langchain_core.messages import ToolMessage

from monostream_ai.ui_messages import to_json_value

MAX_DEPTH: Final = 5
"""Levels of updates, lists and commands in which a tool's message is looked for."""

MAX_ITEMS: Final = 1000
"""Items of one list that are looked at, the newest ones; a node may return anything, and this runs
while a model waits.
"""


def output_value(message: ToolMessage) -> Any:
    """Return the content of a tool's message as JSON: an object or array that LangChain wrote as
    text is one again.
    """
    content = message.content
    if isinstance(content, str) and content[:1] in ("{", "["):
        try:
            return to_json_value(json.loads(content))
        except (ValueError, RecursionError):
            return content
    return to_json_value(content)


def error_text_of(message: ToolMessage) -> str:
    """Return what the model was told about the failure."""
    return message.content if isinstance(message.content, str) else message.text


def tool_messages(output: Any, depth: int = MAX_DEPTH) -> Iterator[ToolMessage]:
    """Yield the tool messages in what a tool or a node returned: the message, a `Command`, an
    update, or lists of them.
    """
    if isinstance(output, ToolMessage):
        yield output
    elif depth == 0:
        return
    elif isinstance(output, Mapping):
        for value in islice(output.values(), MAX_ITEMS):
            yield from tool_messages(value, depth - 1)
    elif isinstance(output, list | tuple):
        for item in output[-MAX_ITEMS:]:
            yield from tool_messages(item, depth - 1)
    elif is_command(output):
        yield from tool_messages(output.update, depth - 1)


def is_command(output: Any) -> bool:
    """Whether this is a LangGraph `Command`, told by its shape: LangGraph need not be installed."""
    return hasattr(output, "update") and hasattr(output, "goto")


def is_control_flow(error: BaseException) -> bool:
    """Whether LangGraph raised this to interrupt or to leave a graph; nothing has failed then."""
    return any(kind.__name__ == "GraphBubbleUp" for kind in type(error).__mro__)
