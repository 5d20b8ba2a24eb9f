"""The chunks that tests write: a tiny protocol with a terminal chunk for each kind of ending."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from monostream_ai.protocol import JSONProtocol
from monostream_ai.types import Ending

Chunk = dict[str, Any]

FINISH: Final[Chunk] = {"type": "finish"}
ERROR: Final[Chunk] = {"type": "error"}
ABORT: Final[Chunk] = {"type": "abort"}
TERMINAL: Final = ("finish", "error", "abort")


def text(number: int) -> Chunk:
    return {"type": "text", "n": number}


def texts(count: int, start: int = 0) -> list[Chunk]:
    return [text(number) for number in range(start, start + count)]


def _is_terminal(chunk: Chunk) -> bool:
    return chunk["type"] in TERMINAL


def _ending(ending: Ending) -> Sequence[Chunk]:
    return [{"type": "error" if ending == "lost" else ending}]


PROTOCOL: Final = JSONProtocol[Chunk](_is_terminal, ending=_ending)
