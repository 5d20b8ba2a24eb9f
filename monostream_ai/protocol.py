"""Chunk protocols: how a chunk becomes text, which chunk is terminal, and how a version is ended on
its publisher's behalf.

The core knows no chunk type. A protocol brings one; `JSONProtocol` covers any JSON chunk, and
`monostream_ai.ui_messages` has the one that `useChat` reads.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Generic, Protocol, TypeVar, runtime_checkable

from monostream_ai.errors import MASKED_ERROR_TEXT
from monostream_ai.json_text import decode_json, encode_json
from monostream_ai.types import Ending, check_function

C = TypeVar("C")
C_contra = TypeVar("C_contra", contravariant=True)


class Transcript(Protocol[C]):
    """The knowledge of a version's chunks that an ending needs, such as the parts still open.

    One transcript sees one version, from its first chunk on. The publisher feeds it as it writes; a
    process that ends the version in its stead feeds it from the store.
    """

    def feed(self, chunk: C) -> None:
        """Take note of the next chunk."""

    def ending(self, ending: Ending, error_text: str = MASKED_ERROR_TEXT) -> Sequence[C]:
        """Return the chunks that end the version now; the last of them is terminal.

        Empty if the protocol has no chunk for this ending. The version is then closed without one
        if it is finished or stopped. Otherwise it is left without an ending and counts as lost: a
        clean close would look like success.
        """


@runtime_checkable
class CompletingTranscript(Transcript[C], Protocol[C]):
    """A transcript that also completes endings which a program writes itself."""

    def before_terminal(self, terminal: C) -> Sequence[C]:
        """Return the chunks to store before this terminal chunk; none of them is terminal.

        Called when the chunks before it were fed.
        """


class ChunkProtocol(Protocol[C]):
    """A chunk type and its rules. Methods must be fast and must not block.

    `encode` and `is_terminal` are called in the thread that pushes a chunk, the others on the event
    loop.
    """

    def encode(self, chunk: C) -> str:
        """Return the chunk as JSON text in one line.

        Raises:
            InvalidChunk: The chunk cannot be stored.
        """

    def decode(self, payload: str) -> C:
        """Return the chunk that `encode` turned into this text."""

    def is_terminal(self, chunk: C) -> bool:
        """Whether this chunk closes its version. Nothing lands after it."""

    def merge(self, earlier: C, later: C) -> Sequence[C]:
        """Return one chunk that says the same as two that follow each other, or both of them.

        Asked only when chunks are pushed faster than the store takes them.
        """

    def transcript(self, message_id: str | None = None) -> Transcript[C]:
        """Return an empty transcript for one version, with the message id that its publisher was
        given.
        """


@runtime_checkable
class TellingProtocol(ChunkProtocol[C], Protocol[C]):
    """A protocol that also tells endings apart which a program writes itself, for statistics."""

    def ending_of(self, terminal: C) -> Ending:
        """Return why a version ends with this terminal chunk."""


class Notes(Protocol[C_contra]):
    """The knowledge of the chunks of one publisher that its captures share."""

    def note(self, chunks: Sequence[C_contra]) -> None:
        """Take note of chunks that the publisher has taken, in the thread that gave them."""


@runtime_checkable
class NotedProtocol(ChunkProtocol[C], Protocol[C]):
    """A protocol with captures, which write to a publisher beside the program."""

    def notes(self) -> Notes[C]:
        """Return empty notes for one publisher."""


class JSONProtocol(Generic[C]):
    """Chunks that are JSON values.

    Args:
        is_terminal: Says which chunk closes a version. By default none does: `publisher.close()`
            closes it.
        ending: Makes the chunks that end a version that did not end itself; the last one must be
            terminal.

    Raises:
        TypeError: One of them is no function, or is async.
    """

    def __init__(
        self,
        is_terminal: Callable[[C], bool] | None = None,
        *,
        ending: Callable[[Ending], Sequence[C]] | None = None,
    ) -> None:
        check_function("is_terminal", is_terminal)
        check_function("ending", ending)
        self._is_terminal = is_terminal
        self._ending = ending

    def encode(self, chunk: C) -> str:
        return encode_json(chunk)

    def decode(self, payload: str) -> C:
        chunk: C = decode_json(payload)
        return chunk

    def is_terminal(self, chunk: C) -> bool:
        return self._is_terminal is not None and self._is_terminal(chunk)

    def merge(self, earlier: C, later: C) -> Sequence[C]:
        return [earlier, later]

    def transcript(self, message_id: str | None = None) -> Transcript[C]:
        return _NoTranscript(self._ending)


class _NoTranscript(Generic[C]):
    def __init__(self, ending: Callable[[Ending], Sequence[C]] | None) -> None:
        self._ending = ending

    def feed(self, chunk: C) -> None:
        pass

    def ending(self, ending: Ending, error_text: str = MASKED_ERROR_TEXT) -> Sequence[C]:
        chunks = [] if self._ending is None else self._ending(ending)
        if isinstance(chunks, str | bytes) or not isinstance(chunks, Sequence):
            raise TypeError(f"ending returned {chunks!r:.80}: return a list of chunks")
        return chunks
