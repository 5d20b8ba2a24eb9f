"""Wake-ups as messages: as entries, and packed into the payloads of Postgres notifications.

An entry is a stream id, a version and an id. The chunks that a wake-up carries follow it as an
entry of their own: the text in the place of the stream id, `FORMAT` in that of the version, and an
id that no wake-up has. A release that knows nothing of carried chunks takes that entry for the
wake-up of a stream that nobody reads, and so the releases on both sides of this one understand each
other.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final

from monostream_ai.types import WakeUp

MAX_PAYLOAD_BYTES: Final = 7999
"""Of one payload. Source: PostgreSQL 18, NOTIFY ("shorter than 8000 bytes")."""

CARRIED: Final = -2
"""The id of an entry that carries the chunks of the one before it."""

FORMAT: Final = 1
"""The version of such an entry; one with another number is ignored."""


Entry = tuple[str, int, int]
"""One part of a message: a text, a version and an id."""


def entries_of(wake_up: WakeUp) -> list[Entry]:
    """Return a wake-up as one entry, or as two if it carries chunks."""
    stream_id, version, id, carried = wake_up
    if not carried:
        return [(stream_id, version, id)]
    return [(stream_id, version, id), (carried, FORMAT, CARRIED)]


def wake_ups_of(entries: Iterable[Entry]) -> list[WakeUp]:
    """Return the wake-ups of a message, in order; entries that only later releases know are left
    out.
    """
    wake_ups: list[WakeUp] = []
    for text, version, id in entries:
        if id >= -1:
            wake_ups.append(WakeUp(text, version, id))
        elif id == CARRIED and version == FORMAT and wake_ups:
            wake_ups[-1] = WakeUp(*wake_ups[-1][:3], text)
    return wake_ups


def pack(wake_ups: Iterable[WakeUp]) -> list[str]:
    """Return the payloads that carry these wake-ups, in order.

    A notification costs the same whatever its size, so each one carries as many wake-ups as fit.
    Each entry is `version.id.length.text`, with the length in characters. Chunks that do not fit
    into a payload beside their wake-up are left out.
    """
    payloads: list[str] = []
    packed: list[str] = []
    room = MAX_PAYLOAD_BYTES
    for wake_up in wake_ups:
        text, size = _joined(entries_of(wake_up))
        if size > MAX_PAYLOAD_BYTES:
            text, size = _joined(entries_of(wake_up)[:1])
        if size > room:
            payloads.append("".join(packed))
            packed, room = [], MAX_PAYLOAD_BYTES
        packed.append(text)
        room -= size
    return [*payloads, "".join(packed)]


def _joined(entries: Iterable[Entry]) -> tuple[str, int]:
    """Return the text of entries, and its bytes of UTF-8."""
    # A stream id may hold any character, also the dot: its length says where it ends.
    text = "".join([f"{version}.{id}.{len(text)}.{text}" for text, version, id in entries])
    return text, len(text) if text.isascii() else len(text.encode())


def unpack(payload: str) -> list[WakeUp]:
    """Return the wake-ups of a payload, in order. Raises ValueError if it is not one of ours."""
    return wake_ups_of(_entries_in(payload))


def _entries_in(payload: str) -> Iterator[Entry]:
    start = 0
    while start < len(payload) or start == 0:
        at_id = payload.index(".", start) + 1
        at_length = payload.index(".", at_id) + 1
        at_text = payload.index(".", at_length) + 1
        end = at_text + int(payload[at_length : at_text - 1])
        if not at_text < end <= len(payload):
            raise ValueError(payload)
        yield (
            payload[at_text:end],
            int(payload[start : at_id - 1]),
            int(payload[at_id : at_length - 1]),
        )
        start = end
