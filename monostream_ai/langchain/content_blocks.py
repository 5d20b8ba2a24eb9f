"""Reads a message's content as LangChain's uniform content blocks.

Blocks that LangChain passes on in their provider's own form are read in `provider_blocks`. A block
of an unknown form becomes an `unread` one, so that nothing is lost.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from langchain_core.messages import AIMessage, BaseMessage

from monostream_ai.langchain.endings import is_refusal
from monostream_ai.langchain.provider_blocks import (
    CALLS,
    SPOKEN,
    as_provider_sent,
    content_strings,
    read_block,
    spoken_block,
    texts_of,
    told_strings,
    unread_block,
)
from monostream_ai.langchain.sources_and_files import SOURCE_FIELDS
from monostream_ai.ui_messages.audio import audio_file

logger = logging.getLogger(__name__)

_REASONING_FIELDS: Final = ("reasoning_content", "reasoning", "thinking")
"""Fields beside the content that hold reasoning, as of DeepSeek, xAI, Ollama and OpenRouter."""

_FIELDS: Final = frozenset(
    {
        *_REASONING_FIELDS,
        *SOURCE_FIELDS,
        "audio",
        "function_call",
        "tool_calls",
        "refusal",
        "parsed",
        "name",
        "tool_outputs",
        "usage",
        "stop_reason",
        "model_id",
        "generation_id",
        "logprobs",
        "__gemini_function_call_thought_signatures__",
        "__openai_function_call_ids__",
    }
)
"""Fields beside the content that are read, here or by LangChain, or hold nothing that is said."""

_LISTED: Final = frozenset({"tool_call", "tool_use", "function_call", "custom_tool_call"})
_ARGUMENTS: Final = ("args", "input", "arguments")
"""Blocks that hold a call of a tool of the program, and the keys of its arguments."""


def blocks_of(message: AIMessage, *, whole: bool = False) -> Sequence[Mapping[str, Any]]:
    """Return the content blocks; see `langchain_core.messages.content`.

    Args:
        whole: Read what the metadata adds to the content too, such as the reason of a refusal.
    """
    # Most tokens are plain, and `content_blocks` would take ten times as long.
    if not message.additional_kwargs and not (whole and message.response_metadata):
        plain = _plain_blocks(message)
        if plain is not None:
            return plain
    message = _unmixed(message)
    blocks = _translated(message)
    refusal = message.additional_kwargs.get("refusal")
    if isinstance(refusal, str):
        # LangChain also adds it as one block or two, which would show it again.
        blocks = [
            *(block for block in blocks if not is_refusal(block)),
            {"type": "refusal", "refusal": refusal},
        ]
    read = [shown for block in blocks for shown in read_block(block, message)]
    beside = [
        spoken_block("reasoning", text)
        for field in _REASONING_FIELDS
        for text in texts_of(message.additional_kwargs.get(field))
    ]
    told = set(told_strings(read))
    left_out = [shown for raw in _raw(message) for shown in _left_out(raw, message, told)]
    heard = _heard(message) if whole else ()
    shown = [*(block for block in beside if block["reasoning"] not in told), *read, *left_out]
    return [*shown, *heard]


def _heard(message: AIMessage) -> Iterator[Mapping[str, Any]]:
    """Yield the transcript and the sound of an answer that OpenAI gave as audio."""
    audio = message.additional_kwargs.get("audio")
    if not isinstance(audio, Mapping):
        return
    if (text := audio.get("transcript")) and isinstance(text, str):
        yield spoken_block("text", text)
    if (data := audio.get("data")) and isinstance(data, str):
        file = audio_file([data])
        if file is None:
            yield unread_block({"type": "audio", "data": data})
        else:
            yield {"type": "audio", "url": file[0], "mime_type": file[1]}


def fields_unread(message: BaseMessage) -> list[str]:
    """Return the names of fields beside the content that hold something that nobody reads."""
    return [
        str(name)
        for name, value in message.additional_kwargs.items()
        if name not in _FIELDS and value and not isinstance(value, int | float)
    ]


def _plain_blocks(message: AIMessage) -> Sequence[Mapping[str, Any]] | None:
    content: Any = message.content
    if isinstance(content, str):
        return [{"type": "text", "text": content}] if content else []
    if len(content) != 1 or not isinstance(content[0], dict):
        return None
    block = content[0]
    kind, index = block.get("type"), block.get("index")
    if kind not in ("text", "thinking") or not block.keys() <= {"type", kind, "index"}:
        return None
    if not isinstance(text := block.get(kind), str):
        return None
    if kind == "text" and index is not None:
        # The same place as in LangChain's translation, which a block with citations gets.
        openai = message.response_metadata.get("model_provider") == "openai"
        index = f"lc_txt_{index}" if openai else index
    return [spoken_block("text" if kind == "text" else "reasoning", text, index)]


def _unmixed(message: AIMessage) -> AIMessage:
    """Return the message with a block of its own for each kind of text.

    LangChain merges all blocks of one index, whatever their kinds.
    """
    if isinstance(message.content, str):
        return message
    raw = _raw(message)
    blocks = [part for block in raw for part in _parts_of(block)]
    return message if blocks == raw else message.model_copy(update={"content": blocks})


def _parts_of(block: dict[str, Any]) -> list[dict[str, Any]]:
    kind = SPOKEN.get(str(block.get("type")))
    thoughts = [key for key in _REASONING_FIELDS if _is_text(block.get(key))]
    speaks = _is_text(block.get("text"))
    if kind is None or not thoughts or not (speaks or kind == "text"):
        return [block]
    place = {"index": block["index"]} if "index" in block else {}
    other = ["text"] if kind == "reasoning" else thoughts
    own = {key: value for key, value in block.items() if key not in other}
    said = {"type": "text", "text": block.get("text"), **place}
    thought = [{"type": "thinking", "thinking": block[key], **place} for key in thoughts]
    if kind == "reasoning":
        return [own, said]
    return [*thought, *([own] if any(content_strings(own)) else [])]


def _is_text(value: object) -> bool:
    return isinstance(value, str) and value != ""


def _left_out(
    raw: Mapping[str, Any], message: AIMessage, told: set[str]
) -> Iterator[Mapping[str, Any]]:
    """Yield the blocks of a raw block that LangChain's translator has left out.

    It leaves out the forms that its own package never makes.
    """
    sent = as_provider_sent(raw)
    strings = set(content_strings(sent))
    if strings <= told or sent.get("type") in CALLS:
        return
    if not told.isdisjoint(strings):
        yield from _rest_of(sent, raw.get("index"), strings - told)
        return
    blocks = list(read_block(raw, message))
    read = list(told_strings(blocks))
    in_part = str(sent.get("type")) in SPOKEN and any(text not in "".join(read) for text in strings)
    if in_part or strings.isdisjoint(read):
        yield unread_block(sent)
    yield from blocks


def _rest_of(
    sent: Mapping[str, Any], index: object, untold: set[str]
) -> Iterator[Mapping[str, Any]]:
    """Yield the rest of a block that was told in part."""
    kind = str(sent.get("type"))
    texts = [text for text in texts_of(sent) if text in untold]
    for text in texts:
        yield spoken_block(SPOKEN.get(kind, "text"), text, index)
    if kind in SPOKEN and not untold <= set(texts):
        yield unread_block(sent)


def listed_calls(
    message: AIMessage, blocks: Sequence[Mapping[str, Any]]
) -> list[Mapping[str, Any]]:
    """Return the calls of the program's tools: listed by the message, or only in its content."""
    listed: list[Mapping[str, Any]] = [*message.tool_calls]
    known = {call["id"] for call in [*message.tool_calls, *message.invalid_tool_calls]}
    for block in blocks:
        call_id = block.get("call_id") or block.get("id")
        name, kind = block.get("name"), block.get("type")
        if kind in _LISTED and isinstance(call_id, str) and name and call_id not in known:
            known.add(call_id)
            given: Any = next((block[key] for key in _ARGUMENTS if key in block), {})
            listed.append({"id": call_id, "name": str(name), "args": given})
    legacy = message.additional_kwargs.get("function_call")
    if not listed and isinstance(legacy, Mapping) and legacy.get("name"):
        # OpenAI's calls before `tool_calls`, which have no id.
        arguments = legacy.get("arguments") or {}
        listed.append({"id": None, "name": str(legacy["name"]), "args": arguments})
    return listed


def _translated(message: AIMessage) -> list[Any]:
    content = message.content
    if isinstance(content, list) and not all(isinstance(item, dict) for item in content):
        # Some translators skip plain strings in a list.
        message = message.model_copy(update={"content": _raw(message)})
    try:
        return [block for block in message.content_blocks if isinstance(block, dict)]
    except Exception:
        # A translator may fail for a block that its own package never makes.
        logger.debug("LangChain cannot translate this content", exc_info=True)
        return _raw(message)


def _raw(message: AIMessage) -> list[dict[str, Any]]:
    content: Any = message.content
    items = content if isinstance(content, list) else [content]
    return [
        item if isinstance(item, dict) else {"type": "text", "text": item}
        for item in items
        if item != ""
    ]
