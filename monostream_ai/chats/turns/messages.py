"""The shapes of a chat POST, so that a malformed one is refused before anything is stored.

They ask for no more than the clients of `ai` 5, 6 and 7 send: unknown keys and unknown types of
parts pass, and an optional key may be null. Each shape is a JSON schema, which the OpenAPI document
shows; `_fault` knows as much of JSON Schema as they need.

Source: vercel/ai, ai@7.0.173, packages/ai/src/ui/validate-ui-messages.ts (`uiMessagesSchema`), and
ui/http-chat-transport.ts:171-214; 5.0.277 and 6.0.326 know fewer types of parts.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, Final, TypeAlias

from monostream_ai.types import MAX_TEXT_BYTES

MAX_PARTS: Final = 10_000
"""Parts of all messages of a request. Long conversations of agents have some thousands."""

Schema: TypeAlias = dict[str, Any]

TEXT: Final[Schema] = {"type": "string"}
FLAG: Final[Schema] = {"type": "boolean"}
MAPPING: Final[Schema] = {"type": "object"}
LIST: Final[Schema] = {"type": "array"}

_TYPES: Final[Mapping[str, tuple[type, str]]] = {
    "string": (str, "input should be a valid string"),
    "boolean": (bool, "input should be a valid boolean"),
    "object": (dict, "input should be a valid dictionary"),
    "array": (list, "input should be a valid list"),
}


def _words(*words: str) -> Schema:
    return {"type": "string", "enum": [*words]}


def _shape(required: Mapping[str, Schema], optional: Mapping[str, Schema] | None = None) -> Schema:
    """Return the schema of an object with keys that it must have, and others that may be null."""
    others = {name: {"anyOf": [each, {"type": "null"}]} for name, each in (optional or {}).items()}
    return {"type": "object", "properties": {**required, **others}, "required": [*required]}


def _part(kind: str, required: Mapping[str, Schema], **optional: Schema) -> Schema:
    return _shape({"type": {"const": kind}, **required}, optional)


_STATE: Final = _words("streaming", "done")
_FILE: Final = {"mediaType": TEXT, "url": TEXT}
_APPROVAL: Final = _shape(
    {"id": TEXT},
    {"approved": FLAG, "reason": TEXT, "isAutomatic": FLAG, "signature": TEXT},
)
_CALL: Final = {
    "title": TEXT,
    "providerExecuted": FLAG,
    "preliminary": FLAG,
    "toolMetadata": MAPPING,
    "callProviderMetadata": MAPPING,
    "resultProviderMetadata": MAPPING,
    "approval": _APPROVAL,
}
_STATIC: Final[dict[str, Schema]] = {
    "text": _part("text", {"text": TEXT}, state=_STATE, citations=LIST, providerMetadata=MAPPING),
    "reasoning": _part(
        "reasoning", {"text": TEXT}, id=TEXT, state=_STATE, providerMetadata=MAPPING
    ),
    "file": _part(
        "file", _FILE, filename=TEXT, providerReference=MAPPING, providerMetadata=MAPPING
    ),
    "reasoning-file": _part("reasoning-file", _FILE, providerMetadata=MAPPING),
    "source-url": _part(
        "source-url", {"sourceId": TEXT, "url": TEXT}, title=TEXT, providerMetadata=MAPPING
    ),
    "source-document": _part(
        "source-document",
        {"sourceId": TEXT, "mediaType": TEXT, "title": TEXT},
        filename=TEXT,
        providerMetadata=MAPPING,
    ),
    "custom": _part("custom", {"kind": TEXT}, providerMetadata=MAPPING),
    "step-start": _part("step-start", {}),
}
_STEERED: Final = [_STATIC["text"], _STATIC["file"]]
_STATIC["steering-message"] = _part(
    "steering-message",
    {"id": TEXT, "parts": {"type": "array", "items": {"anyOf": _STEERED}}},
)
_CALLS: Final[dict[str, Schema]] = {
    "plain": {
        "state": _words("input-streaming", "input-available", "output-available", "output-denied")
    },
    "failed": {"state": _words("output-error"), "errorText": TEXT},
    "asking": {"state": _words("approval-requested", "approval-responded"), "approval": _APPROVAL},
}
_FAMILIES: Final = {
    "output-error": "failed",
    "approval-requested": "asking",
    "approval-responded": "asking",
}


def _call(head: Mapping[str, Schema], family: Mapping[str, Schema]) -> Schema:
    optional = {name: each for name, each in _CALL.items() if name not in family}
    return _shape({**head, "toolCallId": TEXT, **family}, optional)


_TOOL: Final = {"type": {"type": "string", "pattern": "^tool-"}}
_DYNAMIC: Final = {"type": {"const": "dynamic-tool"}, "toolName": TEXT}
_TOOLS: Final = {name: _call(_TOOL, family) for name, family in _CALLS.items()}
_DYNAMIC_TOOLS: Final = {name: _call(_DYNAMIC, family) for name, family in _CALLS.items()}
_DATA: Final = _shape({"type": {"type": "string", "pattern": "^data-"}}, {"id": TEXT})
_OTHER: Final = _shape(
    {
        "type": {
            "type": "string",
            "minLength": 1,
            "not": {"enum": [*_STATIC, "dynamic-tool"]},
            "allOf": [{"not": {"pattern": "^(tool|data)-"}}],
        }
    }
)
"""A part of a type that a later release of `ai` may add."""

_LOCAL: Final = re.compile("(blob|javascript|vbscript):", re.IGNORECASE)
"""URLs that mean something in one page only. `createObjectURL` makes a `blob:`. A `file:` may be of
this machine, for an application on a desktop that allows it (`url_schemes`).
"""

# The core checks the ids that it stores.
_ID: Final = {"type": "string", "maxLength": MAX_TEXT_BYTES}
_PARTS: Final = [*_STATIC.values(), *_TOOLS.values(), *_DYNAMIC_TOOLS.values(), _DATA, _OTHER]
MESSAGE: Final = _shape(
    {
        "role": _words("system", "user", "assistant"),
        "parts": {"type": "array", "items": {"anyOf": _PARTS}},
    },
    {"id": _ID},
)
OPTIONS: Final = _shape(
    {}, {"trigger": _words("submit-message", "regenerate-message"), "messageId": _ID}
)
"""The other keys of a body that have a meaning here."""

_MESSAGES: Final = {"type": "array", "minItems": 1, "items": MESSAGE}
_SHAPES: Final = {
    **_STATIC,
    **{f"{family} tool": shape for family, shape in _TOOLS.items()},
    **{f"{family} dynamic-tool": shape for family, shape in _DYNAMIC_TOOLS.items()},
    "data": _DATA,
    "other": _OTHER,
}


def fault_in(body: Mapping[str, Any]) -> str | None:
    """Return the place and the nature of the first fault of a body, if any.

    It quotes nothing that the client sent.
    """
    if (fault := _fault(OPTIONS, body)) is not None:
        return fault.removeprefix(".")
    if "messages" not in body and "message" not in body:
        return "messages: field required"
    messages = body["messages"] if "messages" in body else [body["message"]]
    if (fault := _fault(_MESSAGES, messages)) is not None:
        return f"messages{fault}"
    return None


def fault_in_question(messages: Sequence[Mapping[str, Any]]) -> str | None:
    """Return why the last message is no question, or why no server could read a file of it.

    Earlier messages may be of the system or empty: an answer may be, that was stopped at once.
    """
    place, last = f"messages[{len(messages) - 1}]", messages[-1]
    if last["role"] == "system":
        return f"{place}.role: input should be 'user' or 'assistant'"
    if last["role"] == "assistant":
        return None
    if not last["parts"]:
        return f"{place}.parts: list should have at least 1 item"
    for number, part in enumerate(last["parts"]):
        # A page may show its own copy of a file that the model's provider has.
        if part["type"] != "file" or part.get("providerReference"):
            continue
        if (local := _LOCAL.match(part["url"])) is not None:
            return f"{place}.parts[{number}].url: a server cannot read a {local[1].lower()}: URL"
    return None


def _fault(schema: Schema, value: Any) -> str | None:
    """Return the path and the nature of the first fault of a value: `.text: field required`."""
    if "anyOf" in schema:
        return None if value is None else _fault(schema["anyOf"][0], value)
    if "const" in schema:
        # The shape was chosen by it.
        return None
    if "enum" in schema:
        return None if value in schema["enum"] else f": input should be {_either(schema['enum'])}"
    kind, nature = _TYPES[schema["type"]]
    if not isinstance(value, kind):
        return ": input should be an object" if "properties" in schema else f": {nature}"
    if isinstance(value, dict):
        return _fault_in_keys(schema, value)
    if isinstance(value, list):
        return _fault_in_items(schema, value)
    if "minLength" in schema and not value:
        return ": string should have at least 1 character"
    return None


def _fault_in_keys(shape: Schema, value: Mapping[str, Any]) -> str | None:
    for name, schema in shape.get("properties", {}).items():
        if name in value:
            if (fault := _fault(schema, value[name])) is not None:
                return f".{name}{fault}"
        elif name in shape["required"]:
            return f".{name}: field required"
    return None


def _fault_in_items(schema: Schema, items: Sequence[Any]) -> str | None:
    if "minItems" in schema and not items:
        return ": list should have at least 1 item"
    if "items" not in schema:
        return None
    shapes = schema["items"].get("anyOf")
    for number, item in enumerate(items):
        shape = schema["items"] if shapes is None else _SHAPES[_kind(item)]
        if shapes is _STEERED and not any(shape is each for each in shapes):
            return f"[{number}]: input should be a text or a file"
        if (fault := _fault(shape, item)) is not None:
            return f"[{number}]{fault}"
    return None


def _kind(part: Any) -> str:
    """Return the name of the shape that a part must have."""
    kind = part.get("type") if isinstance(part, dict) else None
    if not isinstance(kind, str):
        return "other"
    if kind in _STATIC:
        return kind
    if kind.startswith("data-"):
        return "data"
    if kind == "dynamic-tool" or kind.startswith("tool-"):
        family = _FAMILIES.get(str(part.get("state")), "plain")
        return f"{family} {'dynamic-tool' if kind == 'dynamic-tool' else 'tool'}"
    return "other"


def _either(words: Sequence[str]) -> str:
    *first, last = map(repr, words)
    return f"{', '.join(first)} or {last}" if first else last
