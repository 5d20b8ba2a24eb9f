"""The recorded streams in `recordings/`, made of the event types that Anthropic documents."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Final

DIRECTORY: Final = Path(__file__).parent / "recordings"

NAMES: Final = sorted(path.stem for path in DIRECTORY.glob("*.sse"))


def body_of(name: str) -> bytes:
    return (DIRECTORY / f"{name}.sse").read_bytes()


def events_of(name: str) -> list[dict[str, Any]]:
    lines = body_of(name).decode().splitlines()
    return [json.loads(line[6:]) for line in lines if line.startswith("data: ")]
