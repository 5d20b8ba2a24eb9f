"""Keeps the messages that mapper tests make. Tests of `tests/clients`, which run after them, show
them to real clients.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from typing import Final

import pytest

from monostream_ai.ui_messages import Chunk

KEPT_PER_TEST: Final = 20
"""A test that makes more is a random search, and its messages are much alike."""

_RECORDED: Final[dict[str, list[list[Chunk]]]] = {}


def record(chunks: Iterable[Chunk]) -> None:
    """Keep a whole message under the name of the running test."""
    test = os.environ.get("PYTEST_CURRENT_TEST", "").partition(" ")[0]
    kept = _RECORDED.setdefault(test, [])
    if len(kept) < KEPT_PER_TEST:
        kept.append(list(chunks))


@pytest.fixture
def recorded_chunks() -> Mapping[str, list[list[Chunk]]]:
    """The chunks recorded so far: nothing if the tests that record do not run."""
    return _RECORDED
