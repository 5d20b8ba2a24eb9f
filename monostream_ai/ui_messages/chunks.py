"""The chunk types of `ai` v7 as a table, and a check that refuses chunks a client would refuse.

Unknown types and keys pass unchanged, because clients gain new ones.
Source: vercel/ai, ai@7.0.173, packages/ai/src/ui-message-stream/ui-message-chunks.ts:27-251.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final, Literal, NamedTuple

from monostream_ai.errors import InvalidChunk
from monostream_ai.types import Chunk as Chunk
from monostream_ai.ui_messages.browser_safety import check_keys

FINISH_REASONS: Final = frozenset(
    {"stop", "length", "content-filter", "tool-calls", "error", "interrupted", "other"}
)
"""Values of `finishReason`. `interrupted` is fatal for clients below 7.0.149."""

DELTA_KEYS: Final[Mapping[str, str]] = {
    "text-delta": "delta",
    "reasoning-delta": "delta",
    "tool-input-delta": "inputTextDelta",
}
"""Chunk types that append text, and the key that holds it."""

Kind = Literal[
    "string",
    "boolean",
    "object",
    "array",
    "anything",
    "value",
    "providerMetadata",
    "finishReason",
    "inputEncoding",
]
"""The type of a value. `value` is any JSON value including null; every other kind refuses null."""


class Shape(NamedTuple):
    """The keys of one chunk type."""

    required: Mapping[str, Kind]
    optional: Mapping[str, Kind]


_PROVIDER: Final[Mapping[str, Kind]] = {"providerMetadata": "providerMetadata"}
_RESULT: Final[Mapping[str, Kind]] = {
    **_PROVIDER,
    "providerExecuted": "boolean",
    "dynamic": "boolean",
    "toolMetadata": "object",
}
_CALL: Final[Mapping[str, Kind]] = {**_RESULT, "title": "string"}
_CALL_KEYS: Final[Mapping[str, Kind]] = {"toolCallId": "string", "toolName": "string"}

SHAPES: Final[Mapping[str, Shape]] = {
    "start": Shape({}, {"messageId": "string", "messageMetadata": "anything"}),
    "message-metadata": Shape({"messageMetadata": "value"}, {}),
    "start-step": Shape({}, {}),
    "finish-step": Shape({}, {}),
    "reset-step": Shape({}, {}),
    "text-start": Shape({"id": "string"}, _PROVIDER),
    "text-delta": Shape({"id": "string", "delta": "string"}, _PROVIDER),
    "text-end": Shape({"id": "string"}, {**_PROVIDER, "citations": "array"}),
    "reasoning-start": Shape({"id": "string"}, _PROVIDER),
    "reasoning-delta": Shape({"id": "string", "delta": "string"}, _PROVIDER),
    "reasoning-end": Shape({"id": "string"}, _PROVIDER),
    "tool-input-start": Shape(_CALL_KEYS, {**_CALL, "inputEncoding": "inputEncoding"}),
    "tool-input-delta": Shape({"toolCallId": "string", "inputTextDelta": "string"}, {}),
    "tool-input-available": Shape({**_CALL_KEYS, "input": "value"}, _CALL),
    "tool-input-error": Shape({**_CALL_KEYS, "input": "value", "errorText": "string"}, _CALL),
    "tool-approval-request": Shape(
        {"approvalId": "string", "toolCallId": "string"},
        {
            "signature": "string",
            "isAutomatic": "boolean",
            "reason": "string",
            "approvalDescriptor": "anything",
            "inputSchemaInput": "value",
        },
    ),
    "tool-approval-response": Shape(
        {"approvalId": "string", "approved": "boolean"},
        {**_PROVIDER, "reason": "string", "providerExecuted": "boolean"},
    ),
    "tool-output-available": Shape(
        {"toolCallId": "string", "output": "value"}, {**_RESULT, "preliminary": "boolean"}
    ),
    "tool-output-error": Shape({"toolCallId": "string", "errorText": "string"}, _RESULT),
    "tool-output-denied": Shape({"toolCallId": "string"}, {}),
    "source-url": Shape({"sourceId": "string", "url": "string"}, {**_PROVIDER, "title": "string"}),
    "source-document": Shape(
        {"sourceId": "string", "mediaType": "string", "title": "string"},
        {**_PROVIDER, "filename": "string"},
    ),
    "file": Shape({"url": "string", "mediaType": "string"}, _PROVIDER),
    "reasoning-file": Shape({"url": "string", "mediaType": "string"}, _PROVIDER),
    "custom": Shape({"kind": "string"}, _PROVIDER),
    "steering-message": Shape({"id": "string", "parts": "array"}, {}),
    "error": Shape({"errorText": "string"}, {}),
    "abort": Shape({}, {"reason": "string"}),
    "finish": Shape({}, {"finishReason": "finishReason", "messageMetadata": "anything"}),
}
"""Every chunk type except `data-*`, whose shape is `DATA_SHAPE`."""

DATA_SHAPE: Final = Shape({"data": "value"}, {"id": "string", "transient": "boolean"})


def check_chunk(chunk: object) -> Chunk:
    """Return the chunk if a client of `ai` v7 accepts it on its own.

    The order of chunks is not checked; `UIMessageBuilder` keeps it.

    Raises:
        InvalidChunk: A required key is missing, an optional key is null, a value has the wrong
            type, or a key is one that clients refuse at any depth (`__proto__`,
            `constructor.prototype`). Its `path` points there.
    """
    if not isinstance(chunk, dict):
        raise InvalidChunk("$", "a UI message chunk is an object")
    kind = chunk.get("type")
    if not isinstance(kind, str):
        raise InvalidChunk("$.type", "a UI message chunk needs a string here")
    shape = DATA_SHAPE if kind.startswith("data-") else SHAPES.get(kind)
    if shape is not None:
        _check_keys(chunk, shape)
    check_keys(chunk)
    return chunk


def _check_keys(chunk: Chunk, shape: Shape) -> None:
    for key, kind in shape.required.items():
        if key not in chunk:
            raise InvalidChunk(
                f"$.{key}", f"a {chunk['type']} chunk needs this key, with null for no value"
            )
        _check_value(key, kind, chunk[key])
    for key, kind in shape.optional.items():
        if key not in chunk:
            continue
        if chunk[key] is None and kind != "value":
            raise InvalidChunk(f"$.{key}", "an optional key must be absent, not null")
        _check_value(key, kind, chunk[key])


def _check_value(key: str, kind: Kind, value: object) -> None:
    accepts, wanted = _KINDS[kind]
    if not accepts(value):
        raise InvalidChunk(f"$.{key}", f"{value!r:.100} is not {wanted}")


def _is_provider_metadata(value: object) -> bool:
    return isinstance(value, dict) and all(isinstance(inner, dict) for inner in value.values())


_KINDS: Final[Mapping[Kind, tuple[Callable[[object], bool], str]]] = {
    "string": (lambda value: isinstance(value, str), "a string"),
    "boolean": (lambda value: isinstance(value, bool), "a boolean"),
    "object": (lambda value: isinstance(value, dict), "an object"),
    "array": (lambda value: isinstance(value, list | tuple), "an array"),
    "anything": (lambda value: value is not None, "a value"),
    "value": (lambda value: True, "a value"),
    "providerMetadata": (_is_provider_metadata, "an object of objects, {provider: {key: value}}"),
    "finishReason": (
        lambda value: isinstance(value, str) and value in FINISH_REASONS,
        f"one of {sorted(FINISH_REASONS)}",
    ),
    "inputEncoding": (lambda value: value == "json" or value == "text", "'json' or 'text'"),
}
