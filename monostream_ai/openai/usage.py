"""Token counts of a response and of a chat completion, under the names of the AI SDK."""

from __future__ import annotations

from typing import Any, Final

from monostream_ai.recording.fields import get

_COUNTS: Final = (
    ("inputTokens", ("input_tokens",), ("prompt_tokens",)),
    ("outputTokens", ("output_tokens",), ("completion_tokens",)),
    ("totalTokens", ("total_tokens",), ("total_tokens",)),
    (
        "cachedInputTokens",
        ("input_tokens_details", "cached_tokens"),
        ("prompt_tokens_details", "cached_tokens"),
    ),
    (
        "reasoningTokens",
        ("output_tokens_details", "reasoning_tokens"),
        ("completion_tokens_details", "reasoning_tokens"),
    ),
)
"""Names of `LanguageModelUsage` (vercel/ai, ai@7.0.173, src/types/usage.ts), then those of a
response and of a chat completion.
"""


def usage_of(usage: Any) -> dict[str, int]:
    """Return the token counts above zero."""
    counts = {
        name: get(usage, *response) or get(usage, *completion)
        for name, response, completion in _COUNTS
    }
    return {name: count for name, count in counts.items() if isinstance(count, int) and count}
