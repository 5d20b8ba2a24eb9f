"""Draws values, and finds their texts in a message; for the captures of every SDK."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

from hypothesis import strategies as st

from monostream_ai.ui_messages import Chunk, check_chunk, reduce_chunks

SKIPPED = frozenset(
    {"type", "id", "call_id", "tool_use_id", "name", "role", "index", "stop_reason", "signature"}
)
"""Keys whose values are no content: types, names, ids, places."""

KEYS = ["text", "thinking", "content", "summary", "body", "output", "query", "result", "data"]
KINDS = ["text", "thinking", "hologram", "image", "refusal", "web_search_result"]

texts = st.text("abcdefghijklmnopqrstuvwxyz", min_size=12, max_size=12)
nested = st.recursive(
    texts,
    lambda inner: st.one_of(
        st.lists(inner, max_size=2),
        st.builds(
            lambda kind, key, value: {"type": kind, key: value},
            st.sampled_from(KINDS),
            st.sampled_from(KEYS),
            inner,
        ),
    ),
    max_leaves=4,
)


def texts_in(value: Any) -> list[str]:
    """Return the strings in a value, except those under `SKIPPED`; also in JSON that is text."""
    if isinstance(value, str):
        if value.startswith("{") and value.endswith("}"):
            return texts_in(json.loads(value))
        return [value] if value else []
    if isinstance(value, dict):
        value = [item for key, item in value.items() if key not in SKIPPED]
    return [text for item in value for text in texts_in(item)] if isinstance(value, list) else []


def message_of(chunks: Iterable[Chunk]) -> Any:
    """Return the message of whole chunks that a client would take."""
    chunks = [check_chunk(chunk) for chunk in chunks]
    kinds = [chunk["type"] for chunk in chunks]
    assert (kinds[0], kinds.count("start")) == ("start", 1)
    message = reduce_chunks(chunks)
    assert not [part for part in message["parts"] if part.get("state") == "streaming"]
    return message


def lost(said: list[str], message: Any) -> list[str]:
    kept = json.dumps(message)
    return [text for text in said if json.dumps(text)[1:-1] not in kept]
