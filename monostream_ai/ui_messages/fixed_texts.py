"""What a user reads, or a model is told, where nobody else has words, or has words that are not for
them.
"""

from __future__ import annotations

from typing import Final

DENIED_TEXT: Final = "Tool execution denied."
"""Of a call that the user did not allow. Source: `convertToModelMessages` of ai@7.0.173."""

FAILED_TEXT: Final = "The tool failed."

INCOMPLETE_INPUT_TEXT: Final = "The call was not completed."
"""Of a tool call whose input never became whole."""

INPUT_TOO_LARGE_TEXT: Final = "The input is too large to show."

INVALID_INPUT_TEXT: Final = "The arguments of the call are not valid."

NOT_SHOWN_TEXT: Final = "The result cannot be shown."

TOO_LARGE_TEXT: Final = "The result is too large to show."
