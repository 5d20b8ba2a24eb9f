"""Reads a message's content as LangChain's uniform content blocks.

Blocks that LangChain passes on in their provider's own form are read in `provider_blocks`. A block
of an unknown form becomes an `unread` one, so that nothing is lost.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from langchain_core.messages import AIMessage

from monostream_ai.langchain.endings import is_refusal
from monostream_ai.langchain.provider_blocks import read_block, spoken_block, texts_of

logger = logging.getLogger(__name__)

_REASONING_FIELDS: Final = ("reasoning_content", "reasoning", "thinking")
"""Fields beside the content that hold reasoning, as of DeepSeek, xAI, Ollama and OpenRouter."""

_LISTED: Final = frozenset({"tool_call", "tool_use", "function_call", "custom_tool_call"})
_ARGUMENTS: Final = ("args", "input", "arguments")
"""Blocks that hold a call of a tool of the program, and the keys of its arguments."""


def blocks_of(message: AIMessage, *, whole: bool = False) -> Sequence[Mapping[str, Any]]:
    """Return the content blocks; see `langchain_core.messages.content`.

    Args:
        whole: Read what the metadata adds to the content too, such as the reason of a refusal.
    """
    content = message.content
    # Most tokens are plain text, for which `content_blocks` would take ten times as long.
    plain = isinstance(content, str) and not message.additional_kwargs
    if plain and not (whole and message.response_metadata):
        return [{"type": "text", "text": content}] if content else []
    blocks = _translated(message)
    refusal = message.additional_kwargs.get("refusal")
    if isinstance(refusal, str):
        # LangChain also adds it as one block or two, which would show it again.
        blocks = [
            *(block for block in blocks if not is_refusal(block)),
            {"type": "refusal", "refusal": refusal},
        ]
    read = [shown for block in blocks for shown in read_block(block, message)]
    known = set(_strings(read))
    beside = [
        spoken_block("reasoning", text)
        for field in _REASONING_FIELDS
        for text in texts_of(message.additional_kwargs.get(field))
    ]
    # A translator of LangChain leaves out the forms that its own package never makes.
    left_out = (shown for raw in _raw(message) for shown in read_block(raw, message))
    return [
        *(block for block in beside if not _is_known(block, known)),
        *read,
        *(
            block
            for block in left_out
            if block["type"] in ("text", "reasoning") and not _is_known(block, known)
        ),
    ]


def listed_calls(
    message: AIMessage, blocks: Sequence[Mapping[str, Any]]
) -> list[Mapping[str, Any]]:
    """Return the calls of the program's tools: listed by the message, or only in its content."""
    listed: list[Mapping[str, Any]] = [*message.tool_calls]
    known = {call["id"] for call in [*message.tool_calls, *message.invalid_tool_calls]}
    for block in blocks:
        call_id = block.get("call_id") or block.get("id")
        name, kind = block.get("name"), block.get("type")
        if kind in _LISTED and isinstance(call_id, str) and name and call_id not in known:
            known.add(call_id)
            given: Any = next((block[key] for key in _ARGUMENTS if key in block), {})
            listed.append({"id": call_id, "name": str(name), "args": given})
    return listed


def _translated(message: AIMessage) -> list[Any]:
    content = message.content
    if isinstance(content, list) and not all(isinstance(item, dict) for item in content):
        # Some translators skip plain strings in a list.
        message = message.model_copy(update={"content": _raw(message)})
    try:
        return [block for block in message.content_blocks if isinstance(block, dict)]
    except Exception:
        # A translator may fail for a block that its own package never makes.
        logger.debug("LangChain cannot translate this content", exc_info=True)
        return _raw(message)


def _raw(message: AIMessage) -> list[dict[str, Any]]:
    content: Any = message.content
    items = content if isinstance(content, list) else [content]
    return [
        item if isinstance(item, dict) else {"type": "text", "text": item}
        for item in items
        if item != ""
    ]


def _is_known(block: Mapping[str, Any], known: set[str]) -> bool:
    return not block[block["type"]] or block[block["type"]] in known


def _strings(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for item in value.values():
            yield from _strings(item)
    elif isinstance(value, list | tuple):
        for item in value:
            yield from _strings(item)
