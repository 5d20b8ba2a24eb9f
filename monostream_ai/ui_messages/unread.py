"""Keeps the values that a capture cannot read, so that nothing of an answer vanishes unseen.

A vendor adds kinds of content before a capture learns to read them.
"""

from __future__ import annotations

import logging
from collections import Counter
from typing import Any, Final

from monostream_ai.ui_messages.builder import UIMessageBuilder
from monostream_ai.ui_messages.chunks import Chunk
from monostream_ai.ui_messages.json_values import to_json_value
from monostream_ai.ui_messages.sinks import CountUnread

logger = logging.getLogger(__name__)

UNREAD_NAME: Final = "unread"
MAX_KIND: Final = 100
"""Characters of a kind, which may come from a vendor, in a message or a log."""


class Unread:
    """Keeps, counts and logs the values of one message that its capture cannot read.

    The first value of each kind is logged, by its kind and never with its contents.

    Args:
        sdk: The SDK that the values come from, such as `langchain`.
        count: Called for each value.
    """

    def __init__(
        self, builder: UIMessageBuilder, sdk: str, count: CountUnread | None = None
    ) -> None:
        self._builder = builder
        self._sdk = sdk
        self._count = count
        self.counts: Counter[str] = Counter()
        """Number of values by kind, both kept and lost."""

    def keep(self, kind: str, value: Any) -> list[Chunk]:
        """Keep a value as a `data-unread` part: `{"sdk", "kind", "value"}`, the value as JSON."""
        kind = self._note(kind, "it is kept as a data-unread part")
        data = {"sdk": self._sdk, "kind": kind, "value": to_json_value(value)}
        return self._builder.data(UNREAD_NAME, data)

    def lose(self, kind: str) -> None:
        """Report a value that cannot be kept."""
        self._note(kind, "it is left out")

    def _note(self, kind: str, outcome: str) -> str:
        kind = kind[:MAX_KIND]
        if self._count is not None:
            self._count(self._sdk)
        self.counts[kind] += 1
        if self.counts[kind] == 1:
            logger.warning("cannot read %r in an answer of %s: %s", kind, self._sdk, outcome)
        return kind
