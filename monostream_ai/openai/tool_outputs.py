"""Gives results of tools to a model: as text, or as texts, images and documents.

Tools return an image as a content part, in the form of OpenAI, MCP, LangChain or the AI SDK. As
JSON it would reach the model as base64 text, which costs much and says nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from monostream_ai.json_text import encode_json
from monostream_ai.openai.content import File, Piece, read_content
from monostream_ai.ui_messages.model_contents import (
    AnsweredCall,
)

NOT_SENT: Final = "(a file of type {media_type}, which this API does not take as a result)"


def input_output(call: AnsweredCall) -> str | list[dict[str, Any]]:
    """Return the `output` for an item of the Responses API."""
    pieces = _pieces_with_files(call)
    return [_input_part(piece) for piece in pieces] if pieces else call.output_text


def chat_output(call: AnsweredCall) -> str:
    """Return the `content` for a tool message of a chat completion, which has texts only."""
    pieces = _pieces_with_files(call)
    return "\n".join(map(_as_text, pieces)) if pieces else call.output_text


def _pieces_with_files(call: AnsweredCall) -> list[Piece]:
    """Return the parts of a result that has a file among them; otherwise it is plain JSON."""
    output = call.output
    if isinstance(output, Mapping):
        held = output.get("value") if output.get("type") == "content" else output.get("content")
        output = held if isinstance(held, list) else [output]
    if not isinstance(output, list) or not all(isinstance(part, Mapping) for part in output):
        return []
    pieces = list(read_content(output))
    return pieces if any(piece.kind == "file" for piece in pieces) else []


def _input_part(piece: Piece) -> dict[str, Any]:
    if not isinstance(piece.value, File):
        return {"type": "input_text", "text": _as_text(piece)}
    file = piece.value
    if file.media_type.startswith("image/"):
        return {"type": "input_image", "image_url": file.url, "detail": "auto"}
    if file.url.startswith("data:"):
        return {"type": "input_file", "file_data": file.url, "filename": "file"}
    return {"type": "input_file", "file_url": file.url}


def _as_text(piece: Piece) -> str:
    if isinstance(piece.value, File):
        return NOT_SENT.format(media_type=piece.value.media_type)
    return piece.value if isinstance(piece.value, str) else encode_json(piece.value)
