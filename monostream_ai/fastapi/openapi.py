"""The chat routes in the OpenAPI document: summaries, request schema and responses."""

from __future__ import annotations

from typing import Any, Final

from starlette.responses import Response

from monostream_ai.fastapi.messages import MAX_PARTS, Options, message_schema
from monostream_ai.fastapi.requests import MAX_VALUES

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
_MESSAGE: Final = message_schema()
_CHAT_ID: Final[dict[str, Any]] = {
    "type": "string",
    "minLength": 1,
    "maxLength": 1000,
    "not": {"enum": [".", ".."]},
    "description": "The chat. With its owner, under 2,048 bytes of UTF-8, and without NUL.",
}
_QUESTION: Final[dict[str, Any]] = {
    "type": "object",
    "description": (
        f"At most {MAX_PARTS:,} parts in all messages, and {MAX_VALUES:,} JSON values. If the last "
        "message is the assistant's, it is the latest answer of the chat, with the results and "
        "decisions that the answer waits for. Your own keys reach the reply."
    ),
    "required": ["id"],
    "properties": {"id": _CHAT_ID, **Options.model_json_schema()["properties"]},
    "anyOf": [
        {
            "required": ["messages"],
            "properties": {"messages": {"type": "array", "minItems": 1, "items": _MESSAGE}},
        },
        {
            "required": ["message"],
            "properties": {"message": _MESSAGE},
            "not": {"required": ["messages"]},
        },
    ],
}

ANSWER: Final[dict[str, Any]] = {
    "summary": "Ask, and stream the answer",
    "responses": {
        200: _STREAM,
        **_REFUSALS,
        404: {
            "description": "The chat belongs to another user, or has no answer to continue.",
            **_REFUSAL,
        },
        409: {
            "description": (
                "Another question is being answered, or the message to continue is not the latest "
                "answer, is no longer kept, or does not wait for this."
            ),
            **_REFUSAL,
        },
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
FILE: Final[dict[str, Any]] = {
    "summary": "Send a file of an answer",
    "response_class": Response,
    "responses": {
        200: {"content": {"*/*": {"schema": {"type": "string", "format": "binary"}}}},
        206: {"description": "The bytes that `Range` names."},
        304: {"description": "The client has the file."},
        **_REFUSALS,
        404: {"description": "There is no such file.", **_REFUSAL},
        416: {"description": "The file does not have these bytes."},
    },
}
STATUS: Final[dict[str, Any]] = {
    "summary": "Summarize the latest answer",
    "responses": {
        200: {"content": {"application/json": {"schema": {"type": "object"}}}},
        **_REFUSALS,
    },
}
