"""Applies tool chunks to the tool parts of a message.

Source: vercel/ai, ai@7.0.173, packages/ai/src/ui/process-ui-message-stream.ts:203-479 and 649-963.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final, TypeAlias

from monostream_ai.errors import InvalidChunk
from monostream_ai.ui_messages.chunks import Chunk
from monostream_ai.ui_messages.partial_json import parse_partial_json
from monostream_ai.ui_messages.texts import INCOMPLETE_INPUT_TEXT

Part: TypeAlias = dict[str, Any]

_REPLACED: Final = ("input", "output", "errorText", "rawInput", "inputEncoding", "preliminary")
_RESULTS: Final = ("output-available", "output-error")
_KEPT: Final = ("title", "toolMetadata", "providerExecuted")


def current_step(parts: list[Part]) -> list[Part]:
    """Return the parts after the last `step-start`."""
    index = len(parts)
    while index > 0 and parts[index - 1]["type"] != "step-start":
        index -= 1
    return parts[index:]


def is_tool_part(part: Part) -> bool:
    kind: str = part["type"]
    return kind == "dynamic-tool" or kind.startswith("tool-")


def tool_name(part: Mapping[str, Any]) -> str:
    kind = str(part.get("type"))
    return str(part.get("toolName")) if kind == "dynamic-tool" else kind.removeprefix("tool-")


@dataclass(slots=True)
class _Input:
    """The input of one call while it is arriving."""

    start: Chunk
    pieces: list[str] = field(default_factory=list)

    def values(self) -> Part:
        text = "".join(self.pieces)
        self.pieces[:] = [text]
        encoding = self.start.get("inputEncoding")
        values = (
            {"rawInput": text}
            if encoding is None
            else {"rawInput": text, "inputEncoding": encoding}
        )
        if encoding == "text":
            return {**values, "input": text}
        try:
            return {**values, "input": parse_partial_json(text)}
        except ValueError:
            return values


class ToolParts:
    """Changes the parts of a message in place.

    Streamed input is parsed when the message is read, not at every delta: parsing all of it each
    time would take quadratic time.
    """

    def __init__(self, parts: list[Part]) -> None:
        self._parts = parts
        self._inputs: dict[str, _Input] = {}
        self._stale: dict[str, None] = {}
        self._here: dict[str, list[Part]] = {}
        """The parts of each call in the current step: one of each kind, static and dynamic."""
        self._last: dict[str, Part] = {}
        """The last part of each call in the whole message."""
        self._asked: dict[str, Part] = {}
        """The part that asked for each approval id first."""
        self.index_parts()
        for part in current_step(parts):
            if is_tool_part(part) and part["state"] == "input-streaming":
                self._inputs[part["toolCallId"]] = _Input(
                    _start_of(part), [part.get("rawInput", "")]
                )

    def index_parts(self) -> None:
        """Index the parts again, after some were removed."""
        self._last = {part["toolCallId"]: part for part in filter(is_tool_part, self._parts)}
        self.begin_step()
        for part in filter(is_tool_part, current_step(self._parts)):
            self._here.setdefault(part["toolCallId"], []).append(part)

    def begin_step(self) -> None:
        """Begin a step, which has no parts yet."""
        self._here = {}

    def input_start(self, chunk: Chunk) -> None:
        self._inputs[chunk["toolCallId"]] = _Input(chunk)
        encoding = chunk.get("inputEncoding")
        values = {} if encoding is None else {"inputEncoding": encoding}
        self._put(chunk, "input-streaming", values, dynamic=bool(chunk.get("dynamic")))

    def input_delta(self, chunk: Chunk) -> None:
        call_id = chunk["toolCallId"]
        if call_id not in self._inputs:
            raise InvalidChunk("$.toolCallId", f"call {call_id!r} has no tool-input-start")
        self._inputs[call_id].pieces.append(chunk["inputTextDelta"])
        self._stale[call_id] = None

    def input_available(self, chunk: Chunk) -> None:
        self._put(
            chunk, "input-available", {"input": chunk["input"]}, dynamic=bool(chunk.get("dynamic"))
        )

    def input_error(self, chunk: Chunk) -> None:
        known = self._here.get(chunk["toolCallId"])
        dynamic = (
            bool(chunk.get("dynamic")) if known is None else known[0]["type"] == "dynamic-tool"
        )
        values = {"input": chunk["input"], "errorText": chunk["errorText"]}
        untitled = {key: value for key, value in chunk.items() if key != "title"}
        self._put(untitled, "output-error", values, dynamic=dynamic)

    def output_available(self, chunk: Chunk) -> None:
        part = self._find(chunk["toolCallId"])
        values = {**_pick(part, "input"), **_pick(chunk, "output", "preliminary")}
        _write(part, "output-available", values, chunk)

    def output_error(self, chunk: Chunk) -> None:
        part = self._find(chunk["toolCallId"])
        kept = ("input",) if part["type"] == "dynamic-tool" else ("input", "rawInput")
        _write(part, "output-error", {**_pick(part, *kept), "errorText": chunk["errorText"]}, chunk)

    def output_denied(self, chunk: Chunk) -> None:
        self._find(chunk["toolCallId"])["state"] = "output-denied"

    def approval_request(self, chunk: Chunk) -> None:
        part = self._find(chunk["toolCallId"])
        part["state"] = "approval-requested"
        part["approval"] = {
            "id": chunk["approvalId"],
            **_pick(chunk, "inputSchemaInput", "signature"),
        }
        self._asked.setdefault(chunk["approvalId"], part)
        if chunk.get("isAutomatic"):
            part["approval"]["isAutomatic"] = True
        for key, name in (("approvalDescriptor", "descriptor"), ("reason", "requestReason")):
            if chunk.get(key) is not None:
                part["approval"][name] = chunk[key]

    def approval_response(self, chunk: Chunk) -> None:
        approval_id = chunk["approvalId"]
        part = self._asked.get(approval_id)
        if part is None or part["approval"]["id"] != approval_id:
            part = next(
                (
                    part
                    for part in self._parts
                    if (part.get("approval") or {}).get("id") == approval_id
                ),
                None,
            )
        if part is None:
            raise InvalidChunk("$.approvalId", f"no tool call asked for approval {approval_id!r}")
        part["state"] = "approval-responded"
        part["approval"] = {**part["approval"], **_pick(chunk, "approved", "reason")}
        part.update(_pick(chunk, "providerExecuted"))
        if "providerMetadata" in chunk:
            part["callProviderMetadata"] = chunk["providerMetadata"]

    def read_inputs(self) -> None:
        """Write the input that has arrived into the parts."""
        for call_id in self._stale:
            pending = self._inputs[call_id]
            start = {
                key: value
                for key, value in pending.start.items()
                if key not in ("providerExecuted", "providerMetadata")
            }
            self._put(
                start, "input-streaming", pending.values(), dynamic=bool(start.get("dynamic"))
            )
        self._stale.clear()

    def forget_inputs(self) -> None:
        self._inputs.clear()
        self._stale.clear()

    def finish(self) -> None:
        """Bring every part into a state that `safeValidateUIMessages` accepts in a history."""
        for part in filter(is_tool_part, self._parts):
            if part["state"] == "input-streaming":
                _write(
                    part,
                    "output-error",
                    {**_pick(part, "input"), "errorText": INCOMPLETE_INPUT_TEXT},
                    {},
                )
            if part["state"] != "output-error":
                part.setdefault("input", None)
            if part["state"] not in _RESULTS:
                # A call that asks for approval after its result keeps the result in the client,
                # but a history may not contain both.
                _write(part, part["state"], _pick(part, "input", "rawInput", "inputEncoding"), {})
            if part["state"] == "input-available":
                part.pop("approval", None)
            if (part.get("approval") or {}).get("approved") is False and part["state"] in _RESULTS:
                # A history may have results of approved calls only, and this one was denied.
                _write(part, "output-denied", _pick(part, "input", "rawInput", "inputEncoding"), {})
            denied = part["state"] == "output-denied"
            if denied or ("approval" in part and part["state"].startswith("output-")):
                part["approval"] = {
                    "id": part["toolCallId"],
                    **part.get("approval", {}),
                    "approved": not denied,
                }

    def _find(self, call_id: str) -> Part:
        if call_id not in self._last:
            raise InvalidChunk("$.toolCallId", f"this message has no call {call_id!r}")
        return self._here[call_id][0] if call_id in self._here else self._last[call_id]

    def _put(self, chunk: Chunk, state: str, values: Part, *, dynamic: bool) -> None:
        call_id, name = chunk["toolCallId"], chunk["toolName"]
        same = self._here.setdefault(call_id, [])
        part = next((part for part in same if (part["type"] == "dynamic-tool") == dynamic), None)
        if part is None:
            part = (
                {"type": "dynamic-tool", "toolCallId": call_id}
                if dynamic
                else {"type": "tool-", "toolCallId": call_id}
            )
            self._parts.append(part)
            self._last[call_id] = part
            same.append(part)
            if dynamic:
                # As in the client: a dynamic part that begins with a delta, in a later step than
                # its call, has no `rawInput`.
                values = {key: value for key, value in values.items() if key != "rawInput"}
        part.update({"toolName": name} if dynamic else {"type": f"tool-{name}"})
        _write(part, state, values, chunk)


def _write(part: Part, state: str, values: Part, chunk: Chunk) -> None:
    part["state"] = state
    for key in _REPLACED:
        part.pop(key, None)
    part.update(values)
    part.update(_pick(chunk, *_KEPT))
    if "providerMetadata" in chunk:
        part["resultProviderMetadata" if state in _RESULTS else "callProviderMetadata"] = chunk[
            "providerMetadata"
        ]


def _pick(source: Part, *keys: str) -> Part:
    return {key: source[key] for key in keys if key in source}


def _start_of(part: Part) -> Chunk:
    dynamic = part["type"] == "dynamic-tool"
    keys = _pick(part, "toolCallId", "title", "toolMetadata", "inputEncoding")
    return {"type": "tool-input-start", "toolName": tool_name(part), "dynamic": dynamic, **keys}
