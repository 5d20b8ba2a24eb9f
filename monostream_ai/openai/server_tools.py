"""Reads calls and results of tools that are no functions of the program.

Most of them run at the model's provider. The tables follow the item types of the Responses API,
openai-python 3.57.0; items of other types are read by the form of their names.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from monostream_ai.openai.content import File
from monostream_ai.recording.fields import (
    get,
    get_list,
    get_text,
    named_fields,
    present_fields,
    to_json,
)

_CLIENT_TOOLS: Final = frozenset({"local_shell_call", "apply_patch_call", "computer_call"})
"""Calls that the program itself has to execute, like functions."""

_WITHOUT_SUFFIX: Final = frozenset({"program"})
"""Types of calls that do not end with `_call`."""

RESULT_ITEMS: Final[Mapping[str, str]] = {
    "shell_call_output": "output",
    "tool_search_output": "tools",
    "program_output": "result",
}
"""Items that hold the result of another item, and the field that holds it."""

_INPUTS: Final = ("action", "operation", "arguments")
_OUTPUTS: Final = ("results", "outputs", "output")
_NO_INPUT: Final = frozenset(
    {
        "type",
        "id",
        "call_id",
        "name",
        "status",
        "agent",
        "caller",
        "created_by",
        "execution",
        "environment",
        "error",
        "fingerprint",
        "server_label",
        "approval_request_id",
        "result",
        "tools",
        *_OUTPUTS,
    }
)

_NAMED_INPUTS: Final = ("queries", "code")
"""Fields that are the whole input under their own name."""

_RESULT_FIELDS: Final = frozenset({"result", "tools", *_OUTPUTS})
_PLUMBING: Final = _NO_INPUT - _RESULT_FIELDS | {"container_id"}
"""Fields of a call or a result that hold no content, or are read by their names."""
_OTHERWISE_READ: Final = frozenset({"function_call", "custom_tool_call", "image_generation_call"})

XAI_TOOLS: Final = frozenset(
    {
        "web_search_with_snippets",
        "browse_page",
        "x_user_search",
        "x_keyword_search",
        "x_semantic_search",
        "x_thread_fetch",
        "view_image",
        "view_x_video",
    }
)
"""Names of xAI's own tools, which it reports as custom calls.

Source: vercel/ai, @ai-sdk/xai, src/responses/xai-responses-language-model.ts.
"""
_LOADING_TOOLS: Final = frozenset({"tool_search", "namespace"})
"""Tools that bring others, so that the list of a request is not complete."""


def is_call(kind: str) -> bool:
    return kind.endswith("_call") or kind in _WITHOUT_SUFFIX


def is_result(kind: str) -> bool:
    return kind.endswith("_output")


def is_by_provider(item: Any, tools: Any) -> bool:
    """Whether the provider executes this call.

    Args:
        tools: The tools of the request, as the response repeats them. A custom call of a tool that
            is not among them is the provider's own.
    """
    kind = get_text(item, "type")
    if kind == "custom_tool_call":
        return not _is_declared(get_text(item, "name"), tools)
    if kind == "shell_call":
        return get_text(item, "environment", "type").startswith("container")
    if kind == "tool_search_call":
        return get_text(item, "execution") != "client"
    return kind != "function_call" and kind not in _CLIENT_TOOLS


def waits_for_item(item: Any) -> bool:
    """Whether the result comes as an item of its own."""
    named = get_text(item, "type") in ("shell_call", "tool_search_call", "program")
    return not has_output(item) and (named or bool(get_text(item, "call_id")))


def has_output(item: Any) -> bool:
    return any(get(item, key) not in (None, "", [], {}) for key in _OUTPUTS)


def tool_name(item: Any) -> str:
    kind, name = get_text(item, "type"), get_text(item, "name")
    if kind in ("function_call", "custom_tool_call"):
        return name
    return f"mcp.{name}" if kind == "mcp_call" else name_of_call(kind)


def name_of_call(kind: str) -> str:
    """Return the name of the tool for a type of calls or results."""
    return kind.removesuffix("_output").removesuffix("_call")


def tool_input(item: Any) -> Any:
    """Return the input of the tool as JSON."""
    if get(item, "type") == "image_generation_call":
        prompt = get_text(item, "revised_prompt")
        return {"revised_prompt": prompt} if prompt else {}
    given = {
        key: to_json(value)
        for key, value in named_fields(item).items()
        if key not in _NO_INPUT and value not in (None, "", [])
    }
    key = _only_field(get_text(item, "type"), present_fields(item))
    if key in _NAMED_INPUTS:
        return {key: to_json(get(item, key))}
    if key is None:
        return given
    value = given[key]
    return _decoded(value) if isinstance(value, str) else value


def _only_field(kind: str, fields: Mapping[str, Any]) -> str | None:
    """Return the field of a call that is its whole input, or None if all of them are."""
    if named := next((key for key in _NAMED_INPUTS if key in fields), None):
        return named
    found = next((key for key in _INPUTS if fields.get(key) not in (None, "", [])), None)
    others = fields.keys() - _NO_INPUT - {found}
    has_more = any(fields[key] not in ("", []) for key in others)
    return None if kind == "computer_call" and has_more else found


def fields_not_shown(item: Any) -> dict[str, Any]:
    """Return the fields of a call or a result that neither its input nor its output shows."""
    kind, fields = get_text(item, "type"), present_fields(item)
    if kind in _OTHERWISE_READ:
        return {}
    output = next((key for key in _result_keys(kind) if key in fields), None)
    only = output if is_result(kind) else _only_field(kind, fields)
    if only is None:
        # All fields are shown, except those of results in a call.
        left = set[str]() if is_result(kind) else fields.keys() & _RESULT_FIELDS
    else:
        left = fields.keys() - _PLUMBING
    rest = {key: to_json(fields[key]) for key in sorted(left - {only, output})}
    return {
        key: value
        for key, value in rest.items()
        if value not in ("", [], {}) and not isinstance(value, int | float)
    }


def tool_output(item: Any) -> Any:
    """Return the result of the tool as JSON, or its status where the API gives no result."""
    found = next((value for key in _OUTPUTS if (value := get(item, key)) is not None), None)
    if found is None:
        return {"status": get_text(item, "status") or "completed"}
    return _decoded(found) if isinstance(found, str) else to_json(found)


def result_of(item: Any) -> Any:
    """Return the result in an item of its own as JSON."""
    keys = _result_keys(get_text(item, "type"))
    found = next((value for key in keys if (value := get(item, key)) is not None), None)
    if found is not None:
        return to_json(found)
    rest = named_fields(item).items()
    return {name: to_json(value) for name, value in rest if name not in ("type", "id", "call_id")}


def _result_keys(kind: str) -> Sequence[str]:
    if not is_result(kind):
        return _OUTPUTS
    key = RESULT_ITEMS.get(kind)
    return (key,) if key else (*_OUTPUTS, "result", "tools")


def failed(item: Any) -> bool:
    return get(item, "status") == "failed" or bool(get(item, "error"))


def image_of(item: Any) -> File | None:
    """Return a generated image, or None for any other item."""
    data = get_text(item, "result")
    if get(item, "type") != "image_generation_call" or not data:
        return None
    image_format = get_text(item, "output_format") or "png"
    media_type = "image/svg+xml" if image_format == "svg" else f"image/{image_format}"
    return File(f"data:{media_type};base64,{data}", media_type)


def _is_declared(name: str, tools: Any) -> bool:
    listed = list(_all_tools(tools))
    if name in {get_text(tool, "name") for tool in listed}:
        return True
    complete = bool(listed) and not any(get(tool, "type") in _LOADING_TOOLS for tool in listed)
    return not complete and name not in XAI_TOOLS


def _all_tools(tools: Any) -> Iterator[Any]:
    for tool in tools if isinstance(tools, list | tuple) else ():
        yield tool
        yield from get_list(tool, "tools")


def _decoded(text: str) -> Any:
    # Objects and arrays travel as text here; any other text is meant as text.
    if text[:1] in ("{", "["):
        try:
            return to_json(json.loads(text))
        except (ValueError, RecursionError):
            return text
    return text or {}
