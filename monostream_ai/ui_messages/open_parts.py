"""Tracks the parts that a message has opened but not closed, for the builder and for endings."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final, Literal, cast

from monostream_ai.ui_messages.chunks import FINISH_REASONS, Chunk
from monostream_ai.ui_messages.texts import INCOMPLETE_INPUT_TEXT

PartKind = Literal["text", "reasoning"]
CallState = Literal["streaming", "called", "failed", "done"]

MAX_CUT_INPUT: Final = 64 * 1024
"""Characters of an input that stopped arriving which its error repeats, so that it is stored."""


@dataclass(slots=True)
class Call:
    """One tool call: `streaming` until its input is whole, then `called` until it has a result.

    A result makes it `done`, or `failed`, after which a retry may still give it another result.
    """

    name: str
    dynamic: bool
    provider_executed: bool
    state: CallState = "streaming"
    step: int = 0
    running: bool = False
    """Whether it has a preliminary result."""
    pieces: list[str] = field(default_factory=list, repr=False)
    """The input so far, while it is streaming."""
    characters: int = 0

    def keys(self, call_id: str) -> Chunk:
        """Return the keys that each result must repeat, or the client would make a second part."""
        return {
            "toolCallId": call_id,
            **({"dynamic": True} if self.dynamic else {}),
            **({"providerExecuted": True} if self.provider_executed else {}),
        }

    def extend(self, delta: str) -> None:
        if self.characters < MAX_CUT_INPUT:
            self.pieces.append(delta)
            self.characters += len(delta)

    @property
    def cut_input(self) -> str | None:
        """The beginning of an input that was never whole, or None if nothing of it came."""
        return "".join(self.pieces)[:MAX_CUT_INPUT] or None


class OpenParts:
    """Follows the chunks of one message. A chunk that a client would refuse changes nothing."""

    def __init__(self) -> None:
        self.empty = True
        self.started = False
        self.ended = False
        self.step_open = False
        self.finish_reason: str | None = None
        self.parts: dict[tuple[PartKind, str], None] = {}
        self.calls: dict[str, Call] = {}
        self.approvals: dict[str, str | None] = {}
        """The call that waits for each approval id, or None once it was answered or withdrawn."""
        self._asked: dict[str, str] = {}
        self._early: dict[str, Chunk] = {}
        """Results of calls that are not known yet, by call id: `adopt` may bring the calls."""
        self._step = 0
        self._shown_step = 0
        """The last step that a client shows: one appears with its first part, or with metadata."""
        self._answered_and_reset = -1
        """The last step that lost calls with results to `reset-step`. Older clients keep them."""

    @property
    def step_empty(self) -> bool:
        """Whether the open step shows nothing yet."""
        return self.step_open and self._shown_step != self._step

    @property
    def calls_of_step(self) -> frozenset[str]:
        """Ids of the calls in the step that is open."""
        return frozenset(
            call_id
            for call_id, call in self.calls.items()
            if self.step_open and call.step == self._step
        )

    def feed(self, chunk: Chunk) -> None:
        self.empty = False
        effect = _EFFECTS.get(chunk["type"])
        if effect is not None:
            effect(self, chunk)

    def follow(self, chunk: Chunk) -> None:
        """Take note of a chunk that somebody else adds to the message.

        Parts and calls that they have begun are theirs to end, and a result of theirs may still be
        replaced.
        """
        if chunk["type"] in _BEGINNINGS:
            self._shown_step = self._step
        else:
            self.feed(chunk)
        call = self.calls.get(str(chunk.get("toolCallId")))
        if chunk["type"] == "tool-output-available" and call is not None and call.state == "done":
            call.state = "failed"

    def closing(self) -> list[Chunk]:
        """Return the chunks that close all parts and the step.

        A partial input becomes an error that holds it as text.
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
                        "input": call.cut_input,
                        "errorText": INCOMPLETE_INPUT_TEXT,
                    }
                )
        if self.step_open:
            chunks.append({"type": "finish-step"})
        return chunks

    def adopt(self, calls: Iterable[Chunk]) -> None:
        """Take note of calls in a message that the chunks here continue, unless they are known."""
        empty, shown_step, known = self.empty, self._shown_step, frozenset(self.calls)
        for chunk in calls:
            if chunk.get("toolCallId") not in known:
                self.feed(chunk)
        for call_id in [call_id for call_id in self.calls if call_id not in known]:
            call = self.calls[call_id]
            call.step = 0
            if call.state == "streaming":
                # Its input never arrived, so nothing can answer it any more.
                call.state = "done"
            if call_id in self._early:
                self.feed(self._early.pop(call_id))
        self.empty, self._shown_step = empty, shown_step

    def seal(self) -> list[Chunk]:
        """Return the chunks to send before `finish`, so that no client sends the message again.

        A client sends a message again if its last step has tool calls and each of them has its
        result, or the user's answer (`sendAutomaticallyWhen`). An empty last step prevents that.
        Returns nothing if the client may still answer a call: it then sends that answer.
        """
        calls = self._last_calls()
        if any(self._waits_for_client(call_id, call) for call_id, call in calls.items()):
            return []
        if self._answered_and_reset != self._shown_step and not any(
            not call.provider_executed or self._is_approved(call_id, call)
            for call_id, call in calls.items()
        ):
            return []
        # Metadata makes the client store the message with a step that has no part.
        shown: Chunk = {"type": "message-metadata", "messageMetadata": {}}
        if self._shown_step != self._step:
            return [shown]
        return [{"type": "start-step"}, shown, {"type": "finish-step"}]

    def stop_seal(self) -> list[Chunk]:
        """Return the chunks to send before an `abort` whose writer did not send `stop_mark`."""
        return stop_mark() if self._last_calls() or self.seal() else []

    def _last_calls(self) -> dict[str, Call]:
        return {
            call_id: call for call_id, call in self.calls.items() if call.step == self._shown_step
        }

    def _waits_for_client(self, call_id: str, call: Call) -> bool:
        if call.state != "called" or call.running:
            return False
        approval_id = self._asked.get(call_id)
        if approval_id is not None:
            return self.approvals[approval_id] is not None
        return not call.provider_executed

    def _is_approved(self, call_id: str, call: Call) -> bool:
        return call.state == "called" and call_id in self._asked

    def _start(self, chunk: Chunk) -> None:
        self.started = True
        self._metadata(chunk)

    def _metadata(self, chunk: Chunk) -> None:
        metadata = chunk.get("messageMetadata")
        if metadata is not None:
            self._shown_step = self._step
        reason = metadata.get("finishReason") if isinstance(metadata, dict) else None
        if isinstance(reason, str) and reason in FINISH_REASONS:
            self.finish_reason = reason

    def _start_step(self, chunk: Chunk) -> None:
        self.step_open = True
        self._step += 1

    def _finish_step(self, chunk: Chunk) -> None:
        self.step_open = False
        # Clients below 7.0.79 drop their open parts here, and fail if an end follows.
        self.parts.clear()

    def _reset_step(self, chunk: Chunk) -> None:
        self.parts.clear()
        removed = [call for call in self.calls.values() if call.step == self._step]
        if removed and all(call.state in ("failed", "done") for call in removed):
            self._answered_and_reset = self._step
        self.calls = {
            call_id: call for call_id, call in self.calls.items() if call.step != self._step
        }
        for call_id in [asked for asked in self._asked if asked not in self.calls]:
            self._withdraw_approval(call_id)

    def _open_part(self, chunk: Chunk) -> None:
        self._shown_step = self._step
        if isinstance(part_id := chunk.get("id"), str):
            self.parts[(_kind_of(chunk), part_id)] = None

    def _close_part(self, chunk: Chunk) -> None:
        if isinstance(part_id := chunk.get("id"), str):
            self.parts.pop((_kind_of(chunk), part_id), None)

    def _call(self, chunk: Chunk) -> None:
        self._shown_step = self._step
        call_id, name = chunk.get("toolCallId"), chunk.get("toolName")
        if isinstance(call_id, str) and isinstance(name, str):
            self.calls[call_id] = Call(
                name,
                dynamic=bool(chunk.get("dynamic")),
                provider_executed=bool(chunk.get("providerExecuted")),
                state=_CALL_STATES[chunk["type"]],
                step=self._step,
            )

    def _input(self, chunk: Chunk) -> None:
        call, delta = self.calls.get(str(chunk.get("toolCallId"))), chunk.get("inputTextDelta")
        if call is not None and call.state == "streaming" and isinstance(delta, str):
            call.extend(delta)

    def _ask(self, chunk: Chunk) -> None:
        approval_id, call_id = chunk.get("approvalId"), chunk.get("toolCallId")
        if isinstance(approval_id, str) and isinstance(call_id, str):
            self._withdraw_approval(call_id)
            self.approvals[approval_id] = call_id
            self._asked[call_id] = approval_id

    def _answer(self, chunk: Chunk) -> None:
        if isinstance(approval_id := chunk.get("approvalId"), str):
            self.approvals[approval_id] = None

    def _withdraw_approval(self, call_id: str) -> None:
        approval_id = self._asked.pop(call_id, None)
        if approval_id is not None and self.approvals[approval_id] == call_id:
            self.approvals[approval_id] = None

    def _resolve_call(self, chunk: Chunk) -> None:
        call_id = chunk.get("toolCallId")
        if not isinstance(call_id, str):
            return
        call = self.calls.get(call_id)
        if call is None:
            self._early[call_id] = {**chunk, "output": None}
            return
        self._shown_step = self._step
        call.running = bool(chunk.get("preliminary"))
        if not call.running:
            call.state = "failed" if chunk["type"] == "tool-output-error" else "done"

    def _end(self, chunk: Chunk) -> None:
        self.ended = True


def stop_mark() -> list[Chunk]:
    """Return the chunks between the last step of a stopped message and its `abort`."""
    # After an abort that directly follows a tool result, `sendAutomaticallyWhen` would send the
    # message again, without end. An empty last step prevents that. The metadata makes the client
    # store the message with that step.
    return [
        {"type": "start-step"},
        {"type": "message-metadata", "messageMetadata": {"stopped": True}},
    ]


def _kind_of(chunk: Chunk) -> PartKind:
    return cast(PartKind, chunk["type"].partition("-")[0])


_CALL_STATES: Final[Mapping[str, CallState]] = {
    "tool-input-start": "streaming",
    "tool-input-available": "called",
    "tool-input-error": "done",
}
_EFFECTS: Final[Mapping[str, Callable[[OpenParts, Chunk], None]]] = {
    "start": OpenParts._start,
    "message-metadata": OpenParts._metadata,
    "start-step": OpenParts._start_step,
    "finish-step": OpenParts._finish_step,
    "reset-step": OpenParts._reset_step,
    "text-start": OpenParts._open_part,
    "text-end": OpenParts._close_part,
    "reasoning-start": OpenParts._open_part,
    "reasoning-end": OpenParts._close_part,
    **dict.fromkeys(_CALL_STATES, OpenParts._call),
    "tool-input-delta": OpenParts._input,
    "tool-approval-request": OpenParts._ask,
    "tool-approval-response": OpenParts._answer,
    "tool-output-available": OpenParts._resolve_call,
    "tool-output-error": OpenParts._resolve_call,
    "tool-output-denied": OpenParts._resolve_call,
    "finish": OpenParts._end,
    "error": OpenParts._end,
    "abort": OpenParts._end,
}
_BEGINNINGS: Final = frozenset({"text-start", "reasoning-start", "tool-input-start"})
FOLLOWED: Final = frozenset(_EFFECTS) - {"tool-input-delta", "finish", "error", "abort"}
"""Types of the chunks that `OpenParts.follow` is given."""
