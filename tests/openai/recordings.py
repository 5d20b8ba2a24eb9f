"""The recorded streams in `recordings/<api>/`.

`<name>.sse` is the body that a vendor sends; `<name>.jsonl` holds the chunks that must be stored
for it, with the ending that a publisher's block adds.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Final

DIRECTORY: Final = Path(__file__).parent / "recordings"

NAMES: Final = sorted(f"{path.parent.name}/{path.stem}" for path in DIRECTORY.glob("*/*.sse"))


def body_of(name: str) -> bytes:
    return (DIRECTORY / f"{name}.sse").read_bytes()


def events_of(name: str) -> list[dict[str, Any]]:
    """Return the events as dicts; lines without JSON are left out."""
    events = []
    for line in body_of(name).decode().splitlines():
        if line.startswith("data: {") and line.endswith("}"):
            events.append(json.loads(line.removeprefix("data: ")))
    return events


def chunks_of(name: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (DIRECTORY / f"{name}.jsonl").read_text().splitlines()]
