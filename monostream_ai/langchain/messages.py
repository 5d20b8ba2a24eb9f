"""UI messages, as a client sends them, to LangChain messages."""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from typing import Any, Final, TypeAlias
from urllib.parse import unquote_to_bytes

from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, SystemMessage, ToolCall, ToolMessage

from monostream_ai.errors import InvalidArgument

DENIED_TEXT: Final = "Tool execution denied."
MEDIA_KINDS: Final = frozenset({"image", "audio", "video"})
URL_SCHEMES: Final = frozenset({"https", "data"})
MAX_BYTES: Final = 32 * 1024 * 1024
"""Of text, URLs, and what tools took and gave; all messages together."""

Part: TypeAlias = Mapping[str, Any]
Block: TypeAlias = dict[str, Any]


def to_langchain_messages(
    messages: Sequence[Mapping[str, Any]],
    *,
    allow_system: bool = False,
    url_schemes: Collection[str] = URL_SCHEMES,
    max_bytes: int = MAX_BYTES,
    convert_data_part: Callable[[Part], Block | None] | None = None,
) -> list[BaseMessage]:
    """Return the messages to give to a model.

    Each step of an assistant message becomes one `AIMessage` with its tool calls, followed by their `ToolMessage`s. Calls without
    a result are left out, since providers refuse them; so are reasoning, sources, and parts of unknown types.

    Args:
        messages: `UIMessage`s as JSON: `{id, role, parts}`. They come from a client: read them as such.
        allow_system: Take system messages too; a client could rewrite your instructions with them.
        url_schemes: Where a user's files may come from.
        max_bytes: UTF-8 of all that may reach the model; a model's provider charges for it.
        convert_data_part: Returns the content block for a user's `data-*` part, or None to leave it out. Without it all are.

    Raises:
        InvalidArgument: This is no list of UI messages, a file's URL is not allowed, or it is too much; it names the place.
    """
    if isinstance(messages, str | bytes) or not isinstance(messages, Sequence):
        raise InvalidArgument("the messages are not a list of UI messages")
    files = _Files(url_schemes, convert_data_part)
    result: list[BaseMessage] = []
    for index, message in enumerate(messages):
        converted = _convert(message, index, files, allow_system)
        max_bytes -= sum(map(_size, converted))
        if max_bytes < 0:
            raise InvalidArgument(f"messages[{index}] is more than this chat may hold")
        result += converted
    return result


def _convert(message: Mapping[str, Any], index: int, files: _Files, allow_system: bool) -> list[BaseMessage]:
    place = f"messages[{index}]"
    parts = message.get("parts") if isinstance(message, Mapping) else None
    if not isinstance(parts, Sequence) or not all(isinstance(part, Mapping) for part in parts):
        raise InvalidArgument(f"{place} is not a UI message: it needs a list of parts")
    message_id = message.get("id") if isinstance(message.get("id"), str) else None
    role = message.get("role")
    if role == "assistant":
        return list(_assistant(parts, message_id))
    if role == "user":
        blocks = [block for number, part in enumerate(parts) for block in files.blocks(part, f"{place}.parts[{number}]")]
        return [_human(blocks, message_id)] if blocks else []
    if role == "system":
        text = "".join(_text(part) for part in parts)
        return [SystemMessage(text, id=message_id)] if allow_system and text else []
    raise InvalidArgument(f"{place} has the role {role!r}: use 'user', 'assistant' or 'system'")


def _size(message: BaseMessage) -> int:
    calls = message.tool_calls if isinstance(message, AIMessage) else []
    said = [message.content, *(call["args"] for call in calls)]
    return sum(
        len(value.encode(errors="surrogatepass") if isinstance(value, str) else json.dumps(value, default=str)) for value in said
    )


def _human(blocks: list[Block], message_id: str | None) -> HumanMessage:
    if len(blocks) == 1 and blocks[0]["type"] == "text":
        return HumanMessage(blocks[0]["text"], id=message_id)
    content: Any = blocks
    return HumanMessage(content_blocks=content, id=message_id)


def _text(part: Part) -> str:
    text = part.get("text") if part.get("type") == "text" else None
    return text if isinstance(text, str) else ""


class _Files:
    """Makes content blocks of a user's parts."""

    def __init__(self, url_schemes: Collection[str], convert_data_part: Callable[[Part], Block | None] | None) -> None:
        self._url_schemes = url_schemes
        self._convert_data_part = convert_data_part

    def blocks(self, part: Part, place: str) -> Iterator[Block]:
        kind = str(part.get("type"))
        if text := _text(part):
            yield {"type": "text", "text": text}
        elif kind == "file":
            yield self._file(part, place)
        elif kind.startswith("data-") and self._convert_data_part is not None:
            block = self._convert_data_part(part)
            if block is not None:
                yield block

    def _file(self, part: Part, place: str) -> Block:
        url, media_type = part.get("url"), part.get("mediaType")
        if not isinstance(url, str) or not isinstance(media_type, str):
            raise InvalidArgument(f"{place} is not a file: it needs a url and a mediaType")
        scheme, _, rest = url.partition(":")
        if scheme.lower() not in self._url_schemes:
            raise InvalidArgument(
                f"{place} has a URL of the scheme {scheme[:20]!r}: use {' or '.join(sorted(self._url_schemes))}"
            )
        kind = media_type.partition("/")[0]
        block: Block = {"type": kind if kind in MEDIA_KINDS else "file", "mime_type": media_type}
        block.update({"base64": _base64(rest, place)} if scheme.lower() == "data" else {"url": url})
        # OpenAI refuses a document without a name.
        if isinstance(filename := part.get("filename"), str):
            block["extras"] = {"filename": filename}
        return block


def _base64(rest: str, place: str) -> str:
    head, comma, data = rest.partition(",")
    if not comma:
        raise InvalidArgument(f"{place} has a data URL without data")
    content = unquote_to_bytes(data)
    if not head.endswith(";base64"):
        return base64.b64encode(content).decode()
    try:
        base64.b64decode(content, validate=True)
    except binascii.Error as error:
        raise InvalidArgument(f"{place} has a data URL that is not base64") from error
    return content.decode()


def _assistant(parts: Sequence[Part], message_id: str | None) -> Iterator[BaseMessage]:
    for number, step in enumerate(_steps(parts)):
        text = "".join(_text(part) for part in step)
        results = [result for part in step if (result := _tool_result(part)) is not None]
        if not text and not results:
            continue
        calls = [call for call, _ in results]
        yield AIMessage(text, tool_calls=calls, id=None if message_id is None else f"{message_id}-{number}")
        for _, answer in results:
            yield answer


def _steps(parts: Sequence[Part]) -> list[list[Part]]:
    steps: list[list[Part]] = [[]]
    for part in parts:
        if part.get("type") == "step-start":
            steps.append([])
        else:
            steps[-1].append(part)
    return [step for step in steps if step]


def _tool_result(part: Part) -> tuple[ToolCall, ToolMessage] | None:
    kind, call_id = str(part.get("type")), part.get("toolCallId")
    if not (kind == "dynamic-tool" or kind.startswith("tool-")) or not isinstance(call_id, str):
        return None
    answer = None if part.get("providerExecuted") is True else _answer(part)
    if answer is None:
        return None
    name = str(part.get("toolName")) if kind == "dynamic-tool" else kind.removeprefix("tool-")
    text, failed = answer
    message = ToolMessage(text, tool_call_id=call_id, name=name, status="error" if failed else "success")
    return ToolCall(type="tool_call", id=call_id, name=name, args=_arguments(part)), message


def _answer(part: Part) -> tuple[str, bool] | None:
    """Return what to tell the model and whether the tool failed; None while the call waits for its result."""
    state = part.get("state")
    given = part.get("approval")
    approval: Part = given if isinstance(given, Mapping) else {}
    if state == "output-available":
        output = part.get("output")
        return output if isinstance(output, str) else json.dumps(output, ensure_ascii=False), False
    if state == "output-error":
        return str(part.get("errorText") or "The tool failed."), True
    if state == "output-denied" or (state == "approval-responded" and approval.get("approved") is False):
        return str(approval.get("reason") or DENIED_TEXT), True
    return None


def _arguments(part: Part) -> dict[str, Any]:
    given = part.get("input", part.get("rawInput"))
    if given is None:
        given = {}
    return dict(given) if isinstance(given, Mapping) else {"input": given}
