"""Several writers of one message: a capture learns the chunks that others give its publisher."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import Final, Self

from monostream_ai.errors import InvalidChunk
from monostream_ai.ui_messages.chunks import Chunk, check_chunk
from monostream_ai.ui_messages.open_parts import FOLLOWED

_NOTED: Final = FOLLOWED | {"source-url", "source-document"}


class Notes:
    """The chunks that a publisher was given in this run, in the order of the calls, and the
    contributor of each; without deltas, and those that a client would refuse.
    """

    def __init__(self) -> None:
        # Any thread may append, and contributors read by index, so the list needs no lock.
        self._noted: list[tuple[Contributor | None, Chunk]] = []
        self._blocks: dict[int, list[Contributor]] = {}
        """The contributors whose blocks a thread is in, by its id; only that thread uses them."""

    def note(self, chunks: Sequence[Chunk]) -> None:
        for chunk in chunks:
            if chunk["type"] in _NOTED:
                self._keep(chunk)

    def _keep(self, chunk: Chunk) -> None:
        try:
            check_chunk(chunk)
        except InvalidChunk:
            return
        blocks = self._blocks.get(threading.get_ident())
        # A result may be large, and only its presence matters.
        kept = {**chunk, "output": None} if "output" in chunk else chunk
        self._noted.append((blocks[-1] if blocks else None, kept))


class Contributor:
    """A capture or handler that writes to a publisher beside others, such as the program.

    Chunks that are pushed inside its block are its own; the block must not await.
    """

    def __init__(self, notes: Notes) -> None:
        self._notes = notes
        self._seen = 0

    @classmethod
    def to(cls, pub: object) -> Self:
        """Return one that knows nothing yet. Any other sink than a publisher tells it nothing."""
        notes = getattr(pub, "_notes", None)
        return cls(notes if isinstance(notes, Notes) else Notes())

    def news(self) -> list[Chunk]:
        """Return the chunks that others have given: all of this run, then those since the last
        call.
        """
        noted = self._notes._noted
        if self._seen == len(noted):
            return []
        news = noted[self._seen :]
        self._seen += len(news)
        return [chunk for giver, chunk in news if giver is not self]

    def __enter__(self) -> Self:
        self._notes._blocks.setdefault(threading.get_ident(), []).append(self)
        return self

    def __exit__(self, *_: object) -> None:
        thread = threading.get_ident()
        blocks = self._notes._blocks[thread]
        blocks.pop()
        if not blocks:
            del self._notes._blocks[thread]
