"""What one message of a model holds, in LangChain's uniform content blocks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from langchain_core.messages import AIMessage


def blocks_of(message: AIMessage) -> Sequence[Mapping[str, Any]]:
    """Return the content blocks; see `langchain_core.messages.content`."""
    content = message.content
    # Most tokens are plain text, for which `content_blocks` would take ten times as long.
    if isinstance(content, str) and not message.additional_kwargs:
        return [{"type": "text", "text": content}] if content else []
    blocks: Any = message.content_blocks
    return [block for block in blocks if isinstance(block, dict)]
