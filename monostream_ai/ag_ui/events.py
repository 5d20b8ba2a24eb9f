"""The events of AG-UI 1.0 as a table, a check that refuses events a client would refuse, and the
events that are still open in a run.

Unknown types and keys pass unchanged, because clients gain new ones.
Sources: PyPI ag-ui-protocol 1.0.0, ag_ui/_generated/models.py (shapes); npm @ag-ui/client 1.0.0,
src/verify/verify.ts (what must be closed before `RUN_FINISHED`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final, Literal, NamedTuple, TypeAlias

from monostream_ai.errors import InvalidChunk

Event: TypeAlias = dict[str, Any]
"""One AG-UI event as JSON, with camelCase keys and a string under `type`."""

TERMINAL_TYPES: Final = frozenset({"RUN_FINISHED", "RUN_ERROR"})

DELTA_KEYS: Final[Mapping[str, str]] = {
    "TEXT_MESSAGE_CONTENT": "delta",
    "REASONING_MESSAGE_CONTENT": "delta",
    "TOOL_CALL_ARGS": "delta",
}
"""Event types that append text, and the key that holds it."""

Kind = Literal["string", "boolean", "integer", "object", "array", "content", "role", "anything"]
"""The type of a value. `anything` is any JSON value including null; every other kind refuses null.
"""


class Shape(NamedTuple):
    """The keys of one event type, besides those that every event may have."""

    required: Mapping[str, Kind] = {}
    optional: Mapping[str, Kind] = {}


_COMMON: Final[Mapping[str, Kind]] = {
    "timestamp": "integer",
    "metadata": "object",
    "subagentRunId": "string",
}
_MESSAGE: Final[Mapping[str, Kind]] = {"messageId": "string"}
_CALL: Final[Mapping[str, Kind]] = {"toolCallId": "string"}
_DELTA: Final[Mapping[str, Kind]] = {"delta": "string"}
_STEP: Final[Mapping[str, Kind]] = {"stepName": "string"}
_RUN: Final[Mapping[str, Kind]] = {"threadId": "string", "runId": "string"}
_ACTIVITY: Final[Mapping[str, Kind]] = {**_MESSAGE, "activityType": "string"}
_SUBAGENT: Final[Mapping[str, Kind]] = {"subagentRunId": "string"}

SHAPES: Final[Mapping[str, Shape]] = {
    "RUN_STARTED": Shape(
        _RUN, {"protocolVersion": "string", "parentRunId": "string", "input": "object"}
    ),
    "RUN_FINISHED": Shape(_RUN, {"outcome": "object", "usage": "array"}),
    "RUN_ERROR": Shape({"message": "string"}, {"code": "string", "usage": "array"}),
    "STEP_STARTED": Shape(_STEP),
    "STEP_FINISHED": Shape(_STEP),
    "TEXT_MESSAGE_START": Shape(_MESSAGE, {"role": "role", "name": "string"}),
    "TEXT_MESSAGE_CONTENT": Shape({**_MESSAGE, **_DELTA}),
    "TEXT_MESSAGE_END": Shape(_MESSAGE),
    "TEXT_MESSAGE_CHUNK": Shape({}, {**_MESSAGE, **_DELTA, "role": "role", "name": "string"}),
    "TOOL_CALL_START": Shape({**_CALL, "toolCallName": "string"}, {"parentMessageId": "string"}),
    "TOOL_CALL_ARGS": Shape({**_CALL, **_DELTA}),
    "TOOL_CALL_END": Shape(_CALL),
    "TOOL_CALL_CHUNK": Shape(
        {}, {**_CALL, **_DELTA, "toolCallName": "string", "parentMessageId": "string"}
    ),
    "TOOL_CALL_RESULT": Shape({**_MESSAGE, **_CALL, "content": "content"}),
    "REASONING_START": Shape(_MESSAGE),
    "REASONING_MESSAGE_START": Shape({**_MESSAGE, "role": "string"}),
    "REASONING_MESSAGE_CONTENT": Shape({**_MESSAGE, **_DELTA}),
    "REASONING_MESSAGE_END": Shape(_MESSAGE),
    "REASONING_MESSAGE_CHUNK": Shape({}, {**_MESSAGE, **_DELTA}),
    "REASONING_END": Shape(_MESSAGE),
    "REASONING_ENCRYPTED_VALUE": Shape(
        {"subtype": "string", "entityId": "string", "encryptedValue": "string"}
    ),
    "STATE_SNAPSHOT": Shape({"snapshot": "anything"}),
    "STATE_DELTA": Shape({"delta": "array"}),
    "MESSAGES_SNAPSHOT": Shape({"messages": "array"}),
    "ACTIVITY_SNAPSHOT": Shape({**_ACTIVITY, "content": "object"}, {"replace": "boolean"}),
    "ACTIVITY_DELTA": Shape({**_ACTIVITY, "patch": "array"}),
    "RAW": Shape({"event": "anything"}, {"source": "string"}),
    "CUSTOM": Shape({"name": "string", "value": "anything"}),
    "SUBAGENT_STARTED": Shape(
        {**_SUBAGENT, "name": "string"},
        {
            "description": "string",
            "parentSubagentRunId": "string",
            "parentToolCallId": "string",
            "parentMessageId": "string",
        },
    ),
    "SUBAGENT_FINISHED": Shape(_SUBAGENT, {"outcome": "object"}),
    "SUBAGENT_ERROR": Shape({**_SUBAGENT, "message": "string"}, {"code": "string"}),
}
"""Every event type of AG-UI 1.0."""


def check_event(event: object) -> Event:
    """Return the event if a client of AG-UI 1.0 accepts it on its own.

    The order of events is not checked.

    Raises:
        InvalidChunk: A required key is missing, an optional key is null, or a value has the wrong
            type. Its `path` points there.
    """
    if not isinstance(event, dict):
        raise InvalidChunk("$", "an AG-UI event is an object; `to_event` makes one of a model")
    kind = event.get("type")
    if not isinstance(kind, str) or not kind:
        raise InvalidChunk("$.type", "an AG-UI event needs a string here")
    shape = SHAPES.get(kind)
    if shape is not None:
        for key, wanted in shape.required.items():
            if key not in event:
                raise InvalidChunk(f"$.{key}", f"a {kind} event needs this key")
            _check_value(key, wanted, event[key])
        for key, wanted in {**_COMMON, **shape.optional}.items():
            if key in event:
                _check_value(key, wanted, event[key])
    return event


def to_event(model: Any) -> Event:
    """Return the JSON of an event model of `ag_ui.core`, with the keys of the wire.

    Raises:
        TypeError: The value has no `model_dump`.
    """
    if not hasattr(model, "model_dump"):
        raise TypeError(f"{type(model).__name__} is not an event of ag_ui.core")
    event: Event = model.model_dump(mode="json", by_alias=True)
    shape = SHAPES.get(event.get("type", ""), Shape())
    # Releases before 1.0 write null for optional keys that have no value, and clients refuse it.
    return {
        key: value for key, value in event.items() if value is not None or key in shape.required
    }


def _check_value(key: str, kind: Kind, value: object) -> None:
    accepts, wanted = _KINDS[kind]
    if not accepts(value):
        raise InvalidChunk(f"$.{key}", f"{value!r:.100} is not {wanted}")


_KINDS: Final[Mapping[Kind, tuple[Callable[[object], bool], str]]] = {
    "string": (lambda value: isinstance(value, str), "a string"),
    "boolean": (lambda value: isinstance(value, bool), "a boolean"),
    "integer": (
        lambda value: isinstance(value, int) and not isinstance(value, bool),
        "an integer",
    ),
    "object": (lambda value: isinstance(value, dict), "an object"),
    "array": (lambda value: isinstance(value, list | tuple), "an array"),
    "content": (lambda value: isinstance(value, str | list | tuple), "a string or a list of parts"),
    "role": (
        lambda value: value in ("developer", "system", "assistant", "user"),
        "the role of a text message: developer, system, assistant or user",
    ),
    "anything": (lambda value: True, "a value"),
}

_CLOSED_BY: Final[Mapping[str, tuple[str, str]]] = {
    "TEXT_MESSAGE_START": ("TEXT_MESSAGE_END", "messageId"),
    "TOOL_CALL_START": ("TOOL_CALL_END", "toolCallId"),
    "REASONING_START": ("REASONING_END", "messageId"),
    "REASONING_MESSAGE_START": ("REASONING_MESSAGE_END", "messageId"),
    "STEP_STARTED": ("STEP_FINISHED", "stepName"),
    "SUBAGENT_STARTED": ("SUBAGENT_FINISHED", "subagentRunId"),
}
"""The event that closes each event that opens something, and the key that names it in both."""

_CLOSES: Final[Mapping[str, tuple[str, str]]] = {
    **{end: (end, key) for end, key in _CLOSED_BY.values()},
    "SUBAGENT_ERROR": ("SUBAGENT_FINISHED", "subagentRunId"),
}


class OpenEvents:
    """Follows the events of one run and returns those that close it."""

    def __init__(self) -> None:
        self.run: Event | None = None
        """`{threadId, runId}`, once the run has started."""
        self._closing: dict[tuple[str, object, object], Event] = {}

    def feed(self, event: Event) -> None:
        """Take note of the next event."""
        kind = event["type"]
        if kind == "RUN_STARTED":
            self.run = {key: event.get(key) for key in ("threadId", "runId")}
        elif kind in _CLOSED_BY:
            end, key = _CLOSED_BY[kind]
            tag = {"subagentRunId": event["subagentRunId"]} if "subagentRunId" in event else {}
            self._closing[_named(event, end, key)] = {"type": end, key: event.get(key), **tag}
        elif kind in _CLOSES:
            self._closing.pop(_named(event, *_CLOSES[kind]), None)

    def is_open(self, kind: str, name: str) -> bool:
        """Return whether an opening event of this type and name of the main agent is not closed."""
        end, key = _CLOSED_BY[kind]
        return _named({key: name}, end, key) in self._closing

    def closing(self, subagent_error: str | None = None) -> list[Event]:
        """Return the events that close everything, the latest first.

        Args:
            subagent_error: With it, open subagents have failed.
        """
        return [
            {**event, "type": "SUBAGENT_ERROR", "message": subagent_error}
            if subagent_error is not None and event["type"] == "SUBAGENT_FINISHED"
            else event
            for event in reversed(self._closing.values())
        ]


def _named(event: Event, end: str, key: str) -> tuple[str, object, object]:
    # A step has its name within one agent only. The other names are unique in a run, and events
    # that close them may leave the subagent out.
    return end, event.get(key), event.get("subagentRunId") if key == "stepName" else None
