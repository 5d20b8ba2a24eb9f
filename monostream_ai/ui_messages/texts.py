"""Default texts for users and models, and the names that the AI SDK gives to finish reasons.

A default text stands where the real message is missing or private.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

DENIED_TEXT: Final = "Tool execution denied."
"""Result of a call that the user did not allow. Source: `convertToModelMessages` of ai@7.0.173."""

FAILED_TEXT: Final = "The tool failed."

INCOMPLETE_INPUT_TEXT: Final = "The call was not completed."
"""Error of a tool call whose input stopped arriving."""

INPUT_TOO_LARGE_TEXT: Final = "The input is too large to show."

INVALID_INPUT_TEXT: Final = "The arguments of the call are not valid."

NOT_SHOWN_TEXT: Final = "The result cannot be shown."

TOO_LARGE_TEXT: Final = "The result is too large to show."

_FINISH_REASONS: Final[Mapping[str, str]] = {
    **dict.fromkeys(("stop", "end_turn", "stop_sequence", "STOP", "completed"), "stop"),
    **dict.fromkeys(("length", "max_tokens", "MAX_TOKENS", "max_output_tokens"), "length"),
    **dict.fromkeys(("tool_calls", "tool_use", "function_call"), "tool-calls"),
    **dict.fromkeys(("content_filter", "refusal", "SAFETY"), "content-filter"),
}
"""Finish reasons of OpenAI, Anthropic and Gemini.

Servers that copy OpenAI's API pass on the words of other vendors.
"""


def finish_reason_of(vendor_word: str) -> str:
    """Translate a vendor's finish reason to one of `FINISH_REASONS`, or `other` if unknown."""
    return _FINISH_REASONS.get(vendor_word, "other")
