"""Merges the deltas of a replay: a client takes a second for 20,000 of them, and no time for their sum.

Works on the stored text; nothing is decoded.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import Final

_STRING: Final = r'"[^"\\]*(?:\\.[^"\\]*)*"'

DELTA: Final = re.compile(
    rf'(\{{"type":(?:"(?:text|reasoning)-delta","id":{_STRING},"delta":"|"tool-input-delta","toolCallId":{_STRING},"inputTextDelta":"))'
    r'([^"\\]*(?:\\.[^"\\]*)*)"\}'
)
"""A delta without further keys, as our encoder writes it: all but its string, and its string without quotes."""

MERGED_CHARACTERS: Final = 64 * 1024
"""Size at which a merged delta is long enough."""


def merge_deltas(payloads: Iterable[tuple[int, str]]) -> Iterator[tuple[int, str]]:
    """Yield payloads with each run of deltas of one part made one, beside the id of the last that each stands for.

    Args:
        payloads: In order, each with its id.
    """
    head, strings, size, last = "", list[str](), 0, -1
    for id, payload in payloads:
        match = DELTA.fullmatch(payload)
        if strings and (match is None or match[1] != head or size >= MERGED_CHARACTERS):
            yield last, _joined(head, strings)
            strings, size = [], 0
        last = id
        if match is None:
            yield id, payload
        else:
            head = match[1]
            strings.append(match[2])
            size += len(match[2])
    if strings:
        yield last, _joined(head, strings)


def _joined(head: str, strings: list[str]) -> str:
    return head + "".join(strings) + '"}'
