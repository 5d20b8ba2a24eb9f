"""Reads calls and results of the tools that Anthropic runs, in the shapes of the AI SDK.

Source: vercel/ai, @ai-sdk/anthropic@4.0.105, src/anthropic-language-model.ts.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from monostream_ai.recording.fields import get, get_text, to_json

CALLS: Final = frozenset({"tool_use", "server_tool_use", "mcp_tool_use"})
"""Types of blocks that hold a call."""

RESULT: Final = "tool_result"
"""End of the type of every block that holds a result."""

_CODE: Final = "code_execution"
_CODE_TOOLS: Final = frozenset({"bash_code_execution", "text_editor_code_execution"})
"""Tools of the container, which the AI SDK shows as one, with their name as `type` of the input."""

_FOUND_TOOLS: Final = frozenset({"type", "tool_references"})

_AS_SENT: Final = frozenset({"return_code", "tool_use_id"})
"""Keys that keep the API's spelling in a result."""


def tool_name(block: Any) -> str:
    """Return the name of the tool of a call, as the message shows it."""
    name = get_text(block, "toolset_name") or get_text(block, "name") or "unknown"
    return _CODE if is_by_provider(block) and name in _CODE_TOOLS else name


def is_by_provider(block: Any) -> bool:
    return get_text(block, "type") in ("server_tool_use", "mcp_tool_use")


def shown_input(block: Any, given: dict[str, Any]) -> dict[str, Any]:
    """Return the input of a call with the parts of it that the API has in the block's name."""
    name = get_text(block, "name")
    if get_text(block, "toolset_name"):
        return {"action": name, **given}
    if not is_by_provider(block):
        return given
    if name in _CODE_TOOLS:
        return {"type": name, **given}
    if name == _CODE and "code" in given and "type" not in given:
        return {"type": "programmatic-tool-call", **given}
    return given


def call_metadata(block: Any) -> dict[str, Any]:
    """Return what Anthropic wants to know of a call when it comes back, or nothing."""
    if get_text(block, "type") == "mcp_tool_use":
        return {"type": "mcp-tool-use", "serverName": get_text(block, "server_name")}
    metadata: dict[str, Any] = {}
    if toolset := get_text(block, "toolset_name"):
        metadata["toolsetName"] = toolset
    if caller := get_text(block, "caller", "type"):
        tool_id = get_text(block, "caller", "tool_id")
        metadata["caller"] = {"type": caller, **({"toolId": tool_id} if tool_id else {})}
    return metadata


def name_of_result(block: Any) -> str:
    """Return the name of the tool whose result this is, for a result without a call."""
    name = get_text(block, "type").removesuffix(RESULT).removesuffix("_") or "unknown"
    return _CODE if name in _CODE_TOOLS else name


def result_of(block: Any) -> tuple[Any, bool]:
    """Return the result as JSON, and whether the tool failed."""
    kind, content = get_text(block, "type"), to_json(get(block, "content"))
    if kind == "mcp_tool_result":
        return content, get(block, "is_error") is True
    if kind.removesuffix(f"_{RESULT}") in _CODE_TOOLS:
        return content, False
    if isinstance(content, list):
        return [_found_page(each) for each in content], False
    if not isinstance(content, Mapping):
        return content, False
    inner = str(content.get("type"))
    if inner.endswith("_error"):
        told = {key: value for key, value in content.items() if value is not None}
        error = {"type": f"{kind}_error", "errorCode": told.pop("error_code", None)}
        return {**_camel(told), **error}, True
    if inner in ("code_execution_result", "encrypted_code_execution_result"):
        return {**content, "content": content.get("content") or []}, False
    if inner == "tool_search_tool_search_result" and content.keys() <= _FOUND_TOOLS:
        return _camel(content.get("tool_references")), False
    return _camel(content), False


def _found_page(page: Any) -> Any:
    return {"pageAge": None, **_camel(page)} if isinstance(page, Mapping) else page


def _camel(value: Any) -> Any:
    """Return the value with the keys of its objects in camel case, as the AI SDK spells them."""
    if isinstance(value, list):
        return [_camel(each) for each in value]
    if not isinstance(value, Mapping):
        return value
    return {
        key if key in _AS_SENT else _camel_word(key): _camel(inner) for key, inner in value.items()
    }


def _camel_word(key: str) -> str:
    first, *more = key.split("_")
    return first + "".join(word.capitalize() for word in more)
