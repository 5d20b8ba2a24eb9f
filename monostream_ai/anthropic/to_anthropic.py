"""Turns the UI messages that a client sends into messages for Anthropic's API.

The other direction, from Anthropic to the client, is `capture`.

Source: anthropic-sdk-python 2.14.0, types/message_param.py.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final, TypeAlias, Unpack

from monostream_ai.anthropic.server_calls import caller_of, sent_back
from monostream_ai.errors import InvalidArgument
from monostream_ai.ui_messages.held_files import HeldFile, files_in
from monostream_ai.ui_messages.model_contents import (
    AnsweredCall,
    ApprovalAnswer,
    Content,
    FileInput,
    ModelFile,
    ProviderCall,
    StatedText,
    Step,
    add_turn,
    given_or_named,
)
from monostream_ai.ui_messages.model_input import InputOptions, read_model_input

Item: TypeAlias = dict[str, Any]

IMAGES: Final = frozenset({"image/gif", "image/jpeg", "image/png", "image/webp"})
_NO_ID: Final = re.compile(r"[^a-zA-Z0-9_-]")
PDF: Final = "application/pdf"


def to_anthropic_messages(
    ui_messages: Sequence[Mapping[str, Any]], **options: Unpack[InputOptions]
) -> list[Any]:
    """Return the `messages` for `messages.create` and `messages.stream`.

    Each step of an assistant message becomes one assistant message, and the results of its calls a
    user message after it; images and PDF documents in a result follow its text. Thinking goes back
    with its signature, or redacted; without either it is left out, as the API refuses it. Calls of
    server tools go back with their results, and texts with their citations. A call without a result
    that ends the conversation, as of a paused turn, goes back too, and the API goes on with it. A
    file in an answer becomes a short text that names it, since only a user's messages may hold one.
    Left out are other calls without a result, sources, and parts of unknown types. Messages of one
    role that follow each other become one.

    Args:
        ui_messages: `UIMessage`s as JSON: `{id, role, parts}`. They come from a client, so trust
            them no further than that.
        allow_system: Not accepted: the API takes its instructions as `system`, apart.
        url_schemes: URL schemes allowed for a user's files; `https` and `data` by default.
        file_ids: Ids of files uploaded to the provider that this user may name, as
            `providerReference` or as the URL of a file; none by default. A user who could name any
            id would read the files of others.
        max_bytes: UTF-8 bytes that may reach the model, all messages together; 32 MiB by default.
            The API charges for each of them.
        convert_data_part: Returns the content block, in the API's format, for a user's `data-*`
            part, or None to leave it out. Without it all are left out.

    Raises:
        InvalidArgument: This is no list of UI messages, a file of the last one has a forbidden
            URL or a type that the API does not accept, or the messages are too large. The text
            names the place. Such a file of an earlier message becomes a text that says so.
    """
    if options.get("allow_system"):
        raise InvalidArgument(
            "allow_system is set, but the messages of this API have no system role: "
            "pass your instructions as system="
        )
    messages: list[Item] = []
    conversation = list(read_model_input(ui_messages, **options, whole=True))
    for said in conversation:
        if isinstance(said, Step):
            for role, blocks in _step(said, last=said is conversation[-1]):
                add_turn(messages, role, "content", blocks)
        else:
            contents = [
                each if isinstance(each, dict) else given_or_named(each, _content)
                for each in said.contents
            ]
            add_turn(messages, "user", "content", contents)
    return messages


def _step(step: Step, *, last: bool) -> Iterator[tuple[str, list[Item]]]:
    contents = list(step.contents)
    # The API takes a server tool's call without a result only at the end: of a paused turn, or
    # beside calls of the program whose results follow. Anywhere else it refuses the request.
    end = len(contents)
    while last and end and isinstance(contents[end - 1], AnsweredCall | ProviderCall):
        end -= 1
    kept = [each for each in contents[:end] if not _waits(each)] + contents[end:]
    yield "assistant", [block for content in kept for block in _said_by_model(content)]
    yield "user", [_result(call) for call in step.calls]


def _waits(content: Content) -> bool:
    return isinstance(content, ProviderCall) and content.waiting


def _said_by_model(content: Content) -> list[Item]:
    if isinstance(content, ApprovalAnswer):
        # Anthropic's server asks for no approval of its own calls.
        return []
    if isinstance(content, str | ModelFile):
        return _text(content if isinstance(content, str) else content.note, {})
    state = content.state.get("anthropic", {})
    if isinstance(content, StatedText):
        return _text(content.text, state)
    if isinstance(content, AnsweredCall):
        return [_call(content, state)]
    if isinstance(content, ProviderCall):
        return sent_back(content, state)
    signature, redacted = state.get("signature"), state.get("redactedData")
    if isinstance(signature, str):
        return [{"type": "thinking", "thinking": content.text, "signature": signature}]
    if isinstance(redacted, str):
        return [{"type": "redacted_thinking", "data": redacted}]
    return []


def _text(text: str, state: Mapping[str, Any]) -> list[Item]:
    if not text.strip():
        # The API refuses a text of spaces.
        return []
    if state.get("type") == "compaction":
        return [{"type": "compaction", "content": text}]
    citations = state.get("citations")
    cited = {"citations": citations} if isinstance(citations, list) else {}
    return [{"type": "text", "text": text, **cited}]


def _call(call: AnsweredCall, state: Mapping[str, Any]) -> Item:
    block = {"type": "tool_use", **_id(call, "id"), "name": call.name, "input": call.arguments}
    block |= caller_of(state)
    toolset, action = state.get("toolsetName"), call.arguments.get("action")
    if isinstance(toolset, str) and isinstance(action, str):
        input = {name: value for name, value in call.arguments.items() if name != "action"}
        block |= {"name": action, "toolset_name": toolset, "input": input}
    return block


def _id(call: AnsweredCall, key: str) -> dict[str, str]:
    # Other providers, LangChain and `CallIds` make ids that the API refuses.
    return {key: _NO_ID.sub("_", call.call_id)}


def _result(call: AnsweredCall) -> Item:
    files = [file for file in files_in(call.output) if file.media_type in (*IMAGES, PDF)]
    content: Any = call.output_text
    if files:
        content = [{"type": "text", "text": content}, *map(_held, files)]
    result = {"type": "tool_result", **_id(call, "tool_use_id"), "content": content}
    return {**result, "is_error": True} if call.failed else result


def _held(file: HeldFile) -> Item:
    """Return an image or a document that the result of a tool holds."""
    source = {"type": "base64", "media_type": file.media_type, "data": file.base64}
    return {"type": "document" if file.media_type == PDF else "image", "source": source}


def _content(content: str | FileInput) -> Item:
    if isinstance(content, str):
        return {"type": "text", "text": content}
    title = {"title": content.filename} if content.filename else {}
    if content.media_type in IMAGES or (
        content.base64 is None and content.media_type.startswith("image/")
    ):
        return {"type": "image", "source": _source(content)}
    if content.media_type == PDF or content.file_id is not None:
        return {"type": "document", "source": _source(content), **title}
    if content.media_type.startswith("text/") and content.base64 is not None:
        return {"type": "document", "source": _plain_text(content), **title}
    raise InvalidArgument(
        f"{content.place} is a {content.media_type[:80]!r} file that the API does not take: "
        "messages accept GIF, JPEG, PNG, WebP and PDF, and text as a data URL"
    )


def _source(file: FileInput) -> Item:
    if file.file_id is not None:
        return {"type": "file", "file_id": file.file_id}
    if file.base64 is None:
        return {"type": "url", "url": file.url}
    return {"type": "base64", "media_type": file.media_type, "data": file.base64}


def _plain_text(file: FileInput) -> Item:
    try:
        text = base64.b64decode(file.base64 or "").decode()
    except UnicodeDecodeError as error:
        raise InvalidArgument(f"{file.place} is a text file that is not UTF-8") from error
    return {"type": "text", "media_type": "text/plain", "data": text}
