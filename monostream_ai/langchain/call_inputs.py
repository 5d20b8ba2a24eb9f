"""The tool calls of one call of a model: from pieces of their input to whole calls."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from monostream_ai.langchain.message import AgentMessage
from monostream_ai.ui_messages import Chunk, to_json_value
from monostream_ai.ui_messages.call_ids import CallIds
from monostream_ai.ui_messages.texts import FAILED_TEXT, INVALID_INPUT_TEXT


@dataclass(slots=True)
class _Streamed:
    """A call whose input is arriving; it is announced once its id and name are known."""

    provider: bool = False
    call_id: str | None = None
    name: str | None = None
    arguments: str = ""
    published: str | None = None


class CallInputs:
    """Maps the calls of one model run.

    Args:
        run_id: Makes ids for calls without one.
        close: Ends the text before a call, and returns the chunks for it.
    """

    def __init__(
        self, run_id: str, message: AgentMessage, calls: CallIds, close: Callable[[], list[Chunk]]
    ) -> None:
        self._run_id = run_id
        self._message = message
        self._calls = calls
        self._close = close
        self._unnamed = 0
        self._streamed: dict[object, _Streamed] = {}
        self._served: dict[str, str] = {}

    def chunk(
        self,
        index: object,
        call_id: str | None,
        name: str | None,
        arguments: str,
        *,
        provider: bool = False,
    ) -> list[Chunk]:
        """Append to the input of a call. Without an index, an id begins a call, and no id continues
        the last one.
        """
        call = self._find(index, call_id, provider)
        call.call_id, call.name = call.call_id or call_id, call.name or name
        call.arguments += arguments
        if call.published is not None:
            return self._message.tool_input(call.published, call.name or "", arguments)
        if not call.call_id or not call.name:
            return []
        chunks = self._close()
        call.published = self._calls.publish(call.call_id)
        if provider:
            self._served[call.call_id] = call.published
        return [
            *chunks,
            *self._message.tool_input(
                call.published, call.name, call.arguments, provider_executed=provider
            ),
        ]

    def so_far(
        self, index: object, call_id: str | None, name: str | None, arguments: str
    ) -> list[Chunk]:
        """Append what is new in the whole input so far, which is how langchain-core 1.4 tells it."""
        known = self._find(index, call_id, provider=False).arguments
        return self.chunk(index, call_id, name, arguments.removeprefix(known))

    def whole(self, call_id: str | None, name: str, arguments: Any) -> list[Chunk]:
        """Give a call its input."""
        chunks = self._close()
        return [
            *chunks,
            *self._message.tool_call(self._settle(call_id, name), name, to_json_value(arguments)),
        ]

    def invalid(self, call_id: str | None, name: str | None, arguments: str | None) -> list[Chunk]:
        """End a call whose input cannot be read."""
        published = self._settle(call_id, name or "")
        return [
            *self._close(),
            *self._message.tool_input_error(
                published, name or "unknown", arguments, INVALID_INPUT_TEXT
            ),
        ]

    def fail(self) -> list[Chunk]:
        """End the calls that did not become whole; they get no result."""
        chunks: list[Chunk] = []
        for call in self._streamed.values():
            if call.published is not None and self._calls.state(call.published) == "streaming":
                chunks += self._message.tool_input_error(
                    call.published, call.name or "", None, INVALID_INPUT_TEXT
                )
        self._streamed.clear()
        return chunks

    def served(self, block: Mapping[str, Any]) -> list[Chunk]:
        """Map a whole call of a tool that the provider runs; the message at the end repeats it."""
        call_id = str(block.get("id") or "")
        published = self._served.get(call_id)
        if published is None:
            published = self._served[call_id] = self._publish(call_id)
        elif self._calls.state(published) != "streaming":
            return []
        name = str(block.get("name") or "unknown")
        arguments = to_json_value(block.get("args"))
        return [
            *self._close(),
            *self._message.tool_call(published, name, arguments, provider_executed=True),
        ]

    def served_result(self, block: Mapping[str, Any]) -> list[Chunk]:
        """Map the result of a tool that the provider ran."""
        published = self._served.get(str(block.get("tool_call_id") or ""))
        if published is None or self._calls.state(published) == "done":
            return []
        chunks = self._complete_served(published)
        if block.get("status") == "error":
            return [*chunks, *self._message.tool_error(published, FAILED_TEXT)]
        return [*chunks, *self._message.tool_output(published, to_json_value(block.get("output")))]

    def _complete_served(self, published: str) -> list[Chunk]:
        call = next((call for call in self._streamed.values() if call.published == published), None)
        if call is None or self._calls.state(published) != "streaming":
            return []
        try:
            arguments = to_json_value(json.loads(call.arguments or "{}"))
        except (ValueError, RecursionError):
            arguments = call.arguments
        return self._message.tool_call(
            published, call.name or "", arguments, provider_executed=True
        )

    def _find(self, index: object, call_id: str | None, provider: bool) -> _Streamed:
        key = (provider, index if index is not None else call_id or self._last_key(provider))
        call = self._streamed.get(key)
        if call is not None and call_id and call.call_id and call_id != call.call_id:
            # Some servers give every call the index 0.
            key = (provider, (index, call_id))
            call = self._streamed.get(key)
        if call is None:
            call = self._streamed[key] = _Streamed(provider)
        return call

    def _last_key(self, provider: bool) -> object:
        keys = [key for key, call in self._streamed.items() if call.provider is provider]
        last = keys[-1] if keys else None
        return last[1] if isinstance(last, tuple) else None

    def _settle(self, call_id: str | None, name: str) -> str:
        """Return the id of a call that is whole now: of the streamed one, or a new one."""
        for key, call in self._streamed.items():
            same = call.call_id == call_id or (call.name == name and not (call.call_id and call_id))
            if same and not call.provider:
                del self._streamed[key]
                return call.published or self._publish(call_id)
        return self._publish(call_id)

    def _publish(self, call_id: str | None) -> str:
        if not call_id:
            self._unnamed += 1
            call_id = f"{self._run_id}:call-{self._unnamed}"
        return self._calls.publish(call_id)
