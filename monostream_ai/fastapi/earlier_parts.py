"""The parts that a message had before a turn went on with it, as the chunks that would make them.

A continuation (after a tool result or an approval in the client) writes only what is new. A client that comes back holds nothing,
so it needs the whole message.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

from monostream_ai.errors import InvalidChunk
from monostream_ai.json_text import encode_json
from monostream_ai.ui_messages import Chunk, UIMessage, check_chunk

_COPIED: Final[Mapping[str, tuple[str, ...]]] = {
    "source-url": ("sourceId", "url", "title", "providerMetadata"),
    "source-document": ("sourceId", "mediaType", "title", "filename", "providerMetadata"),
    "file": ("url", "mediaType", "providerMetadata"),
    "reasoning-file": ("url", "mediaType", "providerMetadata"),
    "custom": ("kind", "providerMetadata"),
}


def earlier_payloads(message: UIMessage) -> list[str]:
    """Return chunks, as JSON text, that make the message's parts after a `start`, but for parts that a client would refuse."""
    payloads: list[str] = []
    step_open = False
    for index, part in enumerate(message["parts"]):
        if part.get("type") == "step-start":
            payloads += ['{"type":"finish-step"}'] * step_open + ['{"type":"start-step"}']
            step_open = True
        else:
            payloads += _payloads(part, f"earlier-{index}")
    return payloads + ['{"type":"finish-step"}'] * step_open


def _payloads(part: Mapping[str, Any], part_id: str) -> list[str]:
    try:
        return [encode_json(check_chunk(chunk)) for chunk in _chunks(part, part_id)]
    # What a client sent is not ours to trust.
    except (AttributeError, InvalidChunk, KeyError, TypeError):
        return []


def _chunks(part: Mapping[str, Any], part_id: str) -> Iterator[Chunk]:
    kind = part["type"]
    if kind in ("text", "reasoning"):
        part_id = part.get("id", part_id)
        yield {"type": f"{kind}-start", "id": part_id, **_pick(part, providerMetadata="providerMetadata")}
        yield {"type": f"{kind}-delta", "id": part_id, "delta": part["text"]}
        yield {"type": f"{kind}-end", "id": part_id}
    elif kind in _COPIED:
        yield {"type": kind, **{key: part[key] for key in _COPIED[kind] if key in part}}
    elif kind.startswith("data-"):
        yield {"type": kind, "data": part["data"], **_pick(part, id="id")}
    elif kind == "dynamic-tool":
        yield from _tool_chunks(part, part["toolName"], {"dynamic": True})
    elif kind.startswith("tool-"):
        yield from _tool_chunks(part, kind.removeprefix("tool-"), {})


def _tool_chunks(part: Mapping[str, Any], name: str, keys: Chunk) -> Iterator[Chunk]:
    state = part["state"]
    keys = {"toolCallId": part["toolCallId"], **keys, **_pick(part, providerExecuted="providerExecuted")}
    call = {**keys, "toolName": name, **_pick(part, title="title", providerMetadata="callProviderMetadata")}
    if state == "output-error" and part.get("input") is None:
        yield {"type": "tool-input-error", "input": part.get("rawInput"), "errorText": part["errorText"], **call}
        return
    if state in ("input-streaming", "output-available", "output-error") and "providerExecuted" not in keys:
        # Not `tool-input-available`: it would make the client run its tool again.
        yield {"type": "tool-input-start", **call}
        delta = encode_json(part.get("input"))
        yield {"type": "tool-input-delta", "toolCallId": part["toolCallId"], "inputTextDelta": delta}
    else:
        yield {"type": "tool-input-available", "input": part.get("input"), **call}
    if "approval" in part and not state.startswith("output-a"):
        yield {"type": "tool-approval-request", "approvalId": part["approval"]["id"], "toolCallId": part["toolCallId"]}
    result = {**keys, **_pick(part, providerMetadata="resultProviderMetadata")}
    if state == "output-available":
        yield {"type": "tool-output-available", "output": part.get("output"), **result, **_pick(part, preliminary="preliminary")}
    elif state == "output-error":
        yield {"type": "tool-output-error", "errorText": part["errorText"], **result}
    elif state == "output-denied":
        yield {"type": "tool-output-denied", "toolCallId": part["toolCallId"]}


def _pick(part: Mapping[str, Any], **keys: str) -> Chunk:
    return {name: part[key] for name, key in keys.items() if key in part}
