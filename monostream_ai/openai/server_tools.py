"""Reads the input and the result of tools that the model's provider runs.

The tables follow the item types of the Responses API.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Final

from monostream_ai.recording.fields import get, get_text, to_json

CLIENT_TOOLS: Final = frozenset({"local_shell_call", "apply_patch_call", "computer_call"})
"""Calls that the program itself has to execute, like functions."""

_SERVER_TOOLS: Final = frozenset(
    {
        "web_search_call",
        "file_search_call",
        "code_interpreter_call",
        "image_generation_call",
        "mcp_call",
        "shell_call",
        "tool_search_call",
    }
)

RESULT_ITEMS: Final[Mapping[str, str]] = {
    "shell_call_output": "output",
    "tool_search_output": "tools",
}
"""Items that hold the result of another item, and the field that holds it."""

_INPUTS: Final = ("action", "operation", "arguments")
_OUTPUTS: Final = ("results", "outputs", "output")


def is_server_tool(item: Any) -> bool:
    """Whether the provider executes this call; two kinds may be executed by either side."""
    local = get(item, "environment", "type") == "local" or get(item, "execution") == "client"
    return get_text(item, "type") in _SERVER_TOOLS and not local


def is_tool(item: Any) -> bool:
    return get_text(item, "type") in _SERVER_TOOLS | CLIENT_TOOLS


def has_result_item(item: Any) -> bool:
    """Whether the result comes as an item of its own."""
    return get_text(item, "type") in ("shell_call", "tool_search_call")


def tool_name(item: Any) -> str:
    kind = get_text(item, "type")
    return f"mcp.{get_text(item, 'name')}" if kind == "mcp_call" else kind.removesuffix("_call")


def tool_input(item: Any) -> Any:
    """Return the input of the tool as JSON."""
    for key in ("queries", "code"):
        if get(item, key) is not None:
            return {key: to_json(get(item, key))}
    found: Any = next((value for key in _INPUTS if (value := get(item, key)) is not None), {})
    return _decoded(found) if isinstance(found, str) else to_json(found)


def tool_output(item: Any) -> Any:
    """Return the result of the tool as JSON, or its status where the API gives no result."""
    found = next((value for key in _OUTPUTS if (value := get(item, key)) is not None), None)
    if found is None:
        return {"status": get_text(item, "status") or "completed"}
    return _decoded(found) if isinstance(found, str) else to_json(found)


def failed(item: Any) -> bool:
    return get(item, "status") == "failed" or bool(get(item, "error"))


def image_url(item: Any) -> tuple[str, str] | None:
    """Return the data URL and the media type of a generated image, None for any other item."""
    data = get_text(item, "result")
    if get(item, "type") != "image_generation_call" or not data:
        return None
    image_format = get_text(item, "output_format") or "png"
    media_type = "image/svg+xml" if image_format == "svg" else f"image/{image_format}"
    return f"data:{media_type};base64,{data}", media_type


def _decoded(text: str) -> Any:
    # Objects and arrays travel as text here; any other text is meant as text.
    if text[:1] in ("{", "["):
        try:
            return to_json(json.loads(text))
        except (ValueError, RecursionError):
            return text
    return text or {}
