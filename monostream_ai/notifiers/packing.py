"""Pack wake-ups into the payloads of Postgres notifications.

A notification costs the same whatever its size, so each one carries as many wake-ups as fit. The
format is `version.id.length.stream_id`, repeated, with the length in characters.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from monostream_ai.types import WakeUp

MAX_PAYLOAD_BYTES: Final = 7999
"""Of one payload. Source: PostgreSQL 18, NOTIFY ("shorter than 8000 bytes")."""


def pack(wake_ups: Iterable[WakeUp]) -> list[str]:
    """Return the payloads that carry these wake-ups, in order."""
    payloads: list[str] = []
    entries: list[str] = []
    room = MAX_PAYLOAD_BYTES
    for wake_up in wake_ups:
        # A stream id may hold any character, also the dot: its length says where it ends.
        entry = f"{wake_up.version}.{wake_up.id}.{len(wake_up.stream_id)}.{wake_up.stream_id}"
        size = len(entry) if entry.isascii() else len(entry.encode())
        if size > room:
            payloads.append("".join(entries))
            entries, room = [], MAX_PAYLOAD_BYTES
        entries.append(entry)
        room -= size
    return [*payloads, "".join(entries)]


def unpack(payload: str) -> list[WakeUp]:
    """Return the wake-ups of a payload, in order. Raises ValueError if it is not one of ours."""
    wake_ups: list[WakeUp] = []
    start = 0
    while start < len(payload) or not wake_ups:
        at_id = payload.index(".", start) + 1
        at_length = payload.index(".", at_id) + 1
        at_stream = payload.index(".", at_length) + 1
        end = at_stream + int(payload[at_length : at_stream - 1])
        if not at_stream < end <= len(payload):
            raise ValueError(payload)
        wake_ups.append(
            WakeUp(
                payload[at_stream:end],
                int(payload[start : at_id - 1]),
                int(payload[at_id : at_length - 1]),
            )
        )
        start = end
    return wake_ups
