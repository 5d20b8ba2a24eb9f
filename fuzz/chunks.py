"""The chunks that scenarios write: plain ones of any size, and values that break naive encoders."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from fuzz.draws import Draws
from monostream_ai.json_text import encode_json
from monostream_ai.protocol import JSONProtocol
from monostream_ai.types import MAX_CHUNK_BYTES, Ending

Chunk = dict[str, Any]

TERMINAL: Final = ("finish", "error", "abort")


def _ending(ending: Ending) -> Sequence[Chunk]:
    return [{"type": "error" if ending == "lost" else ending}]


PROTOCOL: Final = JSONProtocol[Chunk](lambda chunk: chunk["type"] in TERMINAL, ending=_ending)

FINISH, ERROR, ABORT = ('{"type":"finish"}', '{"type":"error"}', '{"type":"abort"}')
ENDINGS: Final = (FINISH, ERROR, ABORT)
"""The terminal payloads."""

ODD: Final[Sequence[Any]] = [
    "",
    "\0",
    "a\0b",
    "\ud800",
    "\udfff\ud800",
    "\U0001f600",
    "\u2028\u2029",
    "\r\n\t\x1f\x7f",
    "'; DROP TABLE stream_chunk; --",
    ':name %s {} \\ " \\u0000',
    2**63,
    -(2**63) - 1,
    10**60,
    1e308,
    5e-324,
    -0.0,
    None,
    True,
    [],
    {},
    [[], {}, None, 0, ""],
    {"": "", "\0": 1, "\ud800": 2, "b": 1, "a": 2},
]

SHAPES: Final = ("plain", "nested", "key", "repeated", "limit")
"""Ways to put a value into a chunk; the last two make it large."""


def plain_chunks(draws: Draws, count: int, *, author: str = "") -> list[Chunk]:
    """Return chunks that name their author and their place; few are large."""
    largest = draws.choice("size", (0, 12, 12, 200, 3000))
    return [
        {"type": "text", "n": n, "by": author, "text": "x" * (hash_size(n) % (largest + 1))}
        for n in range(count)
    ]


def hash_size(number: int) -> int:
    return number * 2654435761 % 4001


def odd_chunk(draws: Draws, number: int) -> Chunk:
    """Return a chunk with a value that is hard to store."""
    value = draws.choice("odd", ODD)
    match draws.choice("shape", SHAPES if number % 7 == 0 else SHAPES[:3]):
        case "nested":
            for _ in range(draws.number("depth", 1, 190)):
                value = [value] if draws.chance("list", 50) else {"d": value}
        case "key" if isinstance(value, str):
            value = {value: value}
        case "repeated":
            value = [value] * draws.number("repeats", 1, 2000)
        case "limit":
            return _chunk_of_the_largest_size(draws)
    return {"type": "odd", "n": number, "value": value}


def _chunk_of_the_largest_size(draws: Draws) -> Chunk:
    letter = draws.choice("letter", ("x", "é", "\U0001f600"))
    room = MAX_CHUNK_BYTES - len(encode_json({"type": "odd", "value": ""}))
    return {"type": "odd", "value": letter * (room // len(letter.encode()))}
