"""Why a model stopped and how many tokens it used, in the words of the AI SDK."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from monostream_ai.openai.fields import get

_REASONS: Final[Mapping[str, str]] = {
    **dict.fromkeys(("stop", "end_turn", "stop_sequence", "STOP", "completed"), "stop"),
    **dict.fromkeys(("length", "max_tokens", "MAX_TOKENS", "max_output_tokens"), "length"),
    **dict.fromkeys(("tool_calls", "tool_use", "function_call"), "tool-calls"),
    **dict.fromkeys(("content_filter", "refusal", "SAFETY"), "content-filter"),
}
"""OpenAI's words, and those that servers with its API pass on from other models."""

_COUNTS: Final = (
    ("inputTokens", ("input_tokens",), ("prompt_tokens",)),
    ("outputTokens", ("output_tokens",), ("completion_tokens",)),
    ("totalTokens", ("total_tokens",), ("total_tokens",)),
    ("cachedInputTokens", ("input_tokens_details", "cached_tokens"), ("prompt_tokens_details", "cached_tokens")),
    ("reasoningTokens", ("output_tokens_details", "reasoning_tokens"), ("completion_tokens_details", "reasoning_tokens")),
)
"""Names of `LanguageModelUsage` (vercel/ai, ai@7.0.173, src/types/usage.ts), of a response, and of a chat completion."""


def finish_reason(given: str) -> str:
    return _REASONS.get(given, "other")


def usage_of(usage: Any) -> dict[str, int]:
    """Return the counts above zero."""
    counts = {name: get(usage, *response) or get(usage, *completion) for name, response, completion in _COUNTS}
    return {name: count for name, count in counts.items() if isinstance(count, int) and count}
