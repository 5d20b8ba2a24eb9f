"""Token counts of a message, under the names of the AI SDK."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from monostream_ai.recording.fields import get, get_list


def usage_of(usage: Mapping[str, Any]) -> dict[str, int]:
    """Return the token counts above zero.

    Tokens read from and written to the cache count as input. Where the answer took several
    iterations, the API leaves those of a compaction out of its totals.
    Source: vercel/ai, @ai-sdk/anthropic@4.0.105, src/convert-anthropic-usage.ts.
    """
    iterations = get_list(usage, "iterations")
    own = [each for each in iterations if get(each, "type") in ("compaction", "message")]
    if not own or any(get(each, "type") == "fallback_message" for each in iterations):
        own = [usage]
    cached = _count(usage, "cache_read_input_tokens")
    given = sum(_count(each, "input_tokens") for each in own)
    given += cached + _count(usage, "cache_creation_input_tokens")
    made = sum(_count(each, "output_tokens") for each in own)
    counts = {
        "inputTokens": given,
        "outputTokens": made,
        "totalTokens": given + made,
        "cachedInputTokens": cached,
        "reasoningTokens": _count(usage, "output_tokens_details", "thinking_tokens"),
    }
    return {name: count for name, count in counts.items() if count}


def _count(value: Any, *path: str) -> int:
    found = get(value, *path)
    return found if isinstance(found, int) else 0
