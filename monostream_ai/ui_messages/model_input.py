"""Reads the UI messages of a client as input for a model, independent of the provider's format."""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, Final, NamedTuple, TypeAlias, TypedDict
from urllib.parse import unquote_to_bytes

from monostream_ai.errors import InvalidArgument
from monostream_ai.json_text import encode_json, whole_characters
from monostream_ai.types import check_count, check_function, check_texts
from monostream_ai.ui_messages.held_files import HeldFile, file_of_url, files_in
from monostream_ai.ui_messages.model_contents import (
    AnsweredCall,
    ApprovalAnswer,
    Content,
    FileInput,
    ModelFile,
    ProviderCall,
    ProviderState,
    Reasoning,
    Said,
    StatedText,
    Step,
    refused_text,
    text_of,
)
from monostream_ai.ui_messages.texts import DENIED_TEXT, FAILED_TEXT, FILE_SHOWN_TEXT, file_text
from monostream_ai.ui_messages.tool_parts import tool_name

URL_SCHEMES: Final = frozenset({"https", "data"})
MAX_BYTES: Final = 32 * 1024 * 1024
"""UTF-8 bytes of text, URLs, tool inputs and tool results, for all messages together."""

_SCHEME: Final = re.compile("[a-z][a-z0-9+.-]*")

Part: TypeAlias = Mapping[str, Any]

ConvertDataPart: TypeAlias = Callable[[Part], dict[str, Any] | None]


class InputOptions(TypedDict, total=False):
    """Options of `read_model_input`, for functions that pass them on."""

    allow_system: bool
    url_schemes: Collection[str]
    file_ids: Collection[str]
    max_bytes: int
    convert_data_part: ConvertDataPart | None


class _Wanted(NamedTuple):
    whole: bool
    files: bool
    states: bool


class _Allowed(NamedTuple):
    """The files that a user may give to the model."""

    url_schemes: Collection[str]
    file_ids: frozenset[str]

    def file_id(self, part: Part) -> str | None:
        reference = part.get("providerReference")
        named = [*reference.values()] if isinstance(reference, Mapping) else []
        given = (each for each in [*named, part.get("url")] if isinstance(each, str))
        return next((each for each in given if each in self.file_ids), None)


def read_model_input(
    messages: Sequence[Mapping[str, Any]],
    *,
    allow_system: bool = False,
    url_schemes: Collection[str] = URL_SCHEMES,
    file_ids: Collection[str] = (),
    max_bytes: int = MAX_BYTES,
    convert_data_part: ConvertDataPart | None = None,
    whole: bool = False,
    files: bool = False,
    states: bool = False,
) -> Iterator[Said | Step]:
    """Yield the contents of the messages, in order; parts that a model cannot use are left out.

    Args:
        messages: `UIMessage`s as a client sent them, not yet validated.
        allow_system: Read system messages too, instead of leaving them out.
        url_schemes: URL schemes allowed for a user's files.
        file_ids: Ids of uploaded files that this user may name, as `providerReference` or as the
            URL of a file.
        max_bytes: UTF-8 bytes of all yielded contents together.
        convert_data_part: Converts a user's `data-*` part; None leaves the part out. Without this
            function all data parts are left out.
        whole: Read also the state of texts, as `StatedText`, and the calls of tools that the
            provider runs, as `ProviderCall`.
        files: Read also the content of the model's files, and files that are part of the reasoning.
        states: Read also the state of texts, but no calls that the provider runs.

    Raises:
        InvalidArgument: This is no list of UI messages, a file of the last one is not allowed, or
            the messages are too large. The text names the message and part. Or an option has a
            value that cannot work, such as a scheme with a colon.
        TypeError: An option is not of its type, or `convert_data_part` is async or returns anything
            but an object or None.
    """
    check_texts("url_schemes", url_schemes)
    if wrong := [scheme for scheme in url_schemes if not _SCHEME.fullmatch(scheme)]:
        raise InvalidArgument(f"url_schemes holds {wrong[0]!r}: use schemes such as 'https'")
    check_texts("file_ids", file_ids)
    check_count("max_bytes", max_bytes)
    check_function("convert_data_part", convert_data_part)
    if isinstance(messages, str | bytes) or not isinstance(messages, Sequence):
        raise InvalidArgument("the messages are not a list of UI messages")
    allowed = _Allowed(url_schemes, frozenset(file_ids))
    wanted = _Wanted(whole, files, whole or states)
    for index, message in enumerate(messages):
        place = f"messages[{index}]"
        parts = message.get("parts") if isinstance(message, Mapping) else None
        if not isinstance(parts, Sequence) or not all(isinstance(part, Mapping) for part in parts):
            raise InvalidArgument(f"{place} is not a UI message: it needs a list of parts")
        if message.get("role") == "system" and not allow_system:
            continue
        last = index == len(messages) - 1
        for said in _read(message, parts, place, allowed, convert_data_part, wanted, last=last):
            max_bytes -= _size(said)
            if max_bytes < 0:
                raise InvalidArgument(f"{place} exceeds the size limit of this chat")
            yield said


def _read(
    message: Mapping[str, Any],
    parts: Sequence[Part],
    place: str,
    allowed: _Allowed,
    convert: ConvertDataPart | None,
    wanted: _Wanted,
    *,
    last: bool,
) -> Iterator[Said | Step]:
    role, message_id = (
        message.get("role"),
        message.get("id") if isinstance(message.get("id"), str) else None,
    )
    if role == "assistant":
        yield from _steps(parts, message_id, allowed, wanted)
    elif role == "user":
        contents = [
            _content(part, f"{place}.parts[{n}]", allowed, convert, last=last)
            for n, part in enumerate(parts)
        ]
        if given := [content for content in contents if content]:
            yield Said("user", given, message_id)
    elif role == "system":
        if text := "".join(map(_text, parts)):
            yield Said("system", [text], message_id)
    else:
        raise InvalidArgument(f"{place} has the role {role!r}: use 'user', 'assistant' or 'system'")


def _content(
    part: Part, place: str, allowed: _Allowed, convert: ConvertDataPart | None, *, last: bool
) -> str | FileInput | dict[str, Any] | None:
    kind = str(part.get("type"))
    if kind == "file":
        try:
            return replace(_file(part, place, allowed), in_last=last)
        except InvalidArgument:
            if last:
                raise
            media_type = part.get("mediaType")
            return refused_text(media_type if isinstance(media_type, str) else "unknown")
    if kind.startswith("data-") and convert is not None:
        converted = convert(part)
        if converted is not None and not isinstance(converted, Mapping):
            raise TypeError(f"convert_data_part returned {converted!r:.80}: return a dict or None")
        return converted
    return _text(part)


def _text(part: Part) -> str:
    text = part.get("text") if part.get("type") == "text" else None
    return whole_characters(text) if isinstance(text, str) else ""


def _file(part: Part, place: str, allowed: _Allowed) -> FileInput:
    url, media_type, filename = part.get("url"), part.get("mediaType"), part.get("filename")
    if not isinstance(url, str) or not isinstance(media_type, str):
        raise InvalidArgument(f"{place} is not a file: it needs a url and a mediaType")
    filename = filename if isinstance(filename, str) else None
    if (file_id := allowed.file_id(part)) is not None:
        return FileInput(place, url, media_type, filename, file_id)
    scheme, _, rest = url.partition(":")
    if scheme.lower() not in allowed.url_schemes:
        raise InvalidArgument(
            f"{place} has a URL with the scheme {scheme[:20]!r}: "
            f"use {' or '.join(sorted(allowed.url_schemes))}"
        )
    if scheme.lower() == "data":
        url = f"data:{media_type};base64,{_base64(rest, place)}"
    return FileInput(place, url, media_type, filename)


def _base64(rest: str, place: str) -> str:
    head, comma, data = rest.partition(",")
    if not comma:
        raise InvalidArgument(f"{place} has a data URL without data")
    try:
        content = unquote_to_bytes(data)
        if not head.endswith(";base64"):
            return base64.b64encode(content).decode()
        base64.b64decode(content, validate=True)
    except (binascii.Error, UnicodeEncodeError) as error:
        raise InvalidArgument(f"{place} has a data URL that cannot be decoded") from error
    return content.decode()


def _steps(
    parts: Sequence[Part], message_id: str | None, allowed: _Allowed, wanted: _Wanted
) -> Iterator[Step]:
    in_results = _InResults(parts)
    for number, step in enumerate(_split(parts)):
        contents = tuple(
            content
            for part in step
            if (content := _said_by_model(part, allowed, wanted)) and not in_results.has(part)
        )
        if any(not isinstance(content, Reasoning) for content in contents):
            calls = [content for content in contents if isinstance(content, AnsweredCall)]
            step_id = None if message_id is None else f"{message_id}-{number}"
            yield Step(text_of(contents), calls, step_id, contents)


def _said_by_model(part: Part, allowed: _Allowed, wanted: _Wanted) -> Content | None:
    kind = part.get("type")
    if kind == "file" or (kind == "reasoning-file" and wanted.files):
        return _model_file(part, allowed, wanted)
    text, state = part.get("text"), _state(part.get("providerMetadata"))
    if kind == "reasoning":
        said = whole_characters(text) if isinstance(text, str) else ""
        return Reasoning(said, state) if state else None
    if kind == "text":
        return StatedText(_text(part), state) if state and wanted.states else _text(part)
    return _call(part) or _approval_answer(part) or (_provider_call(part) if wanted.whole else None)


def _model_file(part: Part, allowed: _Allowed, wanted: _Wanted) -> ModelFile | None:
    url, media_type = part.get("url"), part.get("mediaType")
    if not isinstance(url, str) or not isinstance(media_type, str):
        return None
    file = file_of_url(url, media_type)
    note = file_text(FILE_SHOWN_TEXT, media_type, 0 if file is None else file.size)
    # A link may have expired or ask for the user's cookies, and an API that cannot fetch a file
    # refuses the whole request.
    held = file if wanted.files and "data" in allowed.url_schemes and _is_whole(file) else None
    thinks, state = part.get("type") == "reasoning-file", _state(part.get("providerMetadata"))
    return ModelFile(note, media_type, held, allowed.file_id(part), thinks, state)


def _is_whole(file: HeldFile | None) -> bool:
    try:
        return file is not None and bool(file.content())
    except binascii.Error:
        return False


class _InResults:
    """Finds the files that pages get beside the result of a tool; models get them in the result."""

    def __init__(self, parts: Sequence[Part]) -> None:
        self._outputs = [part["output"] for part in parts if part.get("output") is not None]
        self._held: set[str] | None = None

    def has(self, part: Part) -> bool:
        if part.get("type") != "file" or not self._outputs:
            return False
        if (file := file_of_url(part["url"], part["mediaType"])) is None:
            return any(_holds(output, part["url"]) for output in self._outputs)
        if self._held is None:
            self._held = {held.base64 for output in self._outputs for held in files_in(output)}
        return file.base64 in self._held


def _holds(output: Any, url: str) -> bool:
    """Whether a result refers to a file that was stored."""
    return encode_json(url) in encode_json(output)


def _provider_call(part: Part) -> ProviderCall | None:
    call_id, answer = part.get("toolCallId"), _answer(part)
    waiting = answer is None and part.get("state") == "input-available"
    if part.get("providerExecuted") is not True or not isinstance(call_id, str):
        return None
    if answer is None and not waiting:
        return None
    output, failed = answer or (None, False)
    state = _state(part.get("callProviderMetadata"))
    result_state = _state(part.get("resultProviderMetadata"))
    return ProviderCall(
        tool_name(part), call_id, _arguments(part), output, failed, state, result_state, waiting
    )


def _state(metadata: Any) -> ProviderState:
    if not isinstance(metadata, Mapping):
        return {}
    return {
        str(provider): values
        for provider, values in metadata.items()
        if isinstance(values, Mapping) and values
    }


def _split(parts: Sequence[Part]) -> list[list[Part]]:
    steps: list[list[Part]] = [[]]
    for part in parts:
        if part.get("type") == "step-start":
            steps.append([])
        else:
            steps[-1].append(part)
    return [step for step in steps if step]


def _call(part: Part) -> AnsweredCall | None:
    kind, call_id = str(part.get("type")), part.get("toolCallId")
    if not (kind == "dynamic-tool" or kind.startswith("tool-")) or not isinstance(call_id, str):
        return None
    # A tool that the provider ran has its result in the provider's own format. A call without a
    # result must be left out, since providers refuse it.
    answer = None if part.get("providerExecuted") is True else _answer(part)
    if answer is None:
        return None
    state = _state(part.get("callProviderMetadata"))
    return AnsweredCall(call_id, tool_name(part), _arguments(part), *answer, state)


def _approval_answer(part: Part) -> ApprovalAnswer | None:
    approval = part.get("approval")
    if (
        part.get("providerExecuted") is not True
        or part.get("state") != "approval-responded"
        or not isinstance(approval, Mapping)
        or not isinstance(approval_id := approval.get("id"), str)
    ):
        return None
    # Exactly True: a client that sends "false" must not approve.
    approved, state = approval.get("approved") is True, _state(part.get("callProviderMetadata"))
    return ApprovalAnswer(approval_id, approved, tool_name(part), _arguments(part), state)


def _arguments(part: Part) -> dict[str, Any]:
    given = part.get("input", part.get("rawInput"))
    return {} if given is None else dict(given) if isinstance(given, Mapping) else {"input": given}


def _answer(part: Part) -> tuple[Any, bool] | None:
    """Return the result and whether the tool failed; None while the call waits for one."""
    state, given = part.get("state"), part.get("approval")
    approval: Part = given if isinstance(given, Mapping) else {}
    if state == "output-available":
        output = part.get("output")
        return whole_characters(output) if isinstance(output, str) else output, False
    if state == "output-error":
        return str(part.get("errorText") or FAILED_TEXT), True
    if state == "output-denied" or (
        state == "approval-responded" and approval.get("approved") is False
    ):
        return str(approval.get("reason") or DENIED_TEXT), True
    return None


def _size(said: Said | Step) -> int:
    texts: list[str] = []
    for content in said.contents:
        if isinstance(content, AnsweredCall | ProviderCall):
            output = content.output
            text = output if isinstance(output, str) else encode_json(output)
            texts += [encode_json(content.arguments), text, _state_text(content.state)]
            if isinstance(content, ProviderCall):
                texts.append(_state_text(content.result_state))
        elif isinstance(content, ModelFile):
            shown = content.note if content.held is None else content.held.base64
            texts += [shown, _state_text(content.state)]
        elif isinstance(content, Reasoning | StatedText):
            texts += [content.text, _state_text(content.state)]
        elif isinstance(content, ApprovalAnswer):
            texts += [encode_json(content.arguments), _state_text(content.state)]
        else:
            texts.append(_named(content) if isinstance(content, FileInput) else str(content))
    return sum(len(text.encode(errors="surrogatepass")) for text in texts)


def _named(file: FileInput) -> str:
    return file.file_id or file.url


def _state_text(state: ProviderState) -> str:
    return encode_json(state) if state else ""
