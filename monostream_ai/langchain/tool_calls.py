"""Assembles the tool calls of one model run, from pieces of their input to whole calls.

Calls of the program's own tools and calls that the provider executes both pass through here.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from monostream_ai.langchain.agent_message import AgentMessage
from monostream_ai.ui_messages import Chunk, to_json_value
from monostream_ai.ui_messages.call_ids import CallIds
from monostream_ai.ui_messages.model_output import Speech, StreamedCalls
from monostream_ai.ui_messages.texts import FAILED_TEXT, INVALID_INPUT_TEXT


class ToolCalls:
    """Maps the tool calls of one model run. A call is announced once its id and name are known.

    Args:
        run_id: Prefix of the ids given to calls that have none.
        speech: Its open part is ended before a call.
    """

    def __init__(self, run_id: str, message: AgentMessage, calls: CallIds, speech: Speech) -> None:
        self._run_id = run_id
        self._message = message
        self._calls = calls
        self._speech = speech
        self._unnamed = 0
        self._streamed = StreamedCalls()
        # Published ids of calls that the provider executes, by the model's own ids.
        self._provider_calls: dict[str, str] = {}

    def chunk(
        self,
        index: object,
        call_id: str | None,
        name: str | None,
        arguments: str,
        *,
        provider: bool = False,
    ) -> list[Chunk]:
        """Append to the input of a call, which `StreamedCalls.find` picks."""
        call = self._streamed.find(index, call_id, provider_executed=provider)
        call.call_id, call.name = call.call_id or call_id, call.name or name
        call.arguments += arguments
        if call.published is not None:
            return self._message.tool_input(call.published, call.name or "", arguments)
        if not call.call_id or not call.name:
            return []
        published = self._calls.publish(call.call_id)
        if provider:
            self._provider_calls[call.call_id] = published
        return self._speech.announce(call, published)

    def so_far(
        self, index: object, call_id: str | None, name: str | None, arguments: str
    ) -> list[Chunk]:
        """Append the new end of an input that is repeated from its beginning.

        langchain-core 1.4 streams inputs like that in its `v3` events.
        """
        known = self._streamed.find(index, call_id).arguments
        return self.chunk(index, call_id, name, arguments.removeprefix(known))

    def whole(self, call_id: str | None, name: str, arguments: Any) -> list[Chunk]:
        """Give a call its whole input."""
        published, value = self._published(call_id, name), to_json_value(arguments)
        return [*self._speech.end(), *self._message.tool_call(published, name, value)]

    def invalid(self, call_id: str | None, name: str | None, arguments: str | None) -> list[Chunk]:
        """End a call whose input is no valid JSON."""
        published = self._published(call_id, name or "")
        chunks = self._speech.end()
        return chunks + self._message.tool_input_error(
            published, name or "unknown", arguments, INVALID_INPUT_TEXT
        )

    def fail(self) -> list[Chunk]:
        """End the calls whose input never became whole; they get no result."""
        chunks: list[Chunk] = []
        for call in self._streamed:
            if call.published is not None and self._calls.state(call.published) == "streaming":
                chunks += self._message.tool_input_error(
                    call.published, call.name or "", None, INVALID_INPUT_TEXT
                )
        self._streamed.clear()
        return chunks

    def provider_call(self, block: Mapping[str, Any]) -> list[Chunk]:
        """Map a whole call that the provider executes; the final message repeats it."""
        call_id = str(block.get("id") or "")
        published = self._provider_calls.get(call_id)
        if published is None:
            published = self._provider_calls[call_id] = self._publish(call_id)
        elif self._calls.state(published) != "streaming":
            return []
        name, value = str(block.get("name") or "unknown"), to_json_value(block.get("args"))
        chunks = self._speech.end()
        return chunks + self._message.tool_call(published, name, value, provider_executed=True)

    def provider_result(self, block: Mapping[str, Any]) -> list[Chunk]:
        """Map the result of a call that the provider executed."""
        published = self._provider_calls.get(str(block.get("tool_call_id") or ""))
        if published is None or self._calls.state(published) == "done":
            return []
        chunks = self._end_provider_input(published)
        if block.get("status") == "error":
            return [*chunks, *self._message.tool_error(published, FAILED_TEXT)]
        return [*chunks, *self._message.tool_output(published, to_json_value(block.get("output")))]

    def _end_provider_input(self, published: str) -> list[Chunk]:
        call = next((call for call in self._streamed if call.published == published), None)
        if call is None or self._calls.state(published) != "streaming":
            return []
        try:
            arguments = to_json_value(json.loads(call.arguments or "{}"))
        except (ValueError, RecursionError):
            arguments = call.arguments
        return self._message.tool_call(
            published, call.name or "", arguments, provider_executed=True
        )

    def _published(self, call_id: str | None, name: str) -> str:
        """Return the message's id of a call that is whole now: streamed before, or new.

        The final message may lack the id of a streamed call; its name identifies it then.
        """
        for call in self._streamed:
            same = call.call_id == call_id or (call.name == name and not (call.call_id and call_id))
            if same and not call.provider_executed:
                self._streamed.remove(call)
                return call.published or self._publish(call_id)
        return self._publish(call_id)

    def _publish(self, call_id: str | None) -> str:
        if not call_id:
            self._unnamed += 1
            call_id = f"{self._run_id}:call-{self._unnamed}"
        return self._calls.publish(call_id)
