"""Assembles the tool calls of one model run, from pieces of their input to whole calls.

Calls of the program's own tools and calls that the provider executes both pass through here.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from typing import Any

from monostream_ai.json_text import encode_json
from monostream_ai.langchain.agent_message import AgentMessage
from monostream_ai.ui_messages import Chunk, to_json_value
from monostream_ai.ui_messages.call_ids import CallIds
from monostream_ai.ui_messages.model_contents import (
    ProviderState,
)
from monostream_ai.ui_messages.model_output import Speech, StreamedCall, StreamedCalls
from monostream_ai.ui_messages.texts import FAILED_TEXT, INCOMPLETE_INPUT_TEXT, INVALID_INPUT_TEXT
from monostream_ai.ui_messages.unread import Unread


class ToolCalls:
    """Maps the tool calls of one model run. A call is announced once its id and name are known.

    Args:
        run_id: Prefix of the ids given to calls that have none.
        speech: Its open part is ended before a call.
        answers: No tool runs for the calls, so each gets its own input as its result.
    """

    def __init__(
        self,
        run_id: str,
        message: AgentMessage,
        calls: CallIds,
        speech: Speech,
        unread: Unread,
        *,
        answers: bool = False,
    ) -> None:
        self._answers = answers
        self._run_id = run_id
        self._message = message
        self._calls = calls
        self._speech = speech
        self._unread = unread
        self._unnamed = 0
        self._streamed = StreamedCalls()
        # Published ids of calls that the provider executes, by the model's own ids.
        self._provider_calls: dict[str, str] = {}
        self._provider_results: dict[str, str] = {}
        # How often a block without an id has come, in the stream or in the final message.
        self._unnamed_blocks: Counter[str] = Counter()
        self._program_calls: set[str] = set()

    def chunk(
        self,
        index: object,
        call_id: str | None,
        name: str | None,
        arguments: Any,
        *,
        provider: bool = False,
    ) -> list[Chunk]:
        """Append to the input of a call, which `StreamedCalls.find` picks.

        Args:
            arguments: JSON text, or the whole input as some servers send it.
        """
        text = arguments if isinstance(arguments, str) else _as_json_text(arguments)
        call = self._streamed.find(index, call_id, name, text, provider_executed=provider)
        call.add(call_id, name, text)
        if call.published is not None:
            return self._message.tool_input(call.published, call.name or "", text)
        if not call.call_id or not call.name or not call.arguments:
            # More of the name may come until the first argument.
            return []
        return self._announce(call)

    def so_far(
        self, index: object, call_id: str | None, name: str | None, arguments: str
    ) -> list[Chunk]:
        """Append the new end of an input that is repeated from its beginning.

        langchain-core 1.4 streams inputs like that in its `v3` events.
        """
        call = self._streamed.find(index, call_id)
        news = arguments.removeprefix(call.arguments)
        return self.chunk(index, call_id, None if call.name else name, news)

    def whole(
        self,
        call_id: str | None,
        name: str,
        arguments: Any,
        *,
        state: ProviderState | None = None,
    ) -> list[Chunk]:
        """Give a call its whole input; text is parsed as JSON.

        Args:
            state: Values that the provider wants back with the call.
        """
        if self._is_joined(name):
            return []
        published, value = self._published(call_id, name), to_json_value(_as_input(arguments))
        chunks = self._speech.end()
        *before, called = self._message.tool_call(published, name, value)
        if state:
            called = {**called, "providerMetadata": state}
        chunks += [*before, called]
        return chunks + (self._message.tool_output(published, value) if self._answers else [])

    def program_call(self, block: Mapping[str, Any]) -> list[Chunk]:
        """Map a call for the program that the message does not list, unless it was mapped before.

        The tool message that answers it carries the same id.
        """
        call_id = str(block.get("id") or "")
        known = (one for one in self._program_calls if _repeats(call_id, one))
        if self._calls.find(call_id) is not None or next(known, None) is not None:
            # LangChain joins the ids of items that share an index.
            return []
        self._program_calls.add(call_id)
        return self.whole(call_id, str(block.get("name")), block.get("args"))

    def invalid(self, call_id: str | None, name: str | None, arguments: str | None) -> list[Chunk]:
        """End a call whose input is no valid JSON."""
        if self._is_joined(name or ""):
            return []
        published = self._published(call_id, name or "")
        chunks = self._speech.end()
        return chunks + self._message.tool_input_error(
            published, name or "unknown", arguments, INVALID_INPUT_TEXT
        )

    def end_provider_inputs(self) -> list[Chunk]:
        """Give the provider's calls whose streamed input is whole that input."""
        return [
            chunk
            for call in self._streamed
            if call.provider_executed and call.published is not None and call.whole
            for chunk in self._end_provider_input(call.published)
        ]

    def repeat(self) -> None:
        """Take the next blocks as those of the final message, which repeats the stream's."""
        self._unnamed_blocks.clear()

    def fail(self) -> list[Chunk]:
        """End the calls whose input never became whole; they get no result."""
        chunks: list[Chunk] = []
        for call in self._streamed:
            if call.published is None and (call.name or call.arguments):
                chunks += self._announce(call)
            if call.published is not None and self._calls.state(call.published) == "streaming":
                chunks += self._message.tool_input_error(
                    call.published,
                    call.name or "unknown",
                    call.arguments or None,
                    INCOMPLETE_INPUT_TEXT,
                )
        self._streamed.clear()
        return chunks

    def approval_request(self, block: Mapping[str, Any]) -> list[Chunk]:
        """Ask whether a provider may make a call to an MCP server; nothing if it was asked before.

        The approval has the id of the provider's request.
        """
        request_id = str(block.get("id") or "")
        if not request_id or self._calls.find(request_id) is not None:
            return []
        published = self._publish(request_id)
        name, value = str(block.get("name") or "unknown"), _as_input(block.get("arguments") or {})
        chunks = self._speech.end()
        *before, called = self._message.tool_call(
            published, name, to_json_value(value), provider_executed=True
        )
        state = {"itemId": request_id, "serverLabel": str(block.get("server_label") or "")}
        chunks += [*before, {**called, "providerMetadata": {"openai": state}}]
        return chunks + self._message.ask(published, request_id)

    def provider_call(self, block: Mapping[str, Any]) -> list[Chunk]:
        """Map a whole call that the provider executes; the final message repeats it."""
        arguments = _as_input(block.get("args"))
        call_id = str(block.get("id") or self._place(f"{block.get('name')}", arguments))
        published = self._provider_calls.get(call_id)
        if published is None and (approved := self._approved(block)) is not None:
            self._provider_calls[call_id] = approved
            return []
        if published is None:
            published = self._provider_calls[call_id] = self._publish(block.get("id"))
        elif self._calls.state(published) != "streaming":
            return []
        name, value = _provider_tool(block), to_json_value(arguments)
        chunks = self._speech.end()
        return chunks + self._message.tool_call(published, name, value, provider_executed=True)

    def provider_result(self, block: Mapping[str, Any]) -> list[Chunk]:
        """Map the result of a call that the provider executed; the final message repeats it.

        A result whose id is that of no call belongs to the first call of its tool that waits, or
        else to a call of its own.
        """
        call_id, output = block.get("tool_call_id"), to_json_value(block.get("output"))
        key = str(call_id or self._place("result", output))
        published = self._provider_results.get(key)
        repeated = published is not None
        if published is None:
            published, chunks = self._find_provider_call(block)
            self._provider_results[key] = published
        else:
            chunks = []
        if self._calls.state(published) == "done":
            return chunks
        chunks += self._end_provider_input(published)
        if block.get("status") == "error":
            if output and not repeated:
                # It may not be meant for the page.
                call = self._message.call(published)
                self._unread.lose(f"error of {_tool_of(block) if call is None else call.name}")
            return [*chunks, *self._message.tool_error(published, FAILED_TEXT)]
        return [*chunks, *self._message.tool_output(published, output)]

    def _approved(self, block: Mapping[str, Any]) -> str | None:
        """Return the call that asked for an approval, if the provider makes it now."""
        extras = block.get("extras")
        told: Mapping[str, Any] = extras if isinstance(extras, Mapping) else {}
        request_id = block.get("approval_request_id") or told.get("approval_request_id")
        return self._calls.find_unanswered(request_id) if isinstance(request_id, str) else None

    def _find_provider_call(self, block: Mapping[str, Any]) -> tuple[str, list[Chunk]]:
        call_id, tool = str(block.get("tool_call_id") or ""), _tool_of(block)
        # An earlier model call of a paused turn may have made the call.
        found = self._provider_calls.get(call_id) or self._calls.find_unanswered(call_id)
        if found is None:
            # LangChain joins the ids of an item that a server reports twice.
            known = self._provider_calls.items()
            found = next((call for one, call in known if _repeats(call_id, one)), None)
        if found is not None:
            return found, []
        for published in self._provider_calls.values():
            call = self._message.call(published)
            waits = call is not None and call.state in ("streaming", "called")
            if waits and call is not None and (not call_id or call.name == tool):
                return published, []
        published = self._publish(call_id)
        chunks = self._speech.end()
        return published, chunks + self._message.tool_call(
            published, tool, {}, provider_executed=True
        )

    def _place(self, kind: str, value: Any) -> str:
        """Return a name for a block without an id: the same in the stream and in its repetition."""
        text = f"{kind} {_as_json_text(value)}"
        self._unnamed_blocks[text] += 1
        return f"{text} {self._unnamed_blocks[text]}"

    def _end_provider_input(self, published: str) -> list[Chunk]:
        call = next((call for call in self._streamed if call.published == published), None)
        if call is None or self._calls.state(published) != "streaming":
            return []
        arguments = to_json_value(_as_input(call.arguments or "{}"))
        return self._message.tool_call(
            published, call.name or "", arguments, provider_executed=True
        )

    def _announce(self, call: StreamedCall) -> list[Chunk]:
        published = self._publish(call.call_id)
        if call.provider_executed and call.call_id:
            self._provider_calls[call.call_id] = published
        call.name = call.name or "unknown"
        return self._speech.announce(call, published)

    def _is_joined(self, name: str) -> bool:
        """Whether LangChain has joined several calls, which share an index and have no ids.

        No tool has such a name. `fail` ends the calls that were streamed.
        """
        names = [call.name or "" for call in self._streamed if not call.provider_executed]
        return len(names) > 1 and "" not in names and name == "".join(names)

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


def _repeats(call_id: str, known: str) -> bool:
    return bool(known and call_id) and call_id == known * (len(call_id) // len(known))


def _as_json_text(arguments: Any) -> str:
    return "" if arguments is None else encode_json(to_json_value(arguments))


def _as_input(arguments: Any) -> Any:
    if not isinstance(arguments, str):
        return arguments
    try:
        return json.loads(arguments)
    except (ValueError, RecursionError):
        return arguments


def _provider_tool(call: Mapping[str, Any]) -> str:
    """Return the name of a provider's tool; LangChain calls those of all MCP servers the same."""
    extras = call.get("extras")
    told = extras.get("tool_name") if isinstance(extras, Mapping) else None
    return f"mcp.{told}" if isinstance(told, str) and told else str(call.get("name") or "unknown")


def _tool_of(result: Mapping[str, Any]) -> str:
    """Return the name of the tool that a result comes from, as far as the block tells."""
    extras = result.get("extras")
    told: Mapping[str, Any] = extras if isinstance(extras, Mapping) else {}
    name = result.get("name") or told.get("name") or told.get("block_type") or "unknown"
    return str(name).removesuffix("_tool_result")
