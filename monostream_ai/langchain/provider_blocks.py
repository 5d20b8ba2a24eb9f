"""Reads content blocks in their provider's own form, as uniform blocks.

LangChain translates the blocks of providers that it knows by name, and passes on all others.
"""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import Any, Final

from langchain_core.messages import AIMessage
from langchain_core.messages.content import KNOWN_BLOCK_TYPES

logger = logging.getLogger(__name__)

UNREAD: Final = "unread"
"""Type of the block that holds a `value` of a `kind` that nobody reads."""

PROGRAM_CALL: Final = "program_call"
"""Type of the block of a call that the program must run and `tool_calls` does not list."""

APPROVAL_REQUEST: Final = "mcp_approval_request"
"""Type of the block that asks whether a provider may call a tool of an MCP server."""

SPOKEN: Final[Mapping[str, str]] = {
    "text": "text",
    "output_text": "text",
    "text-plain": "text",
    "refusal": "text",
    "reasoning": "reasoning",
    "reasoning_content": "reasoning",
    "thinking": "reasoning",
    "redacted_thinking": "reasoning",
}
"""Types of blocks with text that a user reads, and the uniform type for each."""

_TEXT_KEYS: Final = (
    "text",
    "refusal",
    "reasoning",
    "reasoning_content",
    "reasoning_text",
    "thinking",
    "summary",
    "content",
)
CALLS: Final = frozenset(
    {
        "tool_call",
        "tool_call_chunk",
        "invalid_tool_call",
        "tool_use",
        "function_call",
        "custom_tool_call",
        "input_json_delta",
    }
)
"""Blocks that repeat the calls which a message also lists in `tool_calls`."""

_FILE_KEYS: Final = ("url", "base64", "file_id")
_TOLD_KEYS: Final[Mapping[object, tuple[str, ...]]] = {
    "text": ("text",),
    "reasoning": ("reasoning",),
    "server_tool_call": ("args",),
    "server_tool_call_chunk": ("args",),
    "server_tool_result": ("output",),
    PROGRAM_CALL: ("args",),
    APPROVAL_REQUEST: ("arguments",),
    UNREAD: ("value",),
    **dict.fromkeys(("image", "audio", "video", "file"), _FILE_KEYS),
}
"""Keys of each uniform block that a user gets to see."""

_NO_CONTENT_KEYS: Final = frozenset(
    {
        "type",
        "id",
        "index",
        "name",
        "call_id",
        "tool_call_id",
        "tool_use_id",
        "status",
        "phase",
        "mime_type",
        "language",
        "annotations",
        "citations",
        "extras",
        "signature",
        "encrypted_content",
        "data",
        "cache_control",
        "arguments",
        "partial_json",
        "error",
        "error_code",
        "server_label",
        "approval_request_id",
        "execution",
        "container_id",
        "outcome",
    }
)
"""Keys whose strings are no content, or are read elsewhere: sources, arguments as JSON text, and
state of reasoning. An error of a provider's tool is not shown to users.
"""

_PROVIDERS: Final = ("anthropic", "openai", "google_genai", "bedrock_converse")
_RESULT_KEYS: Final = ("output", "outputs", "result", "results", "tools", "error")
_NO_INPUT_KEYS: Final = frozenset({"type", "id", "call_id", "status", "index", *_RESULT_KEYS})
_RUN_BY_PROGRAM: Final = frozenset(
    {"computer_call", "local_shell_call", "shell_call", "apply_patch_call"}
)
"""Items of OpenAI that the program must run. Source: openai-python 3.57, `ResponseOutputItem`."""


def read_block(block: Mapping[str, Any], message: AIMessage) -> Iterator[Mapping[str, Any]]:
    """Yield the uniform blocks for a block of the message."""
    sent = as_provider_sent(block)
    kind, index = sent.get("type"), block.get("index", sent.get("index"))
    if kind in ("text", "reasoning") and isinstance(sent.get(kind), str):
        yield sent
    elif isinstance(kind, str) and kind in SPOKEN:
        yield from _spoken(sent, SPOKEN[kind], index)
    elif kind == "input_json_delta" and not getattr(message, "tool_call_chunks", None):
        arguments = sent.get("partial_json") or ""
        yield {"type": "server_tool_call_chunk", "args": arguments, "index": index}
    elif (
        kind in CALLS
        or kind == APPROVAL_REQUEST
        or (kind in KNOWN_BLOCK_TYPES and kind != "non_standard")
    ):
        yield sent
    elif (translated := _translated(sent, message)) is not None:
        yield from translated
    elif isinstance(kind, str) and kind.endswith("_output"):
        yield _result_of(sent, kind.removesuffix("_output").removesuffix("_call"))
    elif isinstance(kind, str) and kind.endswith("_call"):
        yield from _call_of(sent, kind.removesuffix("_call"))
    elif isinstance(text := sent.get("text"), str) and text:
        yield {**sent, **spoken_block("text", text, index)}
    elif sent:
        yield unread_block(sent)


def as_provider_sent(block: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the block inside a `non_standard` one, or the block itself."""
    value = block.get("value")
    return value if block.get("type") == "non_standard" and isinstance(value, Mapping) else block


def unread_block(sent: Mapping[str, Any]) -> dict[str, Any]:
    return {"type": UNREAD, "kind": f"block {sent.get('type')}", "value": sent}


def told_strings(blocks: Iterable[Mapping[str, Any]]) -> Iterator[str]:
    """Yield the strings in uniform blocks that a user gets to see."""
    for block in blocks:
        for key in _TOLD_KEYS.get(block.get("type"), ()):
            yield from _strings(block.get(key))


def content_strings(sent: Mapping[str, Any]) -> Iterator[str]:
    """Yield the strings in a provider's block, except names and its state for later calls."""
    yield from _strings(as_provider_sent(sent), skipping=_NO_CONTENT_KEYS)


def _strings(value: Any, skipping: Collection[str] = ()) -> Iterator[str]:
    if isinstance(value, str):
        if value:
            yield value
    elif isinstance(value, Mapping):
        for key, item in value.items():
            if key not in skipping:
                yield from _strings(item, skipping)
    elif isinstance(value, list | tuple):
        for item in value:
            yield from _strings(item, skipping)


def spoken_block(kind: str, text: str, index: object = None) -> dict[str, Any]:
    block = {"type": kind, kind: text}
    return block if index is None else {**block, "index": index}


def texts_of(value: Any) -> Iterator[str]:
    """Yield the texts in a text, a list of texts or blocks, or a block, however deep."""
    if isinstance(value, str):
        if value:
            yield value
    elif isinstance(value, list | tuple):
        for item in value:
            yield from texts_of(item)
    elif isinstance(value, Mapping):
        # Some servers repeat a text under a second key.
        repeated: set[str] = set()
        for key in _TEXT_KEYS:
            found = [text for text in texts_of(value.get(key)) if text not in repeated]
            repeated.update(found)
            yield from found


def _spoken(sent: Mapping[str, Any], shown: str, index: object) -> Iterator[Mapping[str, Any]]:
    rest = {key: value for key, value in sent.items() if key not in (*_TEXT_KEYS, "type")}
    summary, *others = (
        list(texts_of(part)) for part in (sent.get("summary"), {**sent, "summary": None})
    )
    texts = [*summary, *("".join(other) for other in others if other)] or [""]
    for number, text in enumerate(texts):
        # Each text of a summary is a paragraph.
        place = index if number == 0 else f"{index}:{number}"
        yield {**(rest if number == 0 else {}), **spoken_block(shown, text, place)}


def _translated(sent: Mapping[str, Any], message: AIMessage) -> list[Any] | None:
    """Translate a block alone, as LangChain would if it knew the provider."""
    for provider in _PROVIDERS:
        alone = type(message)(content=[dict(sent)], response_metadata={"model_provider": provider})
        try:
            blocks = alone.content_blocks
        except Exception:
            # A translator may expect keys that this block lacks.
            logger.debug("not a block of %s", provider, exc_info=True)
            blocks = []
        if blocks and all(block["type"] != "non_standard" for block in blocks):
            return list(blocks)
    return None


def _call_of(sent: Mapping[str, Any], name: str) -> Iterator[Mapping[str, Any]]:
    """Yield the call in an item of OpenAI or of a server like it, and the result if it has one."""
    by_program = _is_run_by_program(sent)
    call_id = sent.get("call_id") if by_program else sent.get("id") or sent.get("call_id")
    arguments = {key: value for key, value in sent.items() if key not in _NO_INPUT_KEYS}
    yield {
        "type": PROGRAM_CALL if by_program else "server_tool_call",
        "id": call_id,
        "name": name,
        "args": arguments.get("arguments", arguments),
    }
    if not by_program and any(sent.get(key) is not None for key in _RESULT_KEYS):
        yield {**_result_of(sent, name), "tool_call_id": call_id}


def _result_of(sent: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    results = {key: sent[key] for key in _RESULT_KEYS if sent.get(key) is not None}
    rest = {key: value for key, value in sent.items() if key not in ("type", "id", "call_id")}
    return {
        "type": "server_tool_result",
        "tool_call_id": sent.get("call_id") or sent.get("id"),
        "name": name,
        "status": "error" if sent.get("status") == "failed" else "success",
        "output": next(iter(results.values())) if len(results) == 1 else results or rest,
    }


def _is_run_by_program(sent: Mapping[str, Any]) -> bool:
    environment = sent.get("environment")
    kind = environment.get("type") if isinstance(environment, Mapping) else None
    hosted = isinstance(kind, str) and kind.startswith("container")
    searches = sent.get("type") == "tool_search_call" and sent.get("execution") == "client"
    return searches or (sent.get("type") in _RUN_BY_PROGRAM and not hosted)
