"""What a message's chunks have opened and not closed: the state that the builder and a version's
ending share.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final, Literal

from monostream_ai.ui_messages.chunks import FINISH_REASONS, Chunk
from monostream_ai.ui_messages.fixed_texts import INCOMPLETE_INPUT_TEXT

PartKind = Literal["text", "reasoning"]
CallState = Literal["streaming", "called", "failed", "done"]


@dataclass(slots=True)
class Call:
    """One tool call: `streaming` until its input is whole, `called` until it has a result; a
    `failed` one may be retried.
    """

    name: str
    dynamic: bool
    provider_executed: bool
    state: CallState = "streaming"
    step: int = 0
    running: bool = False
    """Whether it has a preliminary result."""

    def keys(self, call_id: str) -> Chunk:
        """Return the keys that every result of this call repeats: a client that sees them change
        makes a second part.
        """
        return {
            "toolCallId": call_id,
            **({"dynamic": True} if self.dynamic else {}),
            **({"providerExecuted": True} if self.provider_executed else {}),
        }


class OpenParts:
    """Follows the chunks of one message. It forgives what a client would not: a wrong chunk changes
    nothing.
    """

    def __init__(self) -> None:
        self.empty = True
        self.started = False
        self.ended = False
        self.step_open = False
        self.finish_reason: str | None = None
        self.parts: dict[tuple[PartKind, str], None] = {}
        self.calls: dict[str, Call] = {}
        self.approvals: dict[str, str | None] = {}
        """The call that waits for each approval; None once none does."""
        self._asked: dict[str, str] = {}
        self._step = 0

    def feed(self, chunk: Chunk) -> None:
        self.empty = False
        effect = _EFFECTS.get(chunk["type"])
        if effect is not None:
            effect(self, chunk)

    def closing(self) -> list[Chunk]:
        """Return the chunks that close every part and the step; half-streamed tool inputs become
        errors.
        """
        chunks: list[Chunk] = [
            {"type": f"{kind}-end", "id": part_id} for kind, part_id in self.parts
        ]
        for call_id, call in self.calls.items():
            if call.state == "streaming":
                chunks.append(
                    {
                        "type": "tool-input-error",
                        **call.keys(call_id),
                        "toolName": call.name,
                        "input": None,
                        "errorText": INCOMPLETE_INPUT_TEXT,
                    }
                )
        if self.step_open:
            chunks.append({"type": "finish-step"})
        return chunks

    def _start(self, chunk: Chunk) -> None:
        self.started = True
        self._metadata(chunk)

    def _metadata(self, chunk: Chunk) -> None:
        metadata = chunk.get("messageMetadata")
        reason = metadata.get("finishReason") if isinstance(metadata, dict) else None
        if isinstance(reason, str) and reason in FINISH_REASONS:
            self.finish_reason = reason

    def _start_step(self, chunk: Chunk) -> None:
        self.step_open = True
        self._step += 1

    def _finish_step(self, chunk: Chunk) -> None:
        self.step_open = False
        # Clients below 7.0.79 forget their active parts here: an end that follows would be fatal
        # for them.
        self.parts.clear()

    def _reset_step(self, chunk: Chunk) -> None:
        self.parts.clear()
        self.calls = {
            call_id: call for call_id, call in self.calls.items() if call.step != self._step
        }
        for call_id in [asked for asked in self._asked if asked not in self.calls]:
            self._settle_approval(call_id)

    def _open_text(self, chunk: Chunk) -> None:
        if isinstance(part_id := chunk.get("id"), str):
            self.parts[("text", part_id)] = None

    def _close_text(self, chunk: Chunk) -> None:
        if isinstance(part_id := chunk.get("id"), str):
            self.parts.pop(("text", part_id), None)

    def _open_reasoning(self, chunk: Chunk) -> None:
        if isinstance(part_id := chunk.get("id"), str):
            self.parts[("reasoning", part_id)] = None

    def _close_reasoning(self, chunk: Chunk) -> None:
        if isinstance(part_id := chunk.get("id"), str):
            self.parts.pop(("reasoning", part_id), None)

    def _open_call(self, chunk: Chunk) -> None:
        self._note_call(chunk, "streaming")

    def _call(self, chunk: Chunk) -> None:
        self._note_call(chunk, "called")

    def _refuse_call(self, chunk: Chunk) -> None:
        self._note_call(chunk, "done")

    def _note_call(self, chunk: Chunk, state: CallState) -> None:
        call_id, name = chunk.get("toolCallId"), chunk.get("toolName")
        if isinstance(call_id, str) and isinstance(name, str):
            dynamic, provider_executed = (
                bool(chunk.get("dynamic")),
                bool(chunk.get("providerExecuted")),
            )
            self.calls[call_id] = Call(name, dynamic, provider_executed, state, self._step)

    def _ask(self, chunk: Chunk) -> None:
        approval_id, call_id = chunk.get("approvalId"), chunk.get("toolCallId")
        if isinstance(approval_id, str) and isinstance(call_id, str):
            self._settle_approval(call_id)
            self.approvals[approval_id] = call_id
            self._asked[call_id] = approval_id

    def _answer(self, chunk: Chunk) -> None:
        if isinstance(approval_id := chunk.get("approvalId"), str):
            self.approvals[approval_id] = None

    def _settle_approval(self, call_id: str) -> None:
        approval_id = self._asked.pop(call_id, None)
        if approval_id is not None and self.approvals[approval_id] == call_id:
            self.approvals[approval_id] = None

    def _resolve_call(self, chunk: Chunk) -> None:
        call_id = chunk.get("toolCallId")
        call = self.calls.get(call_id) if isinstance(call_id, str) else None
        if call is None:
            return
        call.running = bool(chunk.get("preliminary"))
        if not call.running:
            call.state = "failed" if chunk["type"] == "tool-output-error" else "done"

    def _end(self, chunk: Chunk) -> None:
        self.ended = True


def stop_mark() -> list[Chunk]:
    """Return what comes between the last step of a stopped message and its `abort`."""
    # An abort right after a tool result makes `sendAutomaticallyWhen` send again, forever. The
    # empty last step prevents that, and the metadata makes the client write the message that shows
    # the step.
    return [
        {"type": "start-step"},
        {"type": "message-metadata", "messageMetadata": {"stopped": True}},
    ]


_EFFECTS: Final[Mapping[str, Callable[[OpenParts, Chunk], None]]] = {
    "start": OpenParts._start,
    "message-metadata": OpenParts._metadata,
    "start-step": OpenParts._start_step,
    "finish-step": OpenParts._finish_step,
    "reset-step": OpenParts._reset_step,
    "text-start": OpenParts._open_text,
    "text-end": OpenParts._close_text,
    "reasoning-start": OpenParts._open_reasoning,
    "reasoning-end": OpenParts._close_reasoning,
    "tool-input-start": OpenParts._open_call,
    "tool-input-available": OpenParts._call,
    "tool-input-error": OpenParts._refuse_call,
    "tool-approval-request": OpenParts._ask,
    "tool-approval-response": OpenParts._answer,
    "tool-output-available": OpenParts._resolve_call,
    "tool-output-error": OpenParts._resolve_call,
    "tool-output-denied": OpenParts._resolve_call,
    "finish": OpenParts._end,
    "error": OpenParts._end,
    "abort": OpenParts._end,
}
