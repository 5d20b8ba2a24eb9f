"""Turns the UI messages that a client sends into contents for Gemini.

The other direction, from Gemini to the client, is `capture`.

Source: google-genai 3.6.1, types.py (`PartDict`).
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final, TypeAlias, Unpack

from monostream_ai.errors import InvalidArgument
from monostream_ai.google_genai.capturing import CODE, SERVER_TOOL
from monostream_ai.ui_messages.held_files import files_in
from monostream_ai.ui_messages.model_contents import (
    AnsweredCall,
    Content,
    FileInput,
    ModelFile,
    ProviderCall,
    ProviderState,
    Reasoning,
    StatedText,
    Step,
    add_turn,
)
from monostream_ai.ui_messages.model_input import InputOptions, read_model_input

Item: TypeAlias = dict[str, Any]

_OUR_ID: Final = re.compile(r"call-\d+")
"""Ids of calls to which the API gave none. It does not want them back."""


def to_google_contents(
    ui_messages: Sequence[Mapping[str, Any]], **options: Unpack[InputOptions]
) -> list[Any]:
    """Return the `contents` for `generate_content` and `generate_content_stream`.

    Each step of an assistant message becomes one content of the model, and the results of its calls
    a content of the user after it. Thoughts, texts, files and calls go back with their signatures;
    code that the model ran and tools of Gemini's server with their results. A file of the model
    that the message does not hold, as where only a link is stored, becomes a short text that names
    it, unless `file_ids` has its URI. Left out are thoughts without a signature, calls without a
    result, sources, and parts of unknown types. Contents of one role that follow each other become
    one.

    Args:
        ui_messages: `UIMessage`s as JSON: `{id, role, parts}`. They come from a client, so trust
            them no further than that.
        allow_system: Not accepted: the API takes its instructions as `system_instruction`, apart.
        url_schemes: URL schemes allowed for a user's files; `https` and `data` by default.
        file_ids: URIs of files uploaded to the provider that this user may name, as
            `providerReference` or as the URL of a file; none by default. A user who could name any
            would read the files of others.
        max_bytes: UTF-8 bytes that may reach the model, all messages together; 32 MiB by default.
            The API charges for each of them.
        convert_data_part: Returns the part, in the API's format, for a user's `data-*` part, or
            None to leave it out. Without it all are left out.

    Raises:
        InvalidArgument: This is no list of UI messages, a file of the last one has a forbidden
            URL, or the messages are too large. The text names the place. Such a file of an earlier
            message becomes a text that says so.
    """
    if options.get("allow_system"):
        raise InvalidArgument(
            "allow_system is set, but the contents of this API have no system role: "
            "pass your instructions as system_instruction="
        )
    contents: list[Item] = []
    for said in read_model_input(ui_messages, **options, whole=True, files=True):
        if isinstance(said, Step):
            spoken = [part for each in said.contents for part in _by_model(each)]
            add_turn(contents, "model", "parts", spoken)
            add_turn(contents, "user", "parts", [_result(call) for call in said.calls])
        else:
            add_turn(contents, "user", "parts", [_by_user(each) for each in said.contents])
    return contents


def _by_model(content: Content) -> Iterator[Item]:
    if isinstance(content, str):
        yield {"text": content}
    elif isinstance(content, StatedText):
        yield {"text": content.text, **_signature(content.state)}
    elif isinstance(content, Reasoning):
        if signed := _signature(content.state):
            # A signature that came alone has no thought.
            thought = {"thought": True} if content.text else {}
            yield {"text": content.text, **thought, **signed}
    elif isinstance(content, AnsweredCall):
        call = {**_id(content.call_id), "name": content.name, "args": content.arguments}
        yield {"function_call": call, **_signature(content.state)}
    elif isinstance(content, ModelFile):
        yield from _file(content)
    elif isinstance(content, ProviderCall) and not content.waiting:
        yield from _server_call(content)


def _file(file: ModelFile) -> Iterator[Item]:
    signed = _signature(file.state)
    if file.thinks and not signed:
        return
    thought = {"thought": True} if file.thinks else {}
    if file.held is not None:
        data = {"data": file.held.content(), "mime_type": file.media_type}
        yield {"inline_data": data, **thought, **signed}
    elif file.file_id is not None:
        data = {"file_uri": file.file_id, "mime_type": file.media_type}
        yield {"file_data": data, **thought, **signed}
    elif not file.thinks:
        yield {"text": file.note}


def _server_call(call: ProviderCall) -> Iterator[Item]:
    """Yield a call of code or of a tool of Gemini's server, and its result."""
    state, signed = call.state.get("google", {}), _signature(call.state)
    answered = _signature(call.result_state)
    output = call.output if isinstance(call.output, Mapping) else None
    if call.name == CODE and "code" in call.arguments:
        code = {**_id(call.call_id), **_texts(call.arguments, "language", "code")}
        yield {"executable_code": code, **signed}
        if output is not None:
            result = {**_id(call.call_id), **_texts(output, "outcome", "output")}
            yield {"code_execution_result": result, **answered}
    elif call.name.startswith(SERVER_TOOL) and output is not None:
        kind = {"tool_type": call.name.removeprefix(SERVER_TOOL)}
        named = {**_texts({"id": state.get("serverToolCallId")}, "id"), **kind}
        yield {"tool_call": {**named, "args": call.arguments}, **signed}
        yield {"tool_response": {**named, "response": dict(output)}, **answered}


def _texts(values: Mapping[str, Any], *names: str) -> dict[str, str]:
    return {name: values[name] for name in names if isinstance(values.get(name), str)}


def _id(call_id: str) -> dict[str, str]:
    return {} if _OUR_ID.fullmatch(call_id) else {"id": call_id}


def _signature(state: ProviderState) -> dict[str, bytes]:
    given = state.get("google", {}).get("thoughtSignature")
    try:
        signature = base64.b64decode(given, validate=True) if isinstance(given, str) else b""
    except (binascii.Error, ValueError):
        # Not one that the API gave.
        return {}
    return {"thought_signature": signature} if signature else {}


def _result(call: AnsweredCall) -> Item:
    shown = call.shown_output
    if call.failed:
        response: Any = {"error": call.output_text}
    else:
        response = shown if isinstance(shown, Mapping) else {"result": shown}
    result = {**_id(call.call_id), "name": call.name, "response": dict(response)}
    held = [
        {"inline_data": {"data": base64.b64decode(file.base64), "mime_type": file.media_type}}
        for file in files_in(call.output)
    ]
    return {"function_response": {**result, "parts": held} if held else result}


def _by_user(content: str | FileInput | Item) -> Item:
    if isinstance(content, str):
        return {"text": content}
    if isinstance(content, dict):
        return content
    if content.base64 is not None:
        data = base64.b64decode(content.base64)
        return {"inline_data": {"data": data, "mime_type": content.media_type}}
    uri = content.file_id or content.url
    return {"file_data": {"file_uri": uri, "mime_type": content.media_type}}
