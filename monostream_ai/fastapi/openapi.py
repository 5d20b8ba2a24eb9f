"""The chat routes in the OpenAPI document: summaries, request schema and responses."""

from __future__ import annotations

from typing import Any, Final

_REFUSAL: Final[dict[str, Any]] = {"content": {"text/plain": {"schema": {"type": "string"}}}}
_STREAM: Final[dict[str, Any]] = {
    "description": (
        "A UI message stream of the AI SDK. It breaks off unless the answer has ended."
    ),
    "content": {"text/event-stream": {"schema": {"type": "string"}}},
}
_REFUSALS: Final[dict[int | str, dict[str, Any]]] = {
    400: {"description": "The request is not valid.", **_REFUSAL},
    401: {"description": "Not signed in.", **_REFUSAL},
    403: {"description": "Not allowed.", **_REFUSAL},
    503: {"description": "The store does not answer, or the process is shutting down.", **_REFUSAL},
}
_MESSAGE: Final[dict[str, Any]] = {
    "type": "object",
    "required": ["role", "parts"],
    "properties": {
        "id": {"type": "string"},
        "role": {"enum": ["system", "user", "assistant"]},
        "parts": {"type": "array", "items": {"type": "object"}},
    },
}
_QUESTION: Final[dict[str, Any]] = {
    "type": "object",
    "required": ["id"],
    "properties": {
        "id": {"type": "string", "minLength": 1, "maxLength": 1000, "description": "The chat."},
        "messages": {"type": "array", "minItems": 1, "items": _MESSAGE},
        "message": _MESSAGE,
        "trigger": {"enum": ["submit-message", "regenerate-message"]},
        "messageId": {"type": "string"},
    },
    "anyOf": [{"required": ["messages"]}, {"required": ["message"]}],
}

ANSWER: Final[dict[str, Any]] = {
    "summary": "Ask, and stream the answer",
    "responses": {
        200: _STREAM,
        **_REFUSALS,
        404: {"description": "The chat belongs to another user.", **_REFUSAL},
        409: {"description": "Another question is being answered.", **_REFUSAL},
        413: {"description": "The request is too large.", **_REFUSAL},
    },
    "openapi_extra": {
        "requestBody": {"required": True, "content": {"application/json": {"schema": _QUESTION}}}
    },
}
RESUME: Final[dict[str, Any]] = {
    "summary": "Replay and tail the running answer",
    "responses": {
        200: _STREAM,
        204: {"description": "No answer is running."},
        **_REFUSALS,
        409: {"description": "A newer answer has replaced this one.", **_REFUSAL},
    },
}
STOP: Final[dict[str, Any]] = {
    "summary": "Stop the running answer",
    "responses": {
        200: {"content": {"application/json": {"schema": {"type": "object"}}}},
        **_REFUSALS,
    },
}
STATUS: Final[dict[str, Any]] = {
    "summary": "Summarize the latest answer",
    "responses": {
        200: {"content": {"application/json": {"schema": {"type": "object"}}}},
        **_REFUSALS,
    },
}
