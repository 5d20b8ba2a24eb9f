"""What became of tool calls, as the user sees it."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

from langchain_core.messages import ToolMessage

from monostream_ai.errors import MASKED_ERROR_TEXT
from monostream_ai.langchain.message import AgentMessage
from monostream_ai.langchain.outputs import (
    error_text_of,
    is_command,
    is_control_flow,
    output_value,
    tool_messages,
)
from monostream_ai.ui_messages import Chunk, to_json_value
from monostream_ai.ui_messages.call_ids import CallIds
from monostream_ai.ui_messages.texts import NOT_SHOWN_TEXT

logger = logging.getLogger(__name__)


class Answers:
    """Gives tool calls their results; a call that has one keeps it. A function of the program that
    fails leaves no call without.

    Args:
        error_text: Makes the text that a browser reads about a tool that failed.
        tool_output: Makes the JSON value that a browser sees of what a tool returned (a
            `ToolMessage`, or the plain value).
    """

    def __init__(
        self,
        message: AgentMessage,
        calls: CallIds,
        *,
        error_text: Callable[[BaseException], str] | None,
        tool_output: Callable[[Any], Any] | None,
    ) -> None:
        self._message = message
        self._calls = calls
        self._error_text = error_text
        self._tool_output = tool_output

    def of_tool(self, call_id: str, output: Any) -> list[Chunk]:
        """Map what a tool that ran for this call returned."""
        messages = list(tool_messages(output))
        if not messages and not is_command(output):
            return self._answer(call_id, output)
        if len(messages) == 1:
            return self._answer(call_id, messages[0])
        return self._answer_each(messages)

    def of_node(self, outputs: Any) -> list[Chunk]:
        """Map the answers that a node gives by itself, as for an unknown tool or for one that a
        human rejected.
        """
        if not self._calls.unanswered:
            return []
        chunks: list[Chunk] = []
        for message in tool_messages(outputs):
            call_id = self._calls.find_unanswered(message.tool_call_id, message.name)
            if (
                call_id is not None
                and message.status == "error"
                and self._message.awaits_decision(call_id)
            ):
                chunks += self._message.refuse(call_id)
            else:
                chunks += self._answer(call_id, message)
        return chunks

    def of_failure(self, call_id: str, error: BaseException) -> list[Chunk]:
        """Map what a tool that ran for this call raised; an interrupt or a cancellation is no
        answer.
        """
        if (
            not isinstance(error, Exception)
            or is_control_flow(error)
            or self._calls.state(call_id) == "done"
        ):
            return []
        return self._message.tool_error(call_id, self._text_of(error))

    def _text_of(self, error: BaseException) -> str:
        try:
            return MASKED_ERROR_TEXT if self._error_text is None else str(self._error_text(error))
        except Exception:
            logger.warning("error_text has failed", exc_info=True)
            return MASKED_ERROR_TEXT

    def _answer_each(self, messages: list[ToolMessage]) -> list[Chunk]:
        chunks: list[Chunk] = []
        for message in messages:
            chunks += self._answer(
                self._calls.find_unanswered(message.tool_call_id, message.name), message
            )
        return chunks

    def _answer(self, call_id: str | None, output: Any) -> list[Chunk]:
        if call_id is None or self._calls.state(call_id) == "done":
            return []
        is_message = isinstance(output, ToolMessage)
        if is_message and output.status == "error":
            return self._message.tool_error(call_id, error_text_of(output))
        if self._tool_output is None:
            return self._message.tool_output(
                call_id, output_value(output) if is_message else to_json_value(output)
            )
        try:
            shown = to_json_value(self._tool_output(output))
        except Exception:
            # What it would have left out must not be shown instead.
            logger.warning("tool_output has failed", exc_info=True)
            return self._message.tool_error(call_id, NOT_SHOWN_TEXT)
        return self._message.tool_output(call_id, shown)
