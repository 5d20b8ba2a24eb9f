"""Reads a message's content as LangChain's uniform content blocks.

Blocks that LangChain passes on in their provider's own form are translated here.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from langchain_core.messages import AIMessage

_PROVIDER_BLOCKS: Final[Mapping[object, str]] = {"thinking": "reasoning", "refusal": "text"}
"""The uniform type for each of a provider's own types, which are also the keys of the text."""


def blocks_of(message: AIMessage) -> Sequence[Mapping[str, Any]]:
    """Return the content blocks; see `langchain_core.messages.content`."""
    content = message.content
    # Most tokens are plain text, for which `content_blocks` would take ten times as long.
    if isinstance(content, str) and not message.additional_kwargs:
        return [{"type": "text", "text": content}] if content else []
    blocks: Any = message.content_blocks
    refusal = message.additional_kwargs.get("refusal")
    if isinstance(refusal, str):
        # LangChain also adds it as one block or two, which would show it again.
        blocks = [
            *(block for block in blocks if not _is_refusal(block)),
            {"type": "text", "text": refusal},
        ]
    return [_read(block) for block in blocks if isinstance(block, dict)]


def refuses(message: AIMessage) -> bool:
    """Whether the model declines to answer; its provider may report that as a normal stop."""
    content: Any = message.content if isinstance(message.content, list) else ()
    return bool(message.additional_kwargs.get("refusal")) or any(map(_is_refusal, content))


def _is_refusal(block: object) -> bool:
    return isinstance(block, Mapping) and _as_provider_sent(block).get("type") == "refusal"


def _read(block: Mapping[str, Any]) -> Mapping[str, Any]:
    sent = _as_provider_sent(block)
    kind = sent.get("type")
    shown = _PROVIDER_BLOCKS.get(kind)
    text = None if shown is None else sent.get(str(kind))
    if shown is None or not isinstance(text, str):
        return block
    return {"type": shown, shown: text, "index": block.get("index", sent.get("index"))}


def _as_provider_sent(block: Mapping[str, Any]) -> Mapping[str, Any]:
    value = block.get("value")
    return value if block.get("type") == "non_standard" and isinstance(value, Mapping) else block
