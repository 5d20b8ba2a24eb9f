"""The messages that chats are cut in: all that other tests record, each shape once."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from random import Random

from monostream_ai.ui_messages import Chunk
from tests.openai import recordings
from tests.ui_messages.random_messages import random_message

Scenarios = dict[str, list[Chunk]]
Shape = tuple[tuple[str, ...], ...]
"""The type and the keys of each chunk."""


def of_langchain(recorded: Mapping[str, Sequence[Sequence[Chunk]]]) -> Scenarios:
    return _distinct(
        {f"{test} #{n}": chunks for test, kept in recorded.items() for n, chunks in enumerate(kept)}
    )


def of_openai() -> Scenarios:
    return _distinct({name: recordings.chunks_of(name) for name in recordings.NAMES})


def built(count: int) -> Scenarios:
    return _distinct({f"seed {seed}": random_message(Random(seed)) for seed in range(count)})


def _distinct(scenarios: Mapping[str, Sequence[Chunk]]) -> Scenarios:
    """Return one scenario of each sequence of types and keys, as a router writes it."""
    kept = {shape_of(chunks): name for name, chunks in scenarios.items()}
    return {name: _written(scenarios[name]) for name in sorted(kept.values())}


def shape_of(chunks: Iterable[Chunk]) -> Shape:
    return tuple((chunk["type"], *sorted(chunk)) for chunk in chunks)


def _written(chunks: Sequence[Chunk]) -> list[Chunk]:
    # The router begins a message with an id of its own and without metadata.
    start, *rest = chunks
    metadata = start.get("messageMetadata")
    return [
        {"type": "start"},
        *([] if metadata is None else [{"type": "message-metadata", "messageMetadata": metadata}]),
        *rest,
    ]
