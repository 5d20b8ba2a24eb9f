"""The routes in the OpenAPI document: summaries, parameters, request schema and responses."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from starlette.responses import Response

from monostream_ai.chats import ag_ui, files, routes
from monostream_ai.chats.endpoints import LAST_EVENT
from monostream_ai.chats.turns.messages import MAX_PARTS, MESSAGE, OPTIONS
from monostream_ai.chats.turns.requests import MAX_VALUES
from monostream_ai.ui_messages.profiles import PROFILES


def _text(place: str, name: str, words: Sequence[str] = ()) -> dict[str, Any]:
    """Return a parameter of a request that is a text, or one of some words."""
    schema = {"type": "string", **({"enum": [*words]} if words else {})}
    return {"name": name, "in": place, "required": place == "path", "schema": schema}


_REFUSAL: Final[dict[str, Any]] = {"content": {"text/plain": {"schema": {"type": "string"}}}}
_STREAM: Final[dict[str, Any]] = {
    "description": (
        "A UI message stream of the AI SDK, or events of AG-UI. It breaks off unless the answer "
        "has ended."
    ),
    "content": {"text/event-stream": {"schema": {"type": "string"}}},
}
_REFUSALS: Final[dict[int | str, dict[str, Any]]] = {
    400: {"description": "The request is not valid.", **_REFUSAL},
    401: {"description": "Not signed in.", **_REFUSAL},
    403: {"description": "Not allowed.", **_REFUSAL},
    503: {"description": "The store does not answer, or the process is shutting down.", **_REFUSAL},
}
_NUMBER: Final = {"type": "integer", "minimum": 0}
_CHAT: Final = _text("path", "chat_id")
_THREAD: Final = _text("path", "thread_id")
_CLIENT: Final = [
    _text("query", "profile", PROFILES),
    _text("query", "protocol", routes.PROTOCOLS),
    _text("header", routes.PROFILE_HEADER, PROFILES),
]
_PLACE: Final = [_text("query", "after"), _text("header", LAST_EVENT)]
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
    "properties": {"id": _CHAT_ID, **OPTIONS["properties"]},
    "anyOf": [
        {
            "required": ["messages"],
            "properties": {"messages": {"type": "array", "minItems": 1, "items": MESSAGE}},
        },
        {
            "required": ["message"],
            "properties": {"message": MESSAGE},
            "not": {"required": ["messages"]},
        },
    ],
}

_ANSWER: Final[dict[str, Any]] = {
    "summary": "Ask, and stream the answer",
    "responses": {
        200: _STREAM,
        202: {
            "description": (
                "The question is stored, and the client asked for no answer by `Prefer: "
                "respond-async`: the `version` that answers it, or its `number` among those that "
                "wait."
            ),
            "content": {"application/json": {"schema": {"type": "object"}}},
        },
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
        429: {"description": "Too many questions wait in this chat.", **_REFUSAL},
    },
    "openapi_extra": {
        "parameters": _CLIENT,
        "requestBody": {"required": True, "content": {"application/json": {"schema": _QUESTION}}},
    },
}
_RESUME: Final[dict[str, Any]] = {
    "summary": "Replay and tail the running answer",
    "responses": {
        200: _STREAM,
        204: {"description": "No answer is running."},
        **_REFUSALS,
        409: {"description": "A newer answer has replaced this one.", **_REFUSAL},
    },
    "openapi_extra": {"parameters": [_CHAT, _text("query", "startIndex"), *_PLACE, *_CLIENT]},
}
_STOP: Final[dict[str, Any]] = {
    "summary": "Stop the running answer",
    "responses": {
        200: {"content": {"application/json": {"schema": {"type": "object"}}}},
        **_REFUSALS,
    },
    "openapi_extra": {"parameters": [_CHAT]},
}
_QUESTIONS: Final[dict[str, Any]] = {**_STOP, "summary": "List the questions that wait"}
_CANCEL: Final[dict[str, Any]] = {
    **_STOP,
    "summary": "Cancel a question that waits",
    "openapi_extra": {"parameters": [_CHAT, {**_text("path", "number"), "schema": _NUMBER}]},
}
_CANCEL_ALL: Final[dict[str, Any]] = {**_STOP, "summary": "Cancel all questions that wait"}
_FILE: Final[dict[str, Any]] = {
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
    "openapi_extra": {"parameters": [_CHAT, _text("path", "token")]},
}
_STATUS: Final[dict[str, Any]] = {
    "summary": "Summarize the latest answer",
    "responses": {
        200: {"content": {"application/json": {"schema": {"type": "object"}}}},
        **_REFUSALS,
    },
    "openapi_extra": {"parameters": [_CHAT]},
}
_EVENTS: Final[dict[str, Any]] = {
    "summary": "Follow the turns of all chats",
    "response_class": Response,
    "responses": {
        200: {
            "description": (
                "Server-sent events: `running` has the turns that run now, and `turn` one turn "
                "whose state has changed. The response ends when the process exits."
            ),
            "content": {"text/event-stream": {"schema": {"type": "string"}}},
        },
        **_REFUSALS,
    },
    "openapi_extra": {"parameters": [_text("query", "chat"), *_PLACE]},
}

CHAT_OPERATIONS: Final = {
    ("POST", ""): _ANSWER,
    ("GET", "/events"): _EVENTS,
    ("GET", routes.STREAM): _RESUME,
    ("POST", routes.STOP): _STOP,
    ("GET", routes.STATUS): _STATUS,
    ("GET", routes.QUEUE): _QUESTIONS,
    ("DELETE", routes.QUESTION): _CANCEL,
    ("DELETE", routes.QUEUE): _CANCEL_ALL,
    ("GET", files.PATH): _FILE,
}
"""By method and path. The path with a slash at its end is not shown."""

AGUI_OPERATIONS: Final[dict[tuple[str, str], dict[str, Any]]] = {
    ("POST", ""): {"summary": "Start a run, and stream its events", "response_class": Response},
    ("GET", ag_ui.RESUME): {
        "summary": "Replay and tail a run",
        "response_class": Response,
        "openapi_extra": {"parameters": [_THREAD, *_PLACE]},
    },
    ("POST", ag_ui.STOP): {
        "summary": "Stop the open run",
        "openapi_extra": {"parameters": [_THREAD]},
    },
}
"""By method and path, as `CHAT_OPERATIONS`."""
