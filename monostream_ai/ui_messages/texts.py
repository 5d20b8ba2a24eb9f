"""Default texts for users and models, and the names that the AI SDK gives to finish reasons.

A default text stands where the real message is missing or private.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

DENIED_TEXT: Final = "Tool execution denied."
"""Result of a call that the user did not allow. Source: `convertToModelMessages` of ai@7.0.173."""

FAILED_TEXT: Final = "The tool failed."

FILE_NOT_STORED_TEXT: Final = "A file ({file}) could not be stored."

FILE_REFUSED_TEXT: Final = "A file ({file}) that you cannot read."
"""Stands for a file of an earlier question that no model gets: its question got an error."""

FILE_SHOWN_TEXT: Final = "A file ({file}) that the user sees."
"""Stands for a file in the result of a tool, where a model would read it as base64 text."""

FILE_TOO_LARGE_TEXT: Final = "A file ({file}) is too large to show."

INCOMPLETE_INPUT_TEXT: Final = "The call was not completed."
"""Error of a tool call whose input stopped arriving."""

INPUT_TOO_LARGE_TEXT: Final = "The input is too large to show."

INVALID_INPUT_TEXT: Final = "The arguments of the call are not valid."

NOT_SHOWN_TEXT: Final = "The result cannot be shown."

REFUSED_TEXT: Final = "The model refused to answer."

TOO_LARGE_TEXT: Final = "The result is too large to show."


def file_text(text: str, media_type: str, size: int) -> str:
    """Return one of the texts about a file, with its media type, and its size in bytes if it is
    large.
    """
    shown = f", {size / 1e6:.1f} MB" if size >= 100_000 else ""
    return text.format(file=f"{media_type[:100]}{shown}")


_FINISH_REASONS: Final[Mapping[str, str]] = {
    **dict.fromkeys(
        ("stop", "end_turn", "stop_sequence", "completed", "complete", "eos", "eos_token"), "stop"
    ),
    **dict.fromkeys(
        (
            "length",
            "max_tokens",
            "max_output_tokens",
            "model_length",
            "model_context_window_exceeded",
        ),
        "length",
    ),
    **dict.fromkeys(("tool_calls", "tool_use", "tool_call", "function_call"), "tool-calls"),
    **dict.fromkeys(
        (
            "content_filter",
            "content_filtered",
            "refusal",
            "safety",
            "image_safety",
            "recitation",
            "image_recitation",
            "blocklist",
            "prohibited_content",
            "image_prohibited_content",
            "spii",
            "guardrail_intervened",
            "error_toxic",
            "sensitive",
            "model_armor",
        ),
        "content-filter",
    ),
    **dict.fromkeys(
        (
            "error",
            "failed",
            "malformed_function_call",
            "unexpected_tool_call",
            "malformed_model_output",
            "malformed_tool_use",
            "malformed_response",
            "too_many_tool_calls",
            "missing_thought_signature",
            "network_error",
            "insufficient_system_resource",
            "error_limit",
            "timeout",
        ),
        "error",
    ),
}
"""Finish reasons in lower case, of OpenAI, Anthropic, Gemini, Bedrock, Cohere, Mistral and Ollama.

Servers that copy OpenAI's API pass on the words of other vendors. A pause (`pause_turn` of
Anthropic) is `other`, since the answer is not complete.
"""


def finish_reason_of(vendor_word: str) -> str:
    """Translate a vendor's finish reason to one of `FINISH_REASONS`, or `other` if unknown.

    A word may be repeated, as in `stopstop`: LangChain joins the words of two chunks. An enum may
    have its class before the word, as in `FinishReason.STOP`.
    """
    # Gemini's copy of OpenAI's API adds its own word: `content_filter: PROHIBITED_CONTENT`.
    word = vendor_word.partition(":")[0].strip().rpartition(".")[2].lower().replace("-", "_")
    for known, reason in _FINISH_REASONS.items():
        if word and word == known * (len(word) // len(known)):
            return reason
    return "other"
