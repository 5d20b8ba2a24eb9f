"""Merges the deltas of a replay: 20,000 of them cost a client a second, one long delta nothing.

Works on the stored text and decodes nothing.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Final

_TAIL: Final = '"}'
_STRING: Final = r'"[^"\\]*(?:\\.[^"\\]*)*"'

_TEXT: Final = rf'"(?:text|reasoning)-delta","id":{_STRING},"delta":"'
_TOOL_INPUT: Final = rf'"tool-input-delta","toolCallId":{_STRING},"inputTextDelta":"'

DELTA: Final = re.compile(rf'(\{{"type":(?:{_TEXT}|{_TOOL_INPUT}))' r'([^"\\]*(?:\\.[^"\\]*)*)"\}')
"""A delta without further keys, as our encoder writes it. The groups are everything before its
string, and the string without quotes.
"""

MERGED_CHARACTERS: Final = 64 * 1024
"""Size from which nothing more is merged into a delta."""


def merge_deltas(ids: Sequence[int], payloads: Sequence[str]) -> Iterator[tuple[int, str]]:
    """Yield the payloads, with adjacent deltas of one part merged; a merged one has the last id.

    Args:
        ids: One for each payload.
    """
    place = 0
    while place < len(payloads):
        match = DELTA.fullmatch(payloads[place])
        if match is None:
            yield ids[place], payloads[place]
            place += 1
            continue
        end = place + 1
        while end < len(payloads) and payloads[end].startswith(match[1]):
            end += 1
        merged = _merged_at_once(match[1], payloads[place:end])
        if merged is not None:
            yield ids[end - 1], merged
        else:
            yield from _merged_one_by_one(ids[place:end], payloads[place:end])
        place = end


def _merged_at_once(head: str, payloads: Sequence[str]) -> str | None:
    """Return one delta for payloads that share `head`, or None if they need a closer look."""
    strings = "".join([payload[len(head) : -len(_TAIL)] for payload in payloads])
    if len(strings) > MERGED_CHARACTERS:
        return None
    # An unescaped quote means that one of the payloads has more keys, or ends differently.
    bare = strings.replace(r"\\", "").replace(r"\"", "") if '"' in strings else ""
    return None if '"' in bare else head + strings + _TAIL


def _merged_one_by_one(ids: Sequence[int], payloads: Sequence[str]) -> Iterator[tuple[int, str]]:
    head, strings, size, last = "", list[str](), 0, -1
    for id, payload in zip(ids, payloads, strict=True):
        match = DELTA.fullmatch(payload)
        if strings and (match is None or match[1] != head or size >= MERGED_CHARACTERS):
            yield last, head + "".join(strings) + _TAIL
            strings, size = [], 0
        last = id
        if match is None:
            yield id, payload
        else:
            head = match[1]
            strings.append(match[2])
            size += len(match[2])
    if strings:
        yield last, head + "".join(strings) + _TAIL
