"""The assistant message that an agent writes, chunk by chunk.

Besides building chunks it knows which calls wait for a human, and which calls an earlier turn made.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from monostream_ai.ui_messages import Chunk, UIMessageBuilder
from monostream_ai.ui_messages.model_output import OpenText, usage_in


class PendingCall(NamedTuple):
    """A call that waits for its result; `input` is None if it is not known."""

    call_id: str
    name: str
    input: Any


class AgentMessage(UIMessageBuilder):
    """A builder that also tracks approvals, and calls that were made before this turn.

    Args:
        message_id, send_start: As for `UIMessageBuilder`.
        continued: The assistant message that this turn continues: its calls can be answered here,
            as after an approval. It comes from a client, so malformed parts are ignored.
        written: Chunks of this message that a lost publisher stored; open parts stay open.
    """

    def __init__(
        self,
        *,
        message_id: str | None = None,
        send_start: bool = True,
        continued: Mapping[str, Any] | None = None,
        written: Sequence[Chunk] = (),
    ) -> None:
        super().__init__(message_id=message_id, send_start=send_start)
        self._inputs: dict[str, Any] = {}
        # Approval ids by call; None for a call that an earlier turn asked about.
        self._undecided: dict[str, str | None] = {}
        self.earlier_reason: Any = None
        """The finish reason in the metadata of the continued message, unchecked."""
        self.earlier_usage: dict[str, int] = {}
        """Token counts in the last metadata, of the continued message or a lost publisher."""
        self._interrupts: dict[str, Any] = {}
        """Values of the interrupts that the continued message shows, by id."""
        if continued is not None:
            self._adopt(continued)
        self.continued_calls = frozenset(self._open.calls)
        """Ids of the calls in the continued message."""
        self.continued_usage = self.earlier_usage
        """Token counts in the metadata of the continued message alone."""
        self.written_text = _text_of(written)
        """The text that a lost publisher stored and did not take back."""
        self._take_up(written)
        self.earlier_calls = list(self._open.calls)
        """Ids of the calls in the continued message, then of those that a lost publisher stored."""

    @property
    def unfinished(self) -> bool:
        """Whether parts are open, or calls of the program lack their result."""
        return bool(self._open.parts) or any(
            call.state == "streaming" or (self._waits(call_id) and not call.provider_executed)
            for call_id, call in self._open.calls.items()
        )

    @property
    def has_open_parts(self) -> bool:
        return bool(self._open.parts)

    @property
    def calls_of_step(self) -> frozenset[str]:
        """Ids of the calls in the open step."""
        return self._open.calls_of_step

    @property
    def open_text(self) -> OpenText | None:
        """The text part that is open, if it is the only open part."""
        open_parts = [*self._open.parts]
        if len(open_parts) != 1 or open_parts[0][0] != "text":
            return None
        return OpenText(open_parts[0][1], self.written_text[-1:].isspace())

    def _follow(self, chunks: Iterable[Chunk]) -> None:
        super()._follow(chunks := [*chunks])
        for chunk in chunks:
            if "toolCallId" in chunk:
                self._adopt_call(chunk)

    def end_provider_calls(self) -> list[Chunk]:
        """Give the calls of the provider that have no result an empty one.

        A call that waits for an approval is left open.
        """
        waiting = [
            call_id
            for call_id, call in self._open.calls.items()
            if call.provider_executed and self._waits(call_id) and call_id not in self._undecided
        ]
        return [chunk for call_id in waiting for chunk in self.tool_output(call_id, None)]

    @property
    def pending(self) -> list[PendingCall]:
        """Calls without a result that a tool of the program is to answer, oldest first."""
        return [
            PendingCall(call_id, call.name, self._inputs.get(call_id))
            for call_id, call in self._open.calls.items()
            if self._waits(call_id) and not call.provider_executed
        ]

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
        """Ask the user whether the call may run; nothing if this question was already asked."""
        if approval_id in self._open.approvals:
            return []
        self._undecided[call_id] = approval_id
        return self.approval_request(call_id, approval_id)

    def has_asked(self, interrupt_id: str, value: Any) -> bool:
        """Whether the continued message shows this interrupt with this value."""
        return interrupt_id in self._interrupts and self._interrupts[interrupt_id] == value

    def awaits_decision(self, call_id: str) -> bool:
        """Whether the user was asked about the call and it has not run since."""
        return call_id in self._undecided and self._waits(call_id)

    def let_run(self, call_id: str, name: str, input: Any) -> list[Chunk]:
        """Record that the call runs, with the name and input that a human may have edited.

        From here on, a failed result is a failure and not a refusal.
        """
        call, chunks = self.call(call_id), list[Chunk]()
        if (
            call is not None
            and self.awaits_decision(call_id)
            and (call.name, self._inputs.get(call_id)) != (name, input)
        ):
            self._inputs[call_id] = input
            edited = {**call.keys(call_id), "toolName": name, "input": input}
            chunks = self._send({"type": "tool-input-available", **edited})
        return [*chunks, *self._decide(call_id, approved=True)]

    def refuse(self, call_id: str) -> list[Chunk]:
        """Record that the user did not let the call run."""
        return [*self._decide(call_id, approved=False), *self.tool_denied(call_id)]

    def _decide(self, call_id: str, *, approved: bool) -> list[Chunk]:
        approval_id = self._undecided.pop(call_id, None)
        if approval_id is None:
            # An earlier turn asked, and the client already shows the user's answer.
            return []
        # The tool may have answered without a decision, or the step that asked was taken back.
        open_here = approval_id in self._open.approvals and self._waits(call_id)
        return self.approval_response(approval_id, approved) if open_here else []

    def _waits(self, call_id: str) -> bool:
        call = self.call(call_id)
        return call is not None and call.state == "called" and not call.running

    def _adopt(self, message: Mapping[str, Any]) -> None:
        metadata = message.get("metadata")
        if isinstance(metadata, Mapping):
            self.earlier_reason = metadata.get("finishReason")
            self.earlier_usage = usage_in(metadata)
        parts = message.get("parts")
        for part in parts if isinstance(parts, list) else ():
            if isinstance(part, Mapping) and part.get("type") == "data-interrupt":
                self._interrupts[str(part.get("id"))] = part.get("data")
        for chunk in self.adopt(message):
            self._adopt_call(chunk)

    def _take_up(self, written: Sequence[Chunk]) -> None:
        self.take_up(written)
        for chunk in written:
            metadata = chunk.get("messageMetadata")
            if isinstance(metadata, Mapping):
                self.earlier_reason = metadata.get("finishReason", self.earlier_reason)
                self.earlier_usage = usage_in(metadata) or self.earlier_usage
            if "toolCallId" in chunk:
                self._adopt_call(chunk)

    def _adopt_call(self, chunk: Chunk) -> None:
        if chunk["type"] == "tool-input-available":
            self._inputs[chunk["toolCallId"]] = chunk["input"]
        elif chunk["type"] == "tool-approval-request":
            self._undecided[chunk["toolCallId"]] = None


def _text_of(chunks: Sequence[Chunk]) -> str:
    finished, step = "", list[str]()
    for chunk in chunks:
        if chunk["type"] == "text-delta":
            step.append(chunk["delta"])
        elif chunk["type"] == "start-step":
            finished, step = finished + "".join(step), []
        elif chunk["type"] == "reset-step":
            step = []
    return finished + "".join(step)
