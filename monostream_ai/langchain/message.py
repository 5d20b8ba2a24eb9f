"""The message that an agent writes, with the approvals that it waits for and the tool calls of an
earlier turn.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from monostream_ai.ui_messages import Chunk, UIMessageBuilder, chunks_of_message


class PendingCall(NamedTuple):
    """A call that waits for its result; `input` is None if it is not known."""

    call_id: str
    name: str
    input: Any


class AgentMessage(UIMessageBuilder):
    """A builder that also knows which calls wait for a human, and calls that were made before this
    turn.

    Args:
        message_id, send_start: As for `UIMessageBuilder`.
        continued: The assistant message that this turn goes on with: its calls can be answered
            here, as after an approval. What is malformed in it is ignored: it comes from a client.
    """

    def __init__(
        self,
        *,
        message_id: str | None = None,
        send_start: bool = True,
        continued: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(message_id=message_id, send_start=send_start)
        self._inputs: dict[str, Any] = {}
        self._undecided: dict[str, str | None] = {}
        self.earlier_calls: list[str] = []
        """Ids of the calls that the continued message has."""
        self.earlier_reason: Any = None
        """Why the last model of the continued message stopped, as its metadata says."""
        if continued is not None:
            self._adopt(continued)

    @property
    def pending(self) -> list[PendingCall]:
        """The calls without a result that a tool of ours is to answer, oldest first."""
        waiting = [
            (call_id, call) for call_id, call in self._open.calls.items() if self._waits(call_id)
        ]
        ours = [(call_id, call.name) for call_id, call in waiting if not call.provider_executed]
        return [PendingCall(call_id, name, self._inputs.get(call_id)) for call_id, name in ours]

    def tool_call(
        self,
        call_id: str,
        name: str,
        input: Any,
        *,
        dynamic: bool = True,
        provider_executed: bool = False,
    ) -> list[Chunk]:
        chunks = super().tool_call(
            call_id, name, input, dynamic=dynamic, provider_executed=provider_executed
        )
        self._inputs[call_id] = input
        return chunks

    def ask(self, call_id: str, approval_id: str) -> list[Chunk]:
        """Ask the user whether the call may run, unless this was asked before."""
        if approval_id in self._open.approvals:
            return []
        self._undecided[call_id] = approval_id
        return self.approval_request(call_id, approval_id)

    def awaits_decision(self, call_id: str) -> bool:
        """Whether the user was asked about the call, and it has not run since."""
        return call_id in self._undecided and self._waits(call_id)

    def let_run(self, call_id: str, name: str, input: Any) -> list[Chunk]:
        """Note that the call runs, so that whatever it returns is no refusal; show what a human has
        made of it.
        """
        call, chunks = self.call(call_id), list[Chunk]()
        if (
            call is not None
            and self.awaits_decision(call_id)
            and (call.name, self._inputs.get(call_id)) != (name, input)
        ):
            self._inputs[call_id] = input
            chunks = self._send(
                {
                    "type": "tool-input-available",
                    **call.keys(call_id),
                    "toolName": name,
                    "input": input,
                }
            )
        return [*chunks, *self._decide(call_id, approved=True)]

    def refuse(self, call_id: str) -> list[Chunk]:
        """Say that the user did not let the call run."""
        return [*self._decide(call_id, approved=False), *self.tool_denied(call_id)]

    def _decide(self, call_id: str, *, approved: bool) -> list[Chunk]:
        # Who was asked in an earlier turn has given the answer in the client, which shows it.
        approval_id = self._undecided.pop(call_id, None)
        # A tool may also have answered although nobody decided, or the step that asked may have
        # been taken back.
        open_here = approval_id in self._open.approvals and self._waits(call_id)
        return (
            self.approval_response(approval_id, approved)
            if approval_id is not None and open_here
            else []
        )

    def _waits(self, call_id: str) -> bool:
        call = self.call(call_id)
        return call is not None and call.state == "called" and not call.running

    def _adopt(self, message: Mapping[str, Any]) -> None:
        parts, metadata = message.get("parts"), message.get("metadata")
        self.earlier_reason = (
            metadata.get("finishReason") if isinstance(metadata, Mapping) else None
        )
        tools = [
            chunk
            for chunk in chunks_of_message({"parts": parts if isinstance(parts, list) else []})
            if "toolCallId" in chunk
        ]
        for chunk in tools:
            self._open.feed(chunk)
            if chunk["type"] == "tool-input-available":
                self._inputs[chunk["toolCallId"]] = chunk["input"]
            if chunk["type"] == "tool-approval-request":
                self._undecided[chunk["toolCallId"]] = None
        self.earlier_calls = list(self._open.calls)
        for call in self._open.calls.values():
            if call.state == "streaming":
                # Nobody can run a call whose input never came.
                call.state = "done"
