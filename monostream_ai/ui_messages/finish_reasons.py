"""Why a model stopped: the words of its vendor, in those of the AI SDK."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

_REASONS: Final[Mapping[str, str]] = {
    **dict.fromkeys(("stop", "end_turn", "stop_sequence", "STOP", "completed"), "stop"),
    **dict.fromkeys(("length", "max_tokens", "MAX_TOKENS", "max_output_tokens"), "length"),
    **dict.fromkeys(("tool_calls", "tool_use", "function_call"), "tool-calls"),
    **dict.fromkeys(("content_filter", "refusal", "SAFETY"), "content-filter"),
}
"""The words of OpenAI, Anthropic and Gemini; servers with OpenAI's API pass on those of the others.
"""


def finish_reason_of(vendor_word: str) -> str:
    """Return one of `FINISH_REASONS`, `other` for a word that is not known."""
    return _REASONS.get(vendor_word, "other")
