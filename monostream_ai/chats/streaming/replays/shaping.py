"""Shapes a replay so that a page shows the same message but repeats no side effect.

Two kinds of chunk are left out: transient data, and `tool-input-available` of a call whose result
is stored, because it would make the client run the tool again (`onToolCall`). The order is kept, so
a client that resumes after any id misses nothing.

A client that already has the beginning gets transient data, which is new to it. A call that started
before the replay is started once more, which changes no part of the message.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from typing import Any, Final

from monostream_ai.json_text import decode_json, encode_json
from monostream_ai.ui_messages.profiles import Profile

MAX_HELD_CHARACTERS: Final = 256 * 1024
"""Characters held back while a call waits for its result; beyond, the call is sent as stored."""

PROVIDER_METADATA: Final = "providerMetadata"
_RESULTS: Final = frozenset({"tool-output-available", "tool-output-error"})
_ON_START: Final = frozenset(
    {"toolCallId", "toolName", "dynamic", "title", PROVIDER_METADATA, "toolMetadata"}
)


class _Held:
    """A stored chunk that waits, itself or behind another one, and the payloads that replace it."""

    __slots__ = ("id", "payloads", "waits_for")

    def __init__(self, id: int, payloads: list[str], waits_for: str | None = None) -> None:
        self.id = id
        self.payloads = payloads
        self.waits_for = waits_for


class ReplayShape:
    """Shapes the stored payloads of one replay, one after another.

    Args:
        profile: `v5` clients take a call's metadata from `tool-input-available` only.
        goes_on: The client already has the chunks before the replay.
    """

    def __init__(self, profile: Profile, *, goes_on: bool = False) -> None:
        self._metadata_on_start = profile != "v5"
        self._goes_on = goes_on
        self._held: deque[_Held] = deque()
        self._size = 0
        # By call id: calls without a result so far, each with the payloads that would replace it.
        self._waiting: dict[str, tuple[_Held, list[str]]] = {}
        # By call id: `tool-input-start`, and the texts of the input deltas after it.
        self._started: dict[str, tuple[dict[str, Any], list[str]]] = {}

    def passes(self, payloads: Sequence[str]) -> bool:
        """Return whether `feed` would neither change these payloads nor hold one back."""
        return not self._held and not _may_matter("".join(payloads))

    def feed(self, id: int, payload: str) -> Iterator[tuple[int, str]]:
        """Take the next payload, and yield those that need not wait any longer."""
        chunk = _tool_or_data(payload)
        if chunk is not None and chunk.get("transient") is True and not self._goes_on:
            return
        held = _Held(id, [payload])
        if chunk is not None:
            self._note(chunk, held)
        self._held.append(held)
        self._size += len(payload)
        yield from self._ready() if self._size <= MAX_HELD_CHARACTERS else self.flush()

    def flush(self) -> Iterator[tuple[int, str]]:
        """Yield the payloads held back, as they are stored: their calls have no result yet."""
        self._waiting.clear()
        for held in self._held:
            held.waits_for = None
        yield from self._ready()

    def _ready(self) -> Iterator[tuple[int, str]]:
        while self._held and self._held[0].waits_for is None:
            held = self._held.popleft()
            for count, payload in enumerate(held.payloads, 1):
                self._size -= len(payload)
                # Only the last payload gets the chunk's own id: a client that resumed after an
                # earlier one would miss the rest of the chunk.
                yield held.id - (count < len(held.payloads)), payload

    def _note(self, chunk: dict[str, Any], held: _Held) -> None:
        kind, call_id = chunk.get("type"), str(chunk.get("toolCallId"))
        if kind == "tool-input-start":
            self._started[call_id] = chunk, []
        elif kind == "tool-input-delta" and call_id in self._started:
            self._started[call_id][1].append(str(chunk.get("inputTextDelta")))
        elif kind == "tool-input-available" and chunk.get("providerExecuted") is not True:
            instead = self._input_without_run(chunk)
            if instead is not None:
                held.waits_for = call_id
                self._waiting[call_id] = held, instead
        elif kind in _RESULTS and call_id in self._waiting:
            waiting, instead = self._waiting.pop(call_id)
            if kind == "tool-output-error" and chunk.get("dynamic") is not True:
                # When a static call fails, a client keeps its streamed text as `rawInput` unless
                # an output has replaced it.
                instead = [*instead, _preliminary(call_id)]
            self._size += sum(map(len, instead)) - sum(map(len, waiting.payloads))
            waiting.payloads, waiting.waits_for = instead, None

    def _input_without_run(self, available: dict[str, Any]) -> list[str] | None:
        """Return payloads that make the same message part without running the tool, if any do."""
        start, deltas = self._started.pop(str(available.get("toolCallId")), (None, []))
        call = {key: value for key, value in available.items() if key not in ("type", "input")}
        whole = encode_json(available.get("input"))
        if not call.keys() <= _ON_START or (
            PROVIDER_METADATA in call and not self._metadata_on_start
        ):
            return None
        if start is None:
            return [encode_json({"type": "tool-input-start", **call}), _delta(call, whole)]
        if {**start, **call} != start or "inputEncoding" in start:
            return None
        if not deltas:
            return [_delta(call, whole)]
        return [] if _canonical("".join(deltas)) == whole else None


def _delta(call: dict[str, Any], text: str) -> str:
    return encode_json(
        {"type": "tool-input-delta", "toolCallId": call.get("toolCallId"), "inputTextDelta": text}
    )


def _preliminary(call_id: str) -> str:
    return encode_json(
        {
            "type": "tool-output-available",
            "toolCallId": call_id,
            "output": None,
            "preliminary": True,
        }
    )


def _tool_or_data(payload: str) -> dict[str, Any] | None:
    if not _may_matter(payload):
        return None
    chunk = decode_json(payload)
    return chunk if isinstance(chunk, dict) else None


def _may_matter(text: str) -> bool:
    return '"tool-' in text or '"transient"' in text


def _canonical(text: str) -> str | None:
    try:
        return encode_json(decode_json(text))
    except (ValueError, RecursionError):
        return None
