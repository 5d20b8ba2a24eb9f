"""Token counts of a response and of a chat completion, under the names of the AI SDK."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from monostream_ai.recording.fields import get

_COUNTS: Final[Mapping[str, Sequence[tuple[str, ...]]]] = {
    "inputTokens": [("input_tokens",), ("prompt_tokens",)],
    "outputTokens": [("output_tokens",), ("completion_tokens",)],
    "totalTokens": [("total_tokens",)],
    "cachedInputTokens": [
        ("input_tokens_details", "cached_tokens"),
        ("prompt_tokens_details", "cached_tokens"),
        ("prompt_cache_hit_tokens",),
        ("cached_tokens",),
    ],
    "reasoningTokens": [
        ("output_tokens_details", "reasoning_tokens"),
        ("completion_tokens_details", "reasoning_tokens"),
    ],
}
"""Names of `LanguageModelUsage` (vercel/ai, ai@7.0.173, src/types/usage.ts), then those of a
response, of a chat completion, and of DeepSeek and Moonshot.
"""


def usage_of(usage: Any) -> dict[str, int]:
    """Return the token counts above zero."""
    if usage is None:
        return {}
    counts = {
        name: next((count for path in paths if _is_count(count := get(usage, *path))), 0)
        for name, paths in _COUNTS.items()
    }
    return {name: count for name, count in counts.items() if count}


def usage_in(*holders: Any) -> dict[str, int]:
    """Return the counts of the first of these objects that has some.

    Groq and Moonshot send them in places of their own.
    """
    return next((counts for holder in holders if (counts := usage_of(get(holder, "usage")))), {})


def _is_count(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value > 0
