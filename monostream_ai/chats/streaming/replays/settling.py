"""Replays each step as it ended, for clients that lack `reset-step` or `tool-approval-response`.

A live response can only leave these chunks out: such a client then keeps an attempt that was taken
back, and goes on asking about a call that was approved elsewhere. A replay knows what came of both.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Sequence
from typing import Any, Final, NamedTuple

from monostream_ai.json_text import decode_json, encode_json
from monostream_ai.ui_messages.profiles import NOTHING, Profile, refuses

MAX_HELD_CHARACTERS: Final = 256 * 1024
"""Characters held back. Beyond, they are sent as they are stored."""

_STEP: Final = '"start-step"'
_RESET: Final = '"reset-step"'
_REQUEST: Final = "tool-approval-request"
_RESPONSE: Final = "tool-approval-response"
_APPROVAL: Final = '"tool-approval-'
_DATA: Final = '"data-'
_OPENING: Final = frozenset(
    {
        "text-start",
        "reasoning-start",
        "tool-input-start",
        "tool-input-available",
        "tool-input-error",
    }
)
_WHOLE_PARTS: Final = frozenset(
    {"source-url", "source-document", "file", "reasoning-file", "custom", "steering-message"}
)


class _Stored(NamedTuple):
    id: int
    payload: str
    chunk: dict[str, Any]

    @property
    def kind(self) -> str:
        return str(self.chunk.get("type"))

    @property
    def is_data(self) -> bool:
        """Whether this is data of the message; transient data is none of its parts."""
        return self.kind.startswith("data-") and self.chunk.get("transient") is not True

    @property
    def place(self) -> tuple[str, str] | None:
        """The name of the part that this chunk opens or changes; None if it has no name."""
        family = self.kind.partition("-")[0]
        key = "toolCallId" if family == "tool" else "id"
        name = self.chunk.get(key)
        return None if name is None else (self.kind if family == "data" else family, str(name))


class SettledSteps:
    """Passes the stored payloads of one replay on, page after page: a step once the next begins,
    and a request for approval once it is answered.

    Args:
        goes_on: The client already has the chunks before the replay.
    """

    def __init__(self, profile: Profile, *, goes_on: bool = False) -> None:
        self._takes_back = refuses(profile, "reset-step")
        self._answers = refuses(profile, _RESPONSE)
        self._goes_on = goes_on
        self._ids: list[int] = []
        self._payloads: list[str] = []
        self._size = 0
        self._asked: dict[str, int] = {}
        """The ids of the chunks that ask for approvals without an answer so far."""
        self._data: set[tuple[str, str] | None] = set()
        """Names of the data parts in the steps before."""

    def feed(
        self, ids: Sequence[int], payloads: Sequence[str], *, last: bool
    ) -> tuple[Sequence[int], Sequence[str]]:
        """Take the next page, and return the ids and payloads that need not wait any longer.

        Args:
            last: Nothing follows that could be held back, so all of it is returned.
        """
        text = "".join(payloads)
        self._ids += ids
        self._payloads += payloads
        self._size += len(text)
        if self._answers and _APPROVAL in text:
            self._note_approvals(ids, payloads)
        if self._takes_back and _RESET in text:
            self._take_back()
        if last or self._size > MAX_HELD_CHARACTERS:
            return self._release(len(self._payloads))
        return self._release(min([self._last_step(), *self._places_of_requests()]))

    def _note_approvals(self, ids: Sequence[int], payloads: Sequence[str]) -> None:
        for each in _stored(ids, payloads, _APPROVAL):
            approval_id = str(each.chunk.get("approvalId"))
            if each.kind == _REQUEST:
                self._asked[approval_id] = each.id
            elif each.kind == _RESPONSE and self._asked.pop(approval_id, None) is not None:
                self._payloads = [*as_answered(self._payloads)]
                self._size = sum(map(len, self._payloads))

    def _places_of_requests(self) -> list[int]:
        return [bisect_left(self._ids, id) for id in self._asked.values()]

    def _last_step(self) -> int:
        for place in range(len(self._payloads) - 1, -1, -1):
            if _STEP in self._payloads[place] and type_of(self._payloads[place]) == "start-step":
                return place
        return 0

    def _release(self, end: int) -> tuple[Sequence[int], Sequence[str]]:
        ids, payloads = self._ids[:end], self._payloads[:end]
        del self._ids[:end], self._payloads[:end]
        self._size -= sum(map(len, payloads))
        if ids:
            self._asked = {name: id for name, id in self._asked.items() if id > ids[-1]}
        if self._takes_back:
            self._data.update(each.place for each in _stored(ids, payloads, _DATA) if each.is_data)
        return ids, payloads

    def _take_back(self) -> None:
        before, step = list[_Stored](), list[_Stored]()
        for each in _stored(self._ids, self._payloads):
            if each.kind == "start-step":
                before += [*step, each]
                step = []
            elif each.kind == "reset-step":
                step = self._without_parts(step, before)
            else:
                step.append(each)
        kept = [*before, *step]
        self._ids = [each.id for each in kept]
        self._payloads = [each.payload for each in kept]
        self._size = sum(map(len, self._payloads))
        self._asked = {name: id for name, id in self._asked.items() if id in self._ids}

    def _without_parts(self, step: Sequence[_Stored], before: Iterable[_Stored]) -> list[_Stored]:
        """Return the chunks of a step that change something outside of it."""
        known = self._data | {each.place for each in before if each.is_data}
        opened = {
            each.place
            for each in step
            if each.kind in _OPENING
            or (each.is_data and each.place not in known and not self._goes_on)
        }
        asked = {
            each.chunk.get("approvalId")
            for each in step
            if each.kind == _REQUEST and each.place in opened
        }
        return [
            each
            for each in step
            if each.place not in opened
            and each.kind not in _WHOLE_PARTS
            and not (each.is_data and each.place is None)
            and not (each.kind == _RESPONSE and each.chunk.get("approvalId") in asked)
        ]


def as_answered(payloads: Sequence[str]) -> Sequence[str]:
    """Return as many payloads, changed for clients that lack `tool-approval-response`. They see a
    request as it was answered: an approved call runs, and a refused one is denied.
    """
    sent, asked = [*payloads], dict[str, tuple[int, Any]]()
    for each in _stored(range(len(payloads)), payloads, _APPROVAL):
        approval_id = str(each.chunk.get("approvalId"))
        if each.kind == _REQUEST:
            asked[approval_id] = each.id, each.chunk.get("toolCallId")
        elif each.kind == _RESPONSE and approval_id in asked:
            question, call_id = asked.pop(approval_id)
            if each.chunk.get("approved") is True:
                sent[question] = sent[each.id] = NOTHING
            else:
                sent[each.id] = encode_json({"type": "tool-output-denied", "toolCallId": call_id})
    return sent


def _stored(ids: Iterable[int], payloads: Iterable[str], mark: str = "") -> Iterable[_Stored]:
    """Yield the chunks whose text holds a mark."""
    for id, payload in zip(ids, payloads, strict=True):
        if mark in payload:
            chunk = decode_json(payload)
            yield _Stored(id, payload, chunk if isinstance(chunk, dict) else {})


def type_of(payload: str) -> str | None:
    """Return the type of a stored chunk; None if it has none."""
    chunk = decode_json(payload)
    return str(chunk.get("type")) if isinstance(chunk, dict) else None
