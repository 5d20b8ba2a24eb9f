"""Turns the value that a tool or a node returned, or its error, into the result a user sees.

A call keeps the result it has; only an error may be replaced, by the result of a retry.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from typing import Any, Final

from langchain_core.messages import ToolMessage

from monostream_ai.errors import MASKED_ERROR_TEXT
from monostream_ai.langchain.agent_message import AgentMessage
from monostream_ai.langchain.messages_in import is_command, messages_in
from monostream_ai.ui_messages import Chunk, to_json_value
from monostream_ai.ui_messages.call_ids import CallIds
from monostream_ai.ui_messages.held_files import files_in
from monostream_ai.ui_messages.texts import NOT_SHOWN_TEXT

_MCP_CONTENTS: Final = ("image", "audio", "resource")

logger = logging.getLogger(__name__)


class ToolResults:
    """Gives each tool call its result, also when the tool fails.

    Args:
        error_text: Makes the text that a browser shows for a tool that failed.
        tool_output: Makes the JSON value that a browser shows for a tool's return value, which is a
            `ToolMessage` or the plain value.
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
        """Map the return value of a tool that ran for this call."""
        messages = [
            found.message for found in messages_in(output) if isinstance(found.message, ToolMessage)
        ]
        if not messages and not is_command(output):
            return self._answer(call_id, output)
        if len(messages) == 1:
            return self._answer(call_id, messages[0])
        # A command may answer several calls; each message names its own.
        return [
            chunk
            for message in messages
            for chunk in self._answer(self._unanswered(message), message)
        ]

    def of_message(self, message: ToolMessage, call_id: str | None = None) -> list[Chunk]:
        """Map a result that a node makes itself, as for an unknown tool or a rejected call.

        Args:
            call_id: Published id of its call, if known; a result that it has is kept.
        """
        if call_id is None:
            call_id = self._unanswered(message)
        elif self._calls.state(call_id) != "called":
            return []
        if call_id is not None and self._is_refusal(call_id, message):
            return self._message.refuse(call_id)
        return self._answer(call_id, message)

    def of_failure(self, call_id: str, error: BaseException) -> list[Chunk]:
        """Map an exception of a tool that ran for this call.

        An interrupt or a cancellation leaves the call open.
        """
        if (
            not isinstance(error, Exception)
            or is_control_flow(error)
            or self._calls.state(call_id) == "done"
        ):
            return []
        return self._message.tool_error(call_id, self._text_of(error))

    def _unanswered(self, message: ToolMessage) -> str | None:
        return self._calls.find_unanswered(message.tool_call_id, message.name)

    def _is_refusal(self, call_id: str, message: ToolMessage) -> bool:
        return message.status == "error" and self._message.awaits_decision(call_id)

    def _answer(self, call_id: str | None, output: Any) -> list[Chunk]:
        if call_id is None or self._calls.state(call_id) == "done":
            return []
        if isinstance(output, ToolMessage) and output.status == "error":
            return self._message.tool_error(call_id, error_text_of(output))
        if self._tool_output is None:
            shown = self._message.tool_output(call_id, output_value(output))
            return [*shown, *self._files_beside(output)]
        try:
            shown = to_json_value(self._tool_output(output))
        except Exception:
            # The plain value must not be shown instead: the callback may hide parts of it.
            logger.warning("tool_output has failed", exc_info=True)
            return self._message.tool_error(call_id, NOT_SHOWN_TEXT)
        return self._message.tool_output(call_id, shown)

    def _files_beside(self, output: Any) -> list[Chunk]:
        """Show the images and documents of an MCP server that are not in the content.

        Source: langchain-mcp-adapters 0.1, tools.py, `_convert_call_tool_result`: the artifact of
        its messages is a list of contents that are no texts.
        """
        artifact = output.artifact if isinstance(output, ToolMessage) else None
        contents = artifact if isinstance(artifact, list) else []
        held = [to_json_value(each) for each in contents if _type_of(each) in _MCP_CONTENTS]
        return [
            chunk
            for file in files_in(held)
            for chunk in self._message.file(file.url, media_type=file.media_type)
        ]

    def _text_of(self, error: BaseException) -> str:
        try:
            return MASKED_ERROR_TEXT if self._error_text is None else str(self._error_text(error))
        except Exception:
            logger.warning("error_text has failed", exc_info=True)
            return MASKED_ERROR_TEXT


def _type_of(content: Any) -> Any:
    return content.get("type") if isinstance(content, dict) else getattr(content, "type", None)


def output_value(output: Any) -> Any:
    """Return a tool's message or plain return value as JSON.

    LangChain writes an object or an array into a message as text; it is parsed again here.
    """
    if not isinstance(output, ToolMessage):
        return to_json_value(output)
    content = output.content
    if isinstance(content, str) and content[:1] in ("{", "["):
        try:
            return to_json_value(json.loads(content))
        except (ValueError, RecursionError):
            return content
    return to_json_value(content)


def error_text_of(message: ToolMessage) -> str:
    """Return the model's own view of the failure."""
    return message.content if isinstance(message.content, str) else message.text


def is_control_flow(error: BaseException) -> bool:
    """Whether LangGraph raised this to interrupt or to leave a graph; nothing has failed then."""
    return any(kind.__name__ == "GraphBubbleUp" for kind in type(error).__mro__)
