"""Why a model stopped and how many tokens it used, in the words of the AI SDK."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from langchain_core.messages import AIMessage

from monostream_ai.ui_messages.texts import finish_reason_of

_DETAILS: Final = (
    ("input_token_details", "cache_read", "cachedInputTokens"),
    ("output_token_details", "reasoning", "reasoningTokens"),
)


def finish_reason(metadata: Mapping[str, Any], *, calls_tools: bool = False) -> str:
    """Return the reason that a model's metadata gives; a model that gives none has stopped.

    Args:
        metadata: `response_metadata` of a message, or `generation_info` of a completion.
    """
    if calls_tools:
        return "tool-calls"
    incomplete = metadata.get("incomplete_details")
    given = incomplete.get("reason") if isinstance(incomplete, dict) else None
    given = (
        given
        or metadata.get("finish_reason")
        or metadata.get("stop_reason")
        or metadata.get("status")
    )
    return finish_reason_of(str(given)) if given else "stop"


class Usage:
    """Tokens used by all models of one message, hidden ones too."""

    def __init__(self) -> None:
        self._tokens: dict[str, int] = {}

    def add(self, message: AIMessage) -> None:
        usage: Mapping[str, Any] | None = message.usage_metadata
        if not usage:
            return
        self._add("inputTokens", usage.get("input_tokens"))
        self._add("outputTokens", usage.get("output_tokens"))
        self._add("totalTokens", usage.get("total_tokens"))
        for details, key, name in _DETAILS:
            self._add(name, (usage.get(details) or {}).get(key))

    def as_metadata(self) -> dict[str, int]:
        """Return the counts under the names of `LanguageModelUsage`. Source: vercel/ai, ai@7.0.173,
        src/types/usage.ts.
        """
        return dict(self._tokens)

    def _add(self, name: str, count: int | None) -> None:
        if count:
            self._tokens[name] = self._tokens.get(name, 0) + count
