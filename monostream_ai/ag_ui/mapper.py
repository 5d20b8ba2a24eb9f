"""Turns the UI message chunks of one version into the AG-UI events of one run.

The same chunks always give the same events, ids included, however often they are read.
Sources: PyPI ag-ui-protocol 1.0.0, ag_ui/_generated/models.py; npm @ag-ui/client 1.0.0,
src/apply/default.ts (how a client makes messages of events).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from monostream_ai.ag_ui.events import Event, OpenEvents
from monostream_ai.errors import MASKED_ERROR_TEXT, InvalidChunk
from monostream_ai.json_text import decode_json, encode_json
from monostream_ai.ui_messages.chunks import Chunk, check_chunk
from monostream_ai.ui_messages.texts import DENIED_TEXT

APPROVAL: Final = "tool_approval"
"""Reason of the interrupts of a run that ends while calls wait for the user's approval."""

_KINDS: Final = {"text": "TEXT_MESSAGE", "reasoning": "REASONING_MESSAGE"}


class AGUIMapper:
    """Maps the chunks of one version, from the first one on.

    Each text and each reasoning part becomes a message of its own, named `{run_id}:{number}` in the
    order of the version. Chunks without an event of their own become `CUSTOM` events, with the type
    as name and the other keys as value. Chunks that `check_chunk` refuses give no event.
    """

    def __init__(self, thread_id: str, run_id: str) -> None:
        self._run: Event = {"threadId": thread_id, "runId": run_id}
        self._open = OpenEvents()
        self._made: list[Event] = []
        self._ended = False
        self._numbers = 0
        self._steps = 0
        self._parent: str | None = None
        """The message that the next tool call belongs to."""
        self._parts: dict[tuple[str, str], str] = {}
        """Message ids of the open parts, by kind and part id."""
        self._arguments: dict[str, list[str]] = {}
        """The arguments streamed so far, by call id, and of each call that has ended, none."""
        self._approvals: dict[str, Event] = {}
        """The interrupt for each approval that is asked for, by approval id."""

    def events(self, chunk: Chunk) -> list[Event]:
        """Return the events of the next chunk; often one, for some chunks several or none."""
        self._made = []
        if self._ended:
            return []
        if self._open.run is None:
            self._emit("RUN_STARTED", **self._run)
        kind = chunk["type"]
        if kind in _ENDINGS:
            _ENDINGS[kind](self, chunk)
            return self._made
        try:
            check_chunk(chunk)
        except InvalidChunk:
            return self._made
        _EFFECTS.get(kind, AGUIMapper._custom)(self, chunk)
        return self._made

    def end(self) -> list[Event]:
        """Return the events that end the run of a version closed without a terminal chunk."""
        return self.events({"type": "finish"})

    def _emit(self, kind: str, **keys: Any) -> None:
        event = {"type": kind, **keys}
        self._open.feed(event)
        self._made.append(event)

    def _new_id(self) -> str:
        self._numbers += 1
        return f"{self._run['runId']}:{self._numbers}"

    def _custom(self, chunk: Chunk) -> None:
        value = {key: each for key, each in chunk.items() if key != "type"}
        self._emit("CUSTOM", name=chunk["type"], value=value)

    def _metadata(self, chunk: Chunk) -> None:
        # Nothing is in it where it only makes clients of `ai` show a step.
        if metadata := chunk.get("messageMetadata"):
            self._emit("CUSTOM", name="message-metadata", value={"messageMetadata": metadata})

    def _start_step(self, chunk: Chunk) -> None:
        self._finish_step(chunk)
        self._steps += 1
        self._parent = None
        self._emit("STEP_STARTED", stepName=self._step)

    def _finish_step(self, chunk: Chunk) -> None:
        if self._open.is_open("STEP_STARTED", self._step):
            self._emit("STEP_FINISHED", stepName=self._step)

    @property
    def _step(self) -> str:
        return f"step-{self._steps}"

    def _reset_step(self, chunk: Chunk) -> None:
        # A client keeps what the step has shown: AG-UI can take no single message back.
        for kind, part_id in [*self._parts]:
            self._close_part({"type": f"{kind}-end", "id": part_id})
        self._parent = None
        self._custom(chunk)

    def _open_part(self, chunk: Chunk) -> None:
        kind, key = _part_of(chunk)
        if key in self._parts:
            self._close_part(chunk)
        message_id = self._parts[key] = self._new_id()
        if kind == "text":
            self._parent = message_id
            self._emit("TEXT_MESSAGE_START", messageId=message_id, role="assistant")
        else:
            self._emit("REASONING_START", messageId=message_id)
            self._emit("REASONING_MESSAGE_START", messageId=message_id, role="reasoning")

    def _extend_part(self, chunk: Chunk) -> None:
        kind, key = _part_of(chunk)
        # Clients before 1.0 refuse an empty delta.
        if key in self._parts and chunk["delta"]:
            self._emit(f"{_KINDS[kind]}_CONTENT", messageId=self._parts[key], delta=chunk["delta"])

    def _close_part(self, chunk: Chunk) -> None:
        kind, key = _part_of(chunk)
        message_id = self._parts.pop(key, None)
        if message_id is not None:
            self._emit(f"{_KINDS[kind]}_END", messageId=message_id)
            if kind == "reasoning":
                self._emit("REASONING_END", messageId=message_id)

    def _start_call(self, chunk: Chunk) -> None:
        call_id = chunk["toolCallId"]
        if self._open.is_open("TOOL_CALL_START", call_id):
            return
        if self._parent is None:
            self._parent = self._new_id()
        self._arguments[call_id] = []
        self._emit(
            "TOOL_CALL_START",
            toolCallId=call_id,
            toolCallName=chunk["toolName"],
            parentMessageId=self._parent,
        )

    def _extend_call(self, chunk: Chunk) -> None:
        call_id, delta = chunk["toolCallId"], chunk["inputTextDelta"]
        if delta and self._open.is_open("TOOL_CALL_START", call_id):
            self._arguments[call_id].append(delta)
            self._emit("TOOL_CALL_ARGS", toolCallId=call_id, delta=delta)

    def _call(self, chunk: Chunk) -> None:
        if not _says(self._arguments_of(chunk), chunk["input"]):
            # Arguments that were sent cannot be taken back.
            self._custom(chunk)
        self._close_call(chunk["toolCallId"])

    def _refused_call(self, chunk: Chunk) -> None:
        self._arguments_of(chunk)
        self._failure(chunk)

    def _arguments_of(self, chunk: Chunk) -> str:
        """Return the arguments sent for a call, after those of its whole input if none were."""
        call_id = chunk["toolCallId"]
        if call_id not in self._arguments:
            self._start_call(chunk)
        if not self._arguments[call_id] and chunk["input"] is not None:
            self._extend_call({**chunk, "inputTextDelta": encode_json(chunk["input"])})
        return "".join(self._arguments[call_id])

    def _close_call(self, call_id: str) -> None:
        if self._open.is_open("TOOL_CALL_START", call_id):
            self._arguments[call_id] = []
            self._emit("TOOL_CALL_END", toolCallId=call_id)

    def _output(self, chunk: Chunk) -> None:
        if chunk.get("preliminary") is True:
            self._custom(chunk)
            return
        output = chunk["output"]
        self._result(chunk, output if isinstance(output, str) else encode_json(output))

    def _failure(self, chunk: Chunk) -> None:
        self._result(chunk, chunk["errorText"], metadata={"state": "output-error"})

    def _denial(self, chunk: Chunk) -> None:
        self._result(chunk, DENIED_TEXT, metadata={"state": "output-denied"})

    def _result(self, chunk: Chunk, content: str, **keys: Any) -> None:
        call_id = chunk["toolCallId"]
        self._close_call(call_id)
        self._parent = None
        for approval_id, asked in [*self._approvals.items()]:
            if asked["toolCallId"] == call_id:
                del self._approvals[approval_id]
        self._emit(
            "TOOL_CALL_RESULT",
            messageId=self._new_id(),
            toolCallId=call_id,
            content=content,
            role="tool",
            **keys,
        )

    def _ask(self, chunk: Chunk) -> None:
        asked = {"id": chunk["approvalId"], "reason": APPROVAL, "toolCallId": chunk["toolCallId"]}
        self._approvals[chunk["approvalId"]] = asked
        self._custom(chunk)

    def _answer(self, chunk: Chunk) -> None:
        self._approvals.pop(chunk["approvalId"], None)
        self._custom(chunk)

    def _close_all(self) -> None:
        for event in self._open.closing():
            self._emit(event.pop("type"), **event)
        self._ended = True

    def _finish(self, chunk: Chunk) -> None:
        self._metadata(chunk)
        self._close_all()
        keys: Event = {}
        if self._approvals:
            interrupts = [*self._approvals.values()]
            keys["outcome"] = {"type": "interrupt", "interrupts": interrupts}
        if isinstance(reason := chunk.get("finishReason"), str):
            keys["metadata"] = {"finishReason": reason}
        self._emit("RUN_FINISHED", **self._run, **keys)

    def _error(self, chunk: Chunk) -> None:
        self._close_all()
        self._emit("RUN_ERROR", message=str(chunk.get("errorText") or MASKED_ERROR_TEXT))

    def _abort(self, chunk: Chunk) -> None:
        self._close_all()
        reason = chunk.get("reason")
        keys = {"metadata": {"reason": reason}} if isinstance(reason, str) else {}
        self._emit("RUN_FINISHED", **self._run, outcome={"type": "cancelled"}, **keys)


def _part_of(chunk: Chunk) -> tuple[str, tuple[str, str]]:
    kind = chunk["type"].partition("-")[0]
    return kind, (kind, chunk["id"])


def _says(text: str, value: Any) -> bool:
    """Return whether streamed arguments are the whole input, as JSON or as plain text."""
    try:
        return text == value or encode_json(decode_json(text)) == encode_json(value)
    except (ValueError, RecursionError):
        return False


_ENDINGS: Final[Mapping[str, Callable[[AGUIMapper, Chunk], None]]] = {
    "finish": AGUIMapper._finish,
    "error": AGUIMapper._error,
    "abort": AGUIMapper._abort,
}
_EFFECTS: Final[Mapping[str, Callable[[AGUIMapper, Chunk], None]]] = {
    "start": AGUIMapper._metadata,
    "message-metadata": AGUIMapper._metadata,
    "start-step": AGUIMapper._start_step,
    "finish-step": AGUIMapper._finish_step,
    "reset-step": AGUIMapper._reset_step,
    "text-start": AGUIMapper._open_part,
    "text-delta": AGUIMapper._extend_part,
    "text-end": AGUIMapper._close_part,
    "reasoning-start": AGUIMapper._open_part,
    "reasoning-delta": AGUIMapper._extend_part,
    "reasoning-end": AGUIMapper._close_part,
    "tool-input-start": AGUIMapper._start_call,
    "tool-input-delta": AGUIMapper._extend_call,
    "tool-input-available": AGUIMapper._call,
    "tool-input-error": AGUIMapper._refused_call,
    "tool-approval-request": AGUIMapper._ask,
    "tool-approval-response": AGUIMapper._answer,
    "tool-output-available": AGUIMapper._output,
    "tool-output-error": AGUIMapper._failure,
    "tool-output-denied": AGUIMapper._denial,
}
