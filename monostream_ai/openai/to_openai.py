"""Turns the UI messages that a client sends into input for OpenAI's two APIs.

The other direction, from OpenAI to the client, is `capture`.

Source: openai-python 3.54.0, types/chat/chat_completion_message_param.py and
types/responses/response_input_param.py.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Final, TypeAlias, Unpack

from monostream_ai.errors import InvalidArgument
from monostream_ai.ui_messages.model_input import (
    FileInput,
    InputOptions,
    Said,
    Step,
    read_model_input,
)

Item: TypeAlias = dict[str, Any]

AUDIO_FORMATS: Final[Mapping[str, str]] = {
    "audio/mp3": "mp3",
    "audio/mpeg": "mp3",
    "audio/vnd.wave": "wav",
    "audio/wav": "wav",
    "audio/wave": "wav",
    "audio/x-wav": "wav",
}
UNNAMED: Final = "file"
"""Filename for a document without one, which the API would refuse."""


def to_openai_messages(
    ui_messages: Sequence[Mapping[str, Any]], **options: Unpack[InputOptions]
) -> list[Any]:
    """Return the `messages` for `chat.completions.create`.

    Each step of an assistant message becomes one assistant message with its tool calls, followed by
    their results. Left out are calls without a result, since the API refuses them, and reasoning,
    sources, and parts of unknown types.

    Args:
        ui_messages: `UIMessage`s as JSON: `{id, role, parts}`. They come from a client, so trust
            them no further than that.
        allow_system: Accept system messages too. Off by default: a client could replace your
            instructions.
        url_schemes: URL schemes allowed for a user's files; `https` and `data` by default.
        max_bytes: UTF-8 bytes that may reach the model, all messages together; 32 MiB by default.
            The API charges for each of them.
        convert_data_part: Returns the content part, in the API's format, for a user's `data-*`
            part, or None to leave it out. Without it all are left out.

    Raises:
        InvalidArgument: This is no list of UI messages, a file has a forbidden URL or a type that
            the API does not accept, or the messages are too large. The text names the place.
    """
    return [
        item
        for said in read_model_input(ui_messages, **options)
        for item in (_chat_step(said) if isinstance(said, Step) else [_said(said, _chat_part)])
    ]


def to_openai_input(
    ui_messages: Sequence[Mapping[str, Any]], **options: Unpack[InputOptions]
) -> list[Any]:
    """Return the `input` for `responses.create`, with calls and results as items of their own.

    Otherwise like `to_openai_messages`. It is for requests that send the whole conversation, and
    not for those with a `previous_response_id`.
    """
    return [
        item
        for said in read_model_input(ui_messages, **options)
        for item in (_input_step(said) if isinstance(said, Step) else [_said(said, _input_part)])
    ]


def _said(said: Said, part: Callable[[str | FileInput], Item]) -> Item:
    if len(said.contents) == 1 and isinstance(said.contents[0], str):
        return {"role": said.role, "content": said.contents[0]}
    contents = [
        content if isinstance(content, dict) else part(content) for content in said.contents
    ]
    return {"role": said.role, "content": contents}


def _chat_step(step: Step) -> Iterator[Item]:
    message: Item = {"role": "assistant", "content": step.text or None}
    if step.calls:
        message["tool_calls"] = [
            {
                "id": call.call_id,
                "type": "function",
                "function": {"name": call.name, "arguments": call.arguments_text},
            }
            for call in step.calls
        ]
    yield message
    for call in step.calls:
        yield {"role": "tool", "tool_call_id": call.call_id, "content": call.output_text}


def _input_step(step: Step) -> Iterator[Item]:
    if step.text:
        yield {"role": "assistant", "content": step.text}
    for call in step.calls:
        yield {
            "type": "function_call",
            "call_id": call.call_id,
            "name": call.name,
            "arguments": call.arguments_text,
        }
    for call in step.calls:
        yield {"type": "function_call_output", "call_id": call.call_id, "output": call.output_text}


def _chat_part(content: str | FileInput) -> Item:
    if isinstance(content, str):
        return {"type": "text", "text": content}
    kind, data = content.media_type.partition("/")[0], content.base64
    if kind == "image":
        return {"type": "image_url", "image_url": {"url": content.url}}
    if kind == "audio" and data is not None and content.media_type in AUDIO_FORMATS:
        return {
            "type": "input_audio",
            "input_audio": {"data": data, "format": AUDIO_FORMATS[content.media_type]},
        }
    if kind in ("audio", "video") or data is None:
        raise _refusal(
            content, "chat completions accept images, and documents, WAV and MP3 as data URLs"
        )
    return {
        "type": "file",
        "file": {"file_data": content.url, "filename": content.filename or UNNAMED},
    }


def _input_part(content: str | FileInput) -> Item:
    if isinstance(content, str):
        return {"type": "input_text", "text": content}
    kind = content.media_type.partition("/")[0]
    if kind == "image":
        return {"type": "input_image", "image_url": content.url, "detail": "auto"}
    if kind in ("audio", "video"):
        raise _refusal(content, "responses accept images and documents")
    if content.base64 is None:
        return {"type": "input_file", "file_url": content.url}
    return {"type": "input_file", "file_data": content.url, "filename": content.filename or UNNAMED}


def _refusal(file: FileInput, accepted: str) -> InvalidArgument:
    return InvalidArgument(
        f"{file.place} is a {file.media_type[:80]!r} file that the API does not take: {accepted}"
    )
