"""Shapes a replay so that the page shows the same message and does nothing for a second time.

Transient data is left out, and so is `tool-input-available` of a call whose result is stored: a
client would run the tool again (`onToolCall`). The order stays as it is, and who goes on after an
id misses nothing. For one that goes on, a call whose start is not in the replay is started again,
which changes no part of its message, and transient data is new.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from typing import Any, Final

from monostream_ai.json_text import decode_json, encode_json
from monostream_ai.ui_messages.profiles import Profile

MAX_HELD_CHARACTERS: Final = 256 * 1024
"""Text that may wait for the result of a call. A call whose result comes later than that is shown
as it was.
"""

PROVIDER_METADATA: Final = "providerMetadata"
_RESULTS: Final = frozenset({"tool-output-available", "tool-output-error"})
_ON_START: Final = frozenset(
    {"toolCallId", "toolName", "dynamic", "title", PROVIDER_METADATA, "toolMetadata"}
)


class _Held:
    __slots__ = ("id", "payloads", "waits_for")

    def __init__(self, id: int, payloads: list[str], waits_for: str | None = None) -> None:
        self.id = id
        self.payloads = payloads
        self.waits_for = waits_for


class ReplayShape:
    """Shapes the stored payloads of one replay, one after another.

    Args:
        profile: `v5` clients take a call's metadata from `tool-input-available` only.
        goes_on: The client holds what comes before the replay.
    """

    def __init__(self, profile: Profile, *, goes_on: bool = False) -> None:
        self._metadata_on_start = profile != "v5"
        self._goes_on = goes_on
        self._held: deque[_Held] = deque()
        self._size = 0
        self._waiting: dict[str, tuple[_Held, list[str]]] = {}
        self._started: dict[str, tuple[dict[str, Any], list[str]]] = {}

    def passes(self, payloads: Sequence[str]) -> bool:
        """Whether `feed` would change none of these, and hold none of them back."""
        return not self._held and not _may_matter("".join(payloads))

    def feed(self, id: int, payload: str) -> Iterator[tuple[int, str]]:
        """Take the next payload, and yield those that wait no longer."""
        chunk = _tool_or_data(payload)
        if chunk is not None and chunk.get("transient") is True and not self._goes_on:
            return
        held = _Held(id, [payload])
        if chunk is not None:
            self._look(chunk, held)
        self._held.append(held)
        self._size += len(payload)
        yield from self._ready() if self._size <= MAX_HELD_CHARACTERS else self.flush()

    def flush(self) -> Iterator[tuple[int, str]]:
        """Yield what still waits, as it is stored: these calls have no result yet."""
        self._waiting.clear()
        for held in self._held:
            held.waits_for = None
        yield from self._ready()

    def _ready(self) -> Iterator[tuple[int, str]]:
        while self._held and self._held[0].waits_for is None:
            held = self._held.popleft()
            for count, payload in enumerate(held.payloads, 1):
                self._size -= len(payload)
                # Only the last has the chunk's own id: a client that went on after a part of the
                # chunk would miss the rest.
                yield held.id - (count < len(held.payloads)), payload

    def _look(self, chunk: dict[str, Any], held: _Held) -> None:
        kind, call_id = chunk.get("type"), str(chunk.get("toolCallId"))
        if kind == "tool-input-start":
            self._started[call_id] = chunk, []
        elif kind == "tool-input-delta" and call_id in self._started:
            self._started[call_id][1].append(str(chunk.get("inputTextDelta")))
        elif kind == "tool-input-available" and chunk.get("providerExecuted") is not True:
            instead = self._without_available(chunk)
            if instead is not None:
                held.waits_for = call_id
                self._waiting[call_id] = held, instead
        elif kind in _RESULTS and call_id in self._waiting:
            waiting, instead = self._waiting.pop(call_id)
            if kind == "tool-output-error" and chunk.get("dynamic") is not True:
                # A client keeps the streamed text of a static call that fails, as `rawInput`,
                # unless an output has replaced it.
                instead = [*instead, _preliminary(call_id)]
            self._size += sum(map(len, instead)) - sum(map(len, waiting.payloads))
            waiting.payloads, waiting.waits_for = instead, None

    def _without_available(self, available: dict[str, Any]) -> list[str] | None:
        """Return what makes the same part of a message without running the tool, or None if nothing
        does.
        """
        start, deltas = self._started.pop(str(available.get("toolCallId")), (None, []))
        said = {key: value for key, value in available.items() if key not in ("type", "input")}
        whole = encode_json(available.get("input"))
        if not said.keys() <= _ON_START or (
            PROVIDER_METADATA in said and not self._metadata_on_start
        ):
            return None
        if start is None:
            return [encode_json({"type": "tool-input-start", **said}), _delta(said, whole)]
        if {**start, **said} != start or "inputEncoding" in start:
            return None
        if not deltas:
            return [_delta(said, whole)]
        return [] if _normal("".join(deltas)) == whole else None


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


def _normal(text: str) -> str | None:
    try:
        return encode_json(decode_json(text))
    except (ValueError, RecursionError):
        return None
