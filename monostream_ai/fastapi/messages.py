"""The shapes of a chat POST, so that a malformed one is refused before anything is stored.

They ask for no more than the clients of `ai` 5, 6 and 7 send: unknown keys and unknown types of
parts pass, and an optional key may be null.

Source: vercel/ai, ai@7.0.173, packages/ai/src/ui/validate-ui-messages.ts (`uiMessagesSchema`), and
ui/http-chat-transport.ts:171-214; 5.0.277 and 6.0.326 know fewer types of parts.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Final, Literal, TypeAlias

from pydantic import (
    BaseModel,
    ConfigDict,
    Discriminator,
    FailFast,
    Field,
    Tag,
    TypeAdapter,
    ValidationError,
)
from pydantic.alias_generators import to_camel

from monostream_ai.types import MAX_TEXT_BYTES

MAX_PARTS: Final = 10_000
"""Parts of all messages of a request. Long conversations of agents have some thousands."""

Metadata: TypeAlias = dict[str, Any] | None
Progress: TypeAlias = Literal["streaming", "done"] | None

_STATIC: Final = (
    "text",
    "reasoning",
    "file",
    "reasoning-file",
    "source-url",
    "source-document",
    "custom",
    "step-start",
    "steering-message",
)
_FAMILIES: Final = {
    "output-error": "failed",
    "approval-requested": "asking",
    "approval-responded": "asking",
}


class _Shape(BaseModel):
    model_config = ConfigDict(strict=True, alias_generator=to_camel)


class TextPart(_Shape):
    type: Literal["text"]
    text: str
    state: Progress = None
    citations: list[Any] | None = None
    provider_metadata: Metadata = None


class ReasoningPart(_Shape):
    type: Literal["reasoning"]
    id: str | None = None
    text: str
    state: Progress = None
    provider_metadata: Metadata = None


class FilePart(_Shape):
    type: Literal["file"]
    media_type: str
    url: str
    filename: str | None = None
    provider_reference: Metadata = None
    provider_metadata: Metadata = None


class ReasoningFilePart(_Shape):
    type: Literal["reasoning-file"]
    media_type: str
    url: str
    provider_metadata: Metadata = None


class SourceUrlPart(_Shape):
    type: Literal["source-url"]
    source_id: str
    url: str
    title: str | None = None
    provider_metadata: Metadata = None


class SourceDocumentPart(_Shape):
    type: Literal["source-document"]
    source_id: str
    media_type: str
    title: str
    filename: str | None = None
    provider_metadata: Metadata = None


class CustomPart(_Shape):
    type: Literal["custom"]
    kind: str
    provider_metadata: Metadata = None


class StepStartPart(_Shape):
    type: Literal["step-start"]


class SteeringMessagePart(_Shape):
    type: Literal["steering-message"]
    id: str
    parts: Annotated[list[Annotated[TextPart | FilePart, Field(discriminator="type")]], FailFast()]


class DataPart(_Shape):
    type: Annotated[str, Field(pattern="^data-")]
    id: str | None = None


class Approval(_Shape):
    id: str
    approved: bool | None = None
    reason: str | None = None
    is_automatic: bool | None = None
    signature: str | None = None


class _Call(_Shape):
    tool_call_id: str
    title: str | None = None
    provider_executed: bool | None = None
    preliminary: bool | None = None
    tool_metadata: Metadata = None
    call_provider_metadata: Metadata = None
    result_provider_metadata: Metadata = None
    approval: Approval | None = None


class _Plain(_Call):
    state: Literal["input-streaming", "input-available", "output-available", "output-denied"]


class _Failed(_Call):
    state: Literal["output-error"]
    error_text: str


class _Asking(_Call):
    state: Literal["approval-requested", "approval-responded"]
    approval: Approval


class _Static(_Shape):
    type: Annotated[str, Field(pattern="^tool-")]


class _Dynamic(_Shape):
    type: Literal["dynamic-tool"]
    tool_name: str


class ToolPart(_Static, _Plain): ...


class FailedToolPart(_Static, _Failed): ...


class AskingToolPart(_Static, _Asking): ...


class DynamicToolPart(_Dynamic, _Plain): ...


class FailedDynamicToolPart(_Dynamic, _Failed): ...


class AskingDynamicToolPart(_Dynamic, _Asking): ...


class OtherPart(_Shape):
    """A part of a type that a later release of `ai` may add."""

    type: Annotated[
        str,
        Field(
            min_length=1,
            json_schema_extra={
                "not": {"enum": [*_STATIC, "dynamic-tool"]},
                "allOf": [{"not": {"pattern": "^(tool|data)-"}}],
            },
        ),
    ]


def _kind(part: Any) -> str:
    """Return the tag of the shape that a part must have."""
    kind = part.get("type") if isinstance(part, dict) else None
    if not isinstance(kind, str):
        return "other"
    if kind in _STATIC:
        return kind
    if kind.startswith("data-"):
        return "data"
    if kind == "dynamic-tool" or kind.startswith("tool-"):
        family = _FAMILIES.get(str(part.get("state")), "plain")
        return f"{family} {'dynamic' if kind == 'dynamic-tool' else 'tool'}"
    return "other"


Part: TypeAlias = Annotated[
    Annotated[TextPart, Tag("text")]
    | Annotated[ReasoningPart, Tag("reasoning")]
    | Annotated[FilePart, Tag("file")]
    | Annotated[ReasoningFilePart, Tag("reasoning-file")]
    | Annotated[SourceUrlPart, Tag("source-url")]
    | Annotated[SourceDocumentPart, Tag("source-document")]
    | Annotated[CustomPart, Tag("custom")]
    | Annotated[StepStartPart, Tag("step-start")]
    | Annotated[SteeringMessagePart, Tag("steering-message")]
    | Annotated[DataPart, Tag("data")]
    | Annotated[ToolPart, Tag("plain tool")]
    | Annotated[FailedToolPart, Tag("failed tool")]
    | Annotated[AskingToolPart, Tag("asking tool")]
    | Annotated[DynamicToolPart, Tag("plain dynamic")]
    | Annotated[FailedDynamicToolPart, Tag("failed dynamic")]
    | Annotated[AskingDynamicToolPart, Tag("asking dynamic")]
    | Annotated[OtherPart, Tag("other")],
    Discriminator(_kind),
]


MessageId: TypeAlias = Annotated[str, Field(json_schema_extra={"maxLength": MAX_TEXT_BYTES})] | None
"""The core checks what it stores of them."""


class Message(_Shape):
    id: MessageId = None
    role: Literal["system", "user", "assistant"]
    parts: Annotated[list[Part], FailFast()]


class Options(_Shape):
    """The other keys of a body that have a meaning here."""

    trigger: Literal["submit-message", "regenerate-message"] | None = None
    message_id: MessageId = None


_NATURES: Final = {
    "model_type": "Input should be an object",
    # Pydantic's own texts quote the client.
    "union_tag_invalid": "Input should be a text or a file",
}
_MESSAGES: Final = TypeAdapter(Annotated[list[Message], Field(min_length=1), FailFast()])


def fault_in(body: Mapping[str, Any], messages: object) -> str | None:
    """Return the place and the nature of the first fault of a body and its messages, if any.

    It quotes nothing of the client's.
    """
    try:
        Options.model_validate(body)
        _MESSAGES.validate_python(messages)
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False, include_input=False)[0]
        nature = _NATURES.get(first["type"], first["msg"])
        return f"{_path(first['loc'])}: {nature[:1].lower()}{nature[1:]}"
    return None


def message_schema() -> dict[str, Any]:
    """Return the JSON schema of a message, without references, for the OpenAPI document."""
    schema = Message.model_json_schema()
    inlined: dict[str, Any] = _inline(schema, schema["$defs"])
    return inlined


def _path(location: Sequence[int | str]) -> str:
    """Return `messages[0].parts[1].text` for `(0, "parts", 1, "text", "text")`, where the second to
    last is the tag of the part's shape.
    """
    if location and isinstance(location[0], str):
        return location[0]
    path = "messages"
    for place, step in enumerate(location):
        is_tag = isinstance(step, str) and place > 1 and isinstance(location[place - 1], int)
        if not is_tag:
            path += f"[{step}]" if isinstance(step, int) else f".{step}"
    return path


def _inline(schema: Any, shapes: Mapping[str, Any]) -> Any:
    if isinstance(schema, list):
        return [_inline(each, shapes) for each in schema]
    if not isinstance(schema, dict):
        return schema
    if "$ref" in schema:
        return _inline(shapes[schema["$ref"].rpartition("/")[2]], shapes)
    # A discriminator maps to references, and a default of null says nothing.
    dropped = ("$defs", "discriminator", "default")
    return {key: _inline(value, shapes) for key, value in schema.items() if key not in dropped}
