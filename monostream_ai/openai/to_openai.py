"""Turns the UI messages that a client sends into input for OpenAI's two APIs.

The other direction, from OpenAI to the client, is `capture`.

Source: openai-python 3.57.0, types/chat/chat_completion_message_param.py and
types/responses/response_input_param.py.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import groupby
from typing import Any, Final, TypeAlias, Unpack

from monostream_ai.errors import InvalidArgument
from monostream_ai.json_text import encode_json
from monostream_ai.openai.chat_calls import CUSTOM_CALL
from monostream_ai.openai.reasoning_state import state_fields
from monostream_ai.openai.tool_outputs import chat_output, input_output
from monostream_ai.ui_messages.model_contents import (
    AnsweredCall,
    ApprovalAnswer,
    Content,
    FileInput,
    ModelFile,
    Reasoning,
    Said,
    StatedText,
    Step,
    given_or_named,
    text_of,
)
from monostream_ai.ui_messages.model_input import InputOptions, read_model_input

Item: TypeAlias = dict[str, Any]

AUDIO_FORMATS: Final[Mapping[str, str]] = {
    "audio/mp3": "mp3",
    "audio/mpeg": "mp3",
    "audio/vnd.wave": "wav",
    "audio/wav": "wav",
    "audio/wave": "wav",
    "audio/x-wav": "wav",
}
IMAGES: Final = frozenset({"image/gif", "image/jpeg", "image/png", "image/webp"})
"""Images that the Responses API takes. Source: OpenAI's guide "Images and vision"."""

UNNAMED: Final = "file"
"""Filename for a document without one, which the API would refuse."""


def to_openai_messages(
    ui_messages: Sequence[Mapping[str, Any]], **options: Unpack[InputOptions]
) -> list[Any]:
    """Return the `messages` for `chat.completions.create`.

    Each step of an assistant message becomes one assistant message with its tool calls, followed by
    their results; text behind a call begins another one. State that OpenRouter, LiteLLM or Gemini
    want back goes with it, and the thoughts of a server that sent them as `reasoning_content`, as
    DeepSeek demands them. Left out are calls without a result, since the API refuses them, other
    reasoning, sources, and parts of unknown types. An image in a result or an answer becomes a text
    that says so, since the API takes texts only.

    Args:
        ui_messages: `UIMessage`s as JSON: `{id, role, parts}`. They come from a client, so trust
            them no further than that.
        allow_system: Accept system messages too. Off by default: a client could replace your
            instructions.
        url_schemes: URL schemes allowed for a user's files; `https` and `data` by default.
        file_ids: Ids of files uploaded to the provider that this user may name, as
            `providerReference` or as the URL of a file; none by default. A user who could name any
            id would read the files of others.
        max_bytes: UTF-8 bytes that may reach the model, all messages together; 32 MiB by default.
            The API charges for each of them.
        convert_data_part: Returns the content part, in the API's format, for a user's `data-*`
            part, or None to leave it out. Without it all are left out.

    Raises:
        InvalidArgument: This is no list of UI messages, a file of the last one has a forbidden
            URL or a type that the API does not accept, or the messages are too large. The text
            names the place. Such a file of an earlier message becomes a text that says so.
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

    Text, calls and encrypted reasoning keep their order, and a text its `phase`. A user's answer to
    a question of an MCP server follows its question. Images and documents in the result of a tool
    are given as such. An image of an answer follows its step as a message of the user, the only one
    that may hold it, if the message has the image itself; any other file becomes a short text that
    names it.

    Otherwise like `to_openai_messages`. It is for requests that send the whole conversation, and
    not for those with a `previous_response_id`.
    """
    return [
        item
        for said in read_model_input(ui_messages, **options, files=True, states=True)
        for item in (_input_step(said) if isinstance(said, Step) else [_said(said, _input_part)])
    ]


def _said(said: Said, part: Callable[[str | FileInput], Item]) -> Item:
    if len(said.contents) == 1 and isinstance(said.contents[0], str):
        return {"role": said.role, "content": said.contents[0]}
    contents = [
        content if isinstance(content, dict) else given_or_named(content, part)
        for content in said.contents
    ]
    return {"role": said.role, "content": contents}


def _chat_step(step: Step) -> Iterator[Item]:
    # A chat message has its text before its calls, so text behind a call begins another one.
    segments: list[list[Content]] = [[]]
    for content in step.contents:
        if isinstance(content, str) and any(isinstance(c, AnsweredCall) for c in segments[-1]):
            segments.append([])
        segments[-1].append(content)
    for segment in segments:
        yield from _chat_segment(segment)


def _chat_segment(contents: list[Content]) -> Iterator[Item]:
    calls = [content for content in contents if isinstance(content, AnsweredCall)]
    text = text_of(contents)
    if not text and not calls:
        return
    message: Item = {"role": "assistant", "content": text or None}
    for content in contents:
        if isinstance(content, Reasoning):
            for field, value in state_fields(content).items():
                message[field] = message[field] + value if field in message else value
    if calls:
        message["tool_calls"] = [_chat_call(call) for call in calls]
    yield message
    for call in calls:
        yield {"role": "tool", "tool_call_id": call.call_id, "content": chat_output(call)}


def _chat_call(call: AnsweredCall) -> Item:
    if (text := _custom_input(call)) is not None:
        custom = {"name": call.name, "input": text}
        return {"id": call.call_id, "type": "custom", "custom": custom}
    function = {"name": call.name, "arguments": call.arguments_text}
    item: Item = {"id": call.call_id, "type": "function", "function": function}
    signature = call.state.get("google", {}).get("thoughtSignature")
    if isinstance(signature, str):
        item["extra_content"] = {"google": {"thought_signature": signature}}
    return item


def _input_step(step: Step) -> Iterator[Item]:
    thoughts = _thoughts(step.contents)
    spoken: list[Content] = []
    for content in step.contents:
        if isinstance(content, str | StatedText | ModelFile):
            spoken.append(content)
            continue
        yield from _input_text(spoken)
        spoken = []
        if isinstance(content, AnsweredCall):
            yield _input_call(content)
        elif isinstance(content, ApprovalAnswer):
            yield _approval_request(content)
        elif isinstance(content, Reasoning) and (
            (thought := thoughts.pop(_item_id(content), None)) is not None
        ):
            yield thought
    yield from _input_text(spoken)
    for content in step.contents:
        if isinstance(content, AnsweredCall):
            yield _input_result(content)
        elif isinstance(content, ApprovalAnswer):
            yield _approval_response(content)
    if images := [part for content in step.contents for part in _image_parts(content)]:
        yield {"role": "user", "content": images}


def _input_text(contents: Sequence[Content]) -> Iterator[Item]:
    spoken = [each for each in contents if not _image_parts(each)]
    for phase, said in groupby(spoken, _phase):
        if text := text_of(said):
            told = {"phase": phase} if phase else {}
            yield {"role": "assistant", "content": text, **told}


def _phase(content: Content) -> str:
    """Return whether a text is a commentary or the final answer, if the model told it."""
    state = content.state.get("openai", {}) if isinstance(content, StatedText) else {}
    phase = state.get("phase")
    return phase if phase in ("commentary", "final_answer") else ""


def _image_parts(content: Content) -> list[Item]:
    """Return an image of the model as parts of a message, or nothing for any other content."""
    if not isinstance(content, ModelFile) or content.held is None:
        return []
    if content.thinks or content.media_type not in IMAGES:
        return []
    image = {"type": "input_image", "image_url": content.held.url, "detail": "auto"}
    return [{"type": "input_text", "text": content.note}, image]


def _thoughts(contents: Sequence[Content]) -> dict[str, Item]:
    """Return the reasoning items by id; without its encrypted content, the API refuses one."""
    items: dict[str, Item] = {}
    for content in contents:
        if isinstance(content, Reasoning) and (item_id := _item_id(content)):
            empty = {"type": "reasoning", "id": item_id, "summary": []}
            item = items.setdefault(item_id, empty)
            if content.text:
                item["summary"].append({"type": "summary_text", "text": content.text})
            encrypted = content.state["openai"].get("reasoningEncryptedContent")
            if isinstance(encrypted, str) and encrypted:
                item["encrypted_content"] = encrypted
    return {item_id: item for item_id, item in items.items() if "encrypted_content" in item}


def _item_id(reasoning: Reasoning) -> str:
    item_id = reasoning.state.get("openai", {}).get("itemId")
    return item_id if isinstance(item_id, str) else ""


def _input_call(call: AnsweredCall) -> Item:
    named = {"call_id": call.call_id, "name": call.name}
    if (text := _custom_input(call)) is not None:
        return {"type": CUSTOM_CALL, **named, "input": text}
    namespace = call.state.get("openai", {}).get("namespace")
    if isinstance(namespace, str) and namespace:
        named["namespace"] = namespace
    return {"type": "function_call", **named, "arguments": call.arguments_text}


def _input_result(call: AnsweredCall) -> Item:
    kind = "function_call_output" if _custom_input(call) is None else f"{CUSTOM_CALL}_output"
    return {"type": kind, "call_id": call.call_id, "output": input_output(call)}


def _custom_input(call: AnsweredCall) -> str | None:
    """Return the text that a custom tool was called with; None for a function."""
    text = call.arguments.get("input")
    is_custom = call.state.get("openai", {}).get("type") == CUSTOM_CALL
    return text if is_custom and isinstance(text, str) else None


def _approval_request(answer: ApprovalAnswer) -> Item:
    label = answer.state.get("openai", {}).get("serverLabel")
    return {
        "type": "mcp_approval_request",
        "id": answer.approval_id,
        "name": answer.name.removeprefix("mcp."),
        "arguments": encode_json(answer.arguments),
        "server_label": label if isinstance(label, str) else "",
    }


def _approval_response(answer: ApprovalAnswer) -> Item:
    return {
        "type": "mcp_approval_response",
        "approval_request_id": answer.approval_id,
        "approve": answer.approved,
    }


def _chat_part(content: str | FileInput) -> Item:
    if isinstance(content, str):
        return {"type": "text", "text": content}
    kind, data = content.media_type.partition("/")[0], content.base64
    if content.file_id is not None and kind not in ("image", "audio", "video"):
        return {"type": "file", "file": {"file_id": content.file_id}}
    if kind == "image" and content.file_id is None:
        return {"type": "image_url", "image_url": {"url": content.url}}
    if kind == "audio" and data is not None and content.media_type in AUDIO_FORMATS:
        return {
            "type": "input_audio",
            "input_audio": {"data": data, "format": AUDIO_FORMATS[content.media_type]},
        }
    if kind in ("image", "audio", "video") or data is None:
        raise _refusal(
            content,
            "chat completions accept images by URL, and documents, WAV and MP3 as data URLs",
        )
    return {
        "type": "file",
        "file": {"file_data": content.url, "filename": content.filename or UNNAMED},
    }


def _input_part(content: str | FileInput) -> Item:
    if isinstance(content, str):
        return {"type": "input_text", "text": content}
    kind = content.media_type.partition("/")[0]
    named = {"file_id": content.file_id}
    if kind == "image":
        place = named if content.file_id is not None else {"image_url": content.url}
        return {"type": "input_image", **place, "detail": "auto"}
    if kind in ("audio", "video"):
        raise _refusal(content, "responses accept images and documents")
    if content.file_id is not None:
        return {"type": "input_file", **named}
    if content.base64 is None:
        return {"type": "input_file", "file_url": content.url}
    return {"type": "input_file", "file_data": content.url, "filename": content.filename or UNNAMED}


def _refusal(file: FileInput, accepted: str) -> InvalidArgument:
    return InvalidArgument(
        f"{file.place} is a {file.media_type[:80]!r} file that the API does not take: {accepted}"
    )
