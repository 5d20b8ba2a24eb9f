"""The part of an answer that an attempt wrote before its process was lost."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any, Final, NamedTuple

from monostream_ai.errors import InvalidChunk
from monostream_ai.ui_messages import Chunk, MessageReducer, UIMessage

REDUCED_AT_ONCE: Final = 1000
"""Chunks given to one turn of the loop."""


class Written:
    """The stored chunks of a lost attempt, and the message that they make; false if no part of an
    answer is among them.

    Args:
        continued: The assistant message that the turn continues. Its parts come first in `message`.
        before: As for `after`.
    """

    def __init__(
        self,
        chunks: Sequence[Chunk],
        *,
        continued: Mapping[str, Any] | None = None,
        before: Sequence[Written] = (),
    ) -> None:
        self.chunks = chunks
        self._continued = continued
        self._before = before

    def __repr__(self) -> str:
        return f"<Written {len(self.chunks)} chunks, {len(self.text)} characters of text>"

    def __bool__(self) -> bool:
        return len(self._new_parts) > 0

    @cached_property
    def message(self) -> UIMessage:
        """The message as a page shows it: open texts and calls are in their streaming states."""
        reducer = MessageReducer(self._continued)
        feed(reducer, self.chunks)
        return reducer.message

    async def prepare(self) -> None:
        """Make `message` with turns of the loop in between: a long answer takes half a second."""
        reducer = MessageReducer(self._continued)
        for first in range(0, len(self.chunks), REDUCED_AT_ONCE):
            feed(reducer, self.chunks[first : first + REDUCED_AT_ONCE])
            await asyncio.sleep(0)
        self.message = reducer.message

    def after(self, before: Sequence[Written]) -> Written:
        """Return the same, and know the attempts before it, which wrote other versions.

        Args:
            before: The last one first.
        """
        same = Written(self.chunks, continued=self._continued, before=before)
        same.message = self.message
        return same

    @cached_property
    def text(self) -> str:
        """The text of the attempt, without that of the message that the turn continues.

        A prompt that ends with it lets a model go on in mid-sentence, if the model can.
        """
        return "".join(part["text"] for part in self._new_parts if part["type"] == "text")

    @property
    def results(self) -> dict[str, Any]:
        """The outputs of tools by the id of their call, so that no tool has to run twice. Those of
        all attempts: one may die before it has written again what it was told.
        """
        return {
            part["toolCallId"]: part["output"]
            for written in (*reversed(self._before), self)
            for part in written.message["parts"]
            if part.get("state") == "output-available" and not part.get("preliminary")
        }

    @property
    def _new_parts(self) -> list[dict[str, Any]]:
        before = len((self._continued or {}).get("parts", ()))
        return [part for part in self.message["parts"][before:] if part["type"] != "step-start"]


class Refusal(NamedTuple):
    """A chunk that a message does without, its place among those that were fed, and why."""

    place: int
    kind: str
    error: InvalidChunk


def feed(reducer: MessageReducer, chunks: Sequence[Chunk]) -> list[Refusal]:
    """Feed the reducer, and return the chunks that it refuses; the message goes on without them.

    A page that reads such a chunk fails there and ignores the rest, until it is loaded again.
    """
    refusals = list[Refusal]()
    for place, chunk in enumerate(chunks):
        try:
            reducer.feed(chunk)
        except InvalidChunk as error:
            refusals.append(Refusal(place, chunk["type"], error))
    return refusals
