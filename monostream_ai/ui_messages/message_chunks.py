"""Turns a message back into chunks: the inverse of the reducer.

A turn that continues a message, after a tool result or an approval in the client, stores only the
new chunks. A client that reconnects has none of the message, so it gets these chunks first.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from monostream_ai.errors import InvalidArgument, InvalidChunk
from monostream_ai.json_text import encode_json
from monostream_ai.ui_messages.chunks import Chunk, check_chunk
from monostream_ai.ui_messages.reducer import COPIED_KEYS, UIMessage


def chunks_of_message(message: UIMessage) -> list[Chunk]:
    """Return chunks that make a message, without an ending.

    `reduce_chunks` turns them into an equal message if the message was settled. They make no client
    run a tool again: a call with a result gets no `tool-input-available`, unless it was denied.
    Parts that a client would refuse are left out, so the message may come from an untrusted source.

    Raises:
        InvalidArgument: This is no message, such as a list of them.
    """
    if not isinstance(message, Mapping):
        raise InvalidArgument(f"{type(message).__name__} is not a UI message")
    start: Chunk = {"type": "start", **_pick(message, messageId="id", messageMetadata="metadata")}
    chunks, step_open = _checked(iter([start])) or [{"type": "start"}], False
    parts = message.get("parts")
    for index, part in enumerate(parts if isinstance(parts, list) else ()):
        if isinstance(part, Mapping) and part.get("type") == "step-start":
            chunks += [{"type": "finish-step"}] * step_open + [{"type": "start-step"}]
            step_open = True
        else:
            chunks += _checked(_chunks(part, f"earlier-{index}"))
    return chunks + [{"type": "finish-step"}] * step_open


def _checked(chunks: Iterator[Chunk]) -> list[Chunk]:
    try:
        return [valid for chunk in chunks if encode_json(valid := check_chunk(chunk))]
    # The message may have been sent by a client, so any part may be malformed.
    except (AttributeError, InvalidChunk, KeyError, TypeError):
        return []


def _chunks(part: Mapping[str, Any], part_id: str) -> Iterator[Chunk]:
    kind = part["type"]
    if kind in ("text", "reasoning"):
        yield from _text_chunks(part, part.get("id", part_id))
    elif kind in COPIED_KEYS:
        keys = (*COPIED_KEYS[kind], "providerMetadata")
        yield {"type": kind, **{key: part[key] for key in keys if key in part}}
    elif kind.startswith("data-"):
        yield {"data": part["data"], **part}
    elif kind == "dynamic-tool":
        yield from _tool_chunks(part, part["toolName"], {"dynamic": True})
    elif kind.startswith("tool-"):
        yield from _tool_chunks(part, kind.removeprefix("tool-"), {})


def _text_chunks(part: Mapping[str, Any], part_id: str) -> Iterator[Chunk]:
    kind = part["type"]
    yield {
        "type": f"{kind}-start",
        "id": part_id,
        **_pick(part, providerMetadata="providerMetadata"),
    }
    if part["text"] != "":
        yield {"type": f"{kind}-delta", "id": part_id, "delta": part["text"]}
    yield {"type": f"{kind}-end", "id": part_id, **_pick(part, citations="citations")}


def _tool_chunks(part: Mapping[str, Any], name: str, keys: Chunk) -> Iterator[Chunk]:
    keys = {
        "toolCallId": part["toolCallId"],
        **keys,
        **_pick(part, providerExecuted="providerExecuted"),
    }
    call = {**keys, "toolName": name, **_pick(part, title="title", toolMetadata="toolMetadata")}
    yield from _input_chunks(part, call)
    if "approval" in part:
        yield from _approval_chunks(part["approval"], part["toolCallId"])
    result = {**keys, **_pick(part, providerMetadata="resultProviderMetadata")}
    state = part["state"]
    if state == "output-available":
        yield {
            "type": "tool-output-available",
            "output": part.get("output"),
            **result,
            **_pick(part, preliminary="preliminary"),
        }
    elif state == "output-error" and ("rawInput" in part or "input" not in part):
        yield {"type": "tool-output-error", "errorText": part["errorText"], **result}
    elif state == "output-error":
        error = {"toolName": name, "input": part["input"], "errorText": part["errorText"]}
        yield {"type": "tool-input-error", **result, **error}
    elif state == "output-denied":
        yield {"type": "tool-output-denied", "toolCallId": part["toolCallId"]}


def _input_chunks(part: Mapping[str, Any], call: Chunk) -> Iterator[Chunk]:
    state, metadata = part["state"], _pick(part, providerMetadata="callProviderMetadata")
    if "input" in part and state in (
        "input-available",
        "approval-requested",
        "approval-responded",
        "output-denied",
    ):
        yield {"type": "tool-input-available", "input": part["input"], **call, **metadata}
        return
    yield {
        "type": "tool-input-start",
        **call,
        **metadata,
        **_pick(part, inputEncoding="inputEncoding"),
    }
    if state == "output-error" and "rawInput" not in part:
        return
    text = (
        part["rawInput"]
        if isinstance(part.get("rawInput"), str)
        else encode_json(part["input"])
        if "input" in part
        else ""
    )
    if text:
        yield {"type": "tool-input-delta", "toolCallId": part["toolCallId"], "inputTextDelta": text}


def _approval_chunks(approval: Mapping[str, Any], call_id: str) -> Iterator[Chunk]:
    asked = _pick(
        approval,
        inputSchemaInput="inputSchemaInput",
        signature="signature",
        isAutomatic="isAutomatic",
        approvalDescriptor="descriptor",
        reason="requestReason",
    )
    yield {
        "type": "tool-approval-request",
        "approvalId": approval["id"],
        "toolCallId": call_id,
        **asked,
    }
    if "approved" in approval:
        answered = _pick(approval, approved="approved", reason="reason")
        yield {"type": "tool-approval-response", "approvalId": approval["id"], **answered}


def _pick(part: Mapping[str, Any], **keys: str) -> Chunk:
    return {name: part[key] for name, key in keys.items() if key in part}
