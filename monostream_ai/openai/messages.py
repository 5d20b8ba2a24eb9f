"""UI messages, as a client sends them, to what `chat.completions.create` and `responses.create`
take.

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
"""The name of a document without one: the API refuses those."""


def to_openai_messages(
    ui_messages: Sequence[Mapping[str, Any]], **options: Unpack[InputOptions]
) -> list[Any]:
    """Return the `messages` for `chat.completions.create`.

    Each step of an assistant message becomes one assistant message with its tool calls, followed by
    their results. Calls without a result are left out, since the API refuses them; so are
    reasoning, sources, and parts of unknown types.

    Args:
        ui_messages: `UIMessage`s as JSON: `{id, role, parts}`. They come from a client: read them
            as such.
        allow_system: Take system messages too, which is off by default; a client could rewrite your
            instructions with them.
        url_schemes: Where a user's files may come from; `https` and `data` by default.
        max_bytes: UTF-8 of all that may reach the model, 32 MiB by default; its provider charges
            for it.
        convert_data_part: Returns the content part for a user's `data-*` part, in the API's format,
            or None to leave it out. Without it all are.

    Raises:
        InvalidArgument: This is no list of UI messages, a file is not allowed or of a kind that the
            API does not take, or it is too much; it names the place.
    """
    read = read_model_input(ui_messages, **options)
    return [
        item
        for said in read
        for item in (_chat_step(said) if isinstance(said, Step) else [_said(said, _chat_part)])
    ]


def to_openai_input(
    ui_messages: Sequence[Mapping[str, Any]], **options: Unpack[InputOptions]
) -> list[Any]:
    """Return the `input` for `responses.create`: as `to_openai_messages`, with calls and results as
    items of their own.

    It is for requests that send the whole conversation, not for ones with a `previous_response_id`.
    """
    read = read_model_input(ui_messages, **options)
    return [
        item
        for said in read
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
            content, "chat completions take images, and as data URLs documents, WAV and MP3"
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
        raise _refusal(content, "responses take images and documents")
    if content.base64 is None:
        return {"type": "input_file", "file_url": content.url}
    return {"type": "input_file", "file_data": content.url, "filename": content.filename or UNNAMED}


def _refusal(file: FileInput, takes: str) -> InvalidArgument:
    return InvalidArgument(
        f"{file.place} is a {file.media_type[:80]!r} file that the API does not take: {takes}"
    )
