"""Turns calls of server tools back into the blocks that Anthropic sent; `server_tools` reads those.

Source: anthropic-sdk-python 2.14.0, types/server_tool_use_block_param.py and the results beside it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Final

from monostream_ai.ui_messages.model_contents import ProviderCall

_ID: Final = "srvtoolu_"
_MCP_ID: Final = "mcptoolu_"
"""Beginnings of the ids that Anthropic gives to the calls it runs. It refuses any other."""

_CODE: Final = "code_execution"
_CODE_TOOLS: Final = frozenset({"bash_code_execution", "text_editor_code_execution"})
_BY_CODE: Final = "programmatic-tool-call"
_TOOL_SEARCH: Final = "tool_search_tool"


def sent_back(call: ProviderCall, state: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the blocks of a call and its result; none for a call of another provider.

    Args:
        state: Values of the call's `providerMetadata.anthropic`.
    """
    if state.get("type") == "mcp-tool-use" and call.call_id.startswith(_MCP_ID):
        return _by_mcp_server(call, state)
    if not call.call_id.startswith(_ID):
        return []
    name, given = call.name, dict(call.arguments)
    inner = given.get("type")
    if name == _CODE and inner in (*_CODE_TOOLS, _BY_CODE):
        del given["type"]
        name = _CODE if inner == _BY_CODE else str(inner)
    kind = _TOOL_SEARCH if name.startswith(_TOOL_SEARCH) else name
    block = {"type": "server_tool_use", "id": call.call_id, "name": name, "input": given}
    result = {
        "type": f"{kind.removesuffix('_tool')}_tool_result",
        "tool_use_id": call.call_id,
        "content": _content(call, kind),
    }
    return [block | caller_of(state), *([] if call.waiting else [result])]


def caller_of(state: Mapping[str, Any]) -> dict[str, Any]:
    """Return the `caller` of a call, such as code of the model, if it is known."""
    caller = state.get("caller")
    return {"caller": _snake(caller)} if isinstance(caller, Mapping) else {}


def _by_mcp_server(call: ProviderCall, state: Mapping[str, Any]) -> list[dict[str, Any]]:
    block = {
        "type": "mcp_tool_use",
        "id": call.call_id,
        "name": call.name,
        "server_name": state.get("serverName"),
        "input": call.arguments,
    }
    result = {
        "type": "mcp_tool_result",
        "tool_use_id": call.call_id,
        "is_error": call.failed,
        "content": _parsed(call.output) if call.failed else call.output,
    }
    return [block] if call.waiting else [block, result]


def _content(call: ProviderCall, kind: str) -> Any:
    content = _snake(_parsed(call.output) if call.failed else call.output)
    if kind == _TOOL_SEARCH and isinstance(content, list):
        return {"type": "tool_search_tool_search_result", "tool_references": content}
    return content


def _parsed(error_text: Any) -> Any:
    try:
        return json.loads(error_text)
    except (TypeError, ValueError, RecursionError):
        return error_text


def _snake(value: Any) -> Any:
    """Return the value with the keys of its objects as the API spells them."""
    if isinstance(value, list):
        return [_snake(each) for each in value]
    if not isinstance(value, Mapping):
        return value
    return {_snake_word(str(key)): _snake(inner) for key, inner in value.items()}


def _snake_word(key: str) -> str:
    return "".join(f"_{letter.lower()}" if letter.isupper() else letter for letter in key)
